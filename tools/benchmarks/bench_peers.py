"""Time rtx's corruptions against public packages that do the same operation, in one run on one thread.

    python tools/benchmarks/bench_peers.py [--sizes WxH ...] [--repeats N] [--corruptions NAME ...] [--json FILE]
        [--severities S ...] [--most SECONDS] [--without PACKAGE ...]

Peers are optional: a package that is not installed has no row. For every corruption and size, rtx and its peers take
turns on the same image; given is the median of processor time, the mean of severities (1, 3 and 5) with ImageNet-C's
constants. Images go in and come out as uint8 arrays, so that conversions to and from a package's own form count. A peer
does the same operation, but rarely the same pixels: albumentations draws its parameters from a range, here of one
value, and its contrast pulls towards one grey instead of the mean colour. A peer whose call takes longer than --most
is stopped, and shown as "> SECONDS s".
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import math
import os
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from rtx.corruptions import CORRUPTIONS, corrupt, expand  # noqa: E402
from rtx.corruptions.kernels import KERNELS  # noqa: E402
from rtx.rng import image_rng  # noqa: E402
from rtx.types import Condition  # noqa: E402
from tools.benchmarks.bench_corruptions import photo_like  # noqa: E402

Image = NDArray[np.uint8]
Peer = Callable[[Image], Any]


def of_albumentations(name: str, level: Any, height: int) -> Peer | None:
    """Albumentations 2; its transforms are called as its users do."""
    import albumentations as A

    def pair(value: Any) -> tuple[Any, Any]:
        return (value, value)

    makers: dict[str, Callable[[], Any]] = {
        "gaussian_noise": lambda: A.GaussNoise(std_range=pair(level), p=1),
        "shot_noise": lambda: A.ShotNoise(scale_range=pair(1 / level), p=1),
        "impulse_noise": lambda: A.SaltAndPepper(amount=pair(level), p=1),
        "defocus_blur": lambda: A.Defocus(radius=pair(int(level[0])), alias_blur=pair(level[1]), p=1),
        "glass_blur": lambda: A.GlassBlur(sigma=level[0], max_delta=level[1], iterations=level[2], mode="fast", p=1),
        "motion_blur": lambda: A.MotionBlur(blur_limit=pair(2 * int(level[0]) + 1), p=1),
        "zoom_blur": lambda: A.ZoomBlur(max_factor=pair(level[0]), step_factor=pair(level[1]), p=1),
        "snow": lambda: A.RandomSnow(method="texture", p=1),
        "fog": lambda: A.RandomFog(fog_coef_range=pair(0.5), p=1),
        "brightness": lambda: A.HueSaturationValue(
            hue_shift_limit=pair(0), sat_shift_limit=pair(0), val_shift_limit=pair(round(255 * level)), p=1
        ),
        "contrast": lambda: A.RandomBrightnessContrast(brightness_limit=pair(0.0), contrast_limit=pair(level - 1), p=1),
        "elastic_transform": lambda: A.ElasticTransform(
            alpha=level.alpha * level.reach * height, sigma=level.sigma * height, p=1
        ),
        "pixelate": lambda: A.Downscale(
            scale_range=pair(level),
            interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_NEAREST},
            p=1,
        ),
        "jpeg_compression": lambda: A.ImageCompression(quality_range=pair(level), p=1),
        "speckle_noise": lambda: A.MultiplicativeNoise(multiplier=(1 - level, 1 + level), elementwise=True, p=1),
        "gaussian_blur": lambda: A.GaussianBlur(blur_limit=0, sigma_limit=pair(level), p=1),
        "saturate": lambda: A.ColorJitter(
            brightness=pair(1.0), contrast=pair(1.0), saturation=pair(level[0]), hue=pair(0.0), p=1
        ),
    }
    if name not in makers:
        return None
    transform = makers[name]()
    return lambda image: transform(image=image)["image"]


def of_opencv(name: str, level: Any, height: int) -> Peer | None:
    """What a few calls of OpenCV do."""

    def contrast(image: Image) -> Any:
        means = np.array(cv2.mean(image)[:3])[:, None]
        table = np.clip((np.arange(256) - means) * level + means, 0, 255).astype(np.uint8)
        return cv2.LUT(image, np.ascontiguousarray(table.T[None]))

    def brightness(image: Image) -> Any:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hue, saturation, value = cv2.split(hsv)
        return cv2.cvtColor(cv2.merge([hue, saturation, cv2.add(value, round(255 * level))]), cv2.COLOR_HSV2RGB)  # type: ignore[call-overload,unused-ignore]

    def pixelate(image: Image) -> Any:
        size = image.shape[1], image.shape[0]
        small = cv2.resize(image, (int(size[0] * level), int(size[1] * level)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, size, interpolation=cv2.INTER_NEAREST)

    def jpeg(image: Image) -> Any:
        return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, level])[1], cv2.IMREAD_COLOR)

    def disk(image: Image) -> Any:
        radius = int(level[0])
        y, x = np.mgrid[-radius - 2 : radius + 3, -radius - 2 : radius + 3]
        kernel = cv2.GaussianBlur((x**2 + y**2 <= radius**2).astype(np.float32), (3, 3), level[1])
        return cv2.filter2D(image, -1, kernel / kernel.sum())

    makers: dict[str, Peer] = {
        "contrast": contrast,
        "brightness": brightness,
        "pixelate": pixelate,
        "jpeg_compression": jpeg,
        "gaussian_blur": lambda image: cv2.GaussianBlur(image, (0, 0), level, borderType=cv2.BORDER_REPLICATE),
        "defocus_blur": disk,
    }
    return makers.get(name)


def of_pillow(name: str, level: Any, height: int) -> Peer | None:
    """Pillow."""
    from PIL import Image as Pillow

    def pixelate(image: Image) -> Any:
        size = image.shape[1], image.shape[0]
        small = Pillow.fromarray(image).resize((int(size[0] * level), int(size[1] * level)), Pillow.Resampling.BOX)
        return np.asarray(small.resize(size, Pillow.Resampling.NEAREST))

    def jpeg(image: Image) -> Any:
        file = io.BytesIO()
        Pillow.fromarray(image).save(file, "JPEG", quality=level)
        return np.asarray(Pillow.open(file).convert("RGB"))

    return {"pixelate": pixelate, "jpeg_compression": jpeg}.get(name)


def of_simplejpeg(name: str, level: Any, height: int) -> Peer | None:
    """libjpeg-turbo."""
    import simplejpeg

    def jpeg(image: Image) -> Any:
        return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(image, quality=level, colorsubsampling="420"))

    return jpeg if name == "jpeg_compression" else None


def of_torchvision(name: str, level: Any, height: int) -> Peer | None:
    """Torchvision's functions on uint8 tensors."""
    import torch
    import torchvision.transforms.v2.functional as F

    torch.set_num_threads(1)
    makers: dict[str, Callable[[Any], Any]] = {
        "gaussian_blur": lambda x: (
            F.gaussian_blur(x, [8 * int(level) + 1] * 2, [float(level)] * 2) if name == "gaussian_blur" else x
        ),
        "contrast": lambda x: F.adjust_contrast(x, level),
        "saturate": lambda x: F.adjust_saturation(x, level[0]),
    }
    if name not in makers:
        return None
    return lambda image: makers[name](torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()


def of_imagecorruptions(name: str, level: Any, height: int) -> Peer | None:
    """The reference package, through rtx's engine for it."""
    severity = KERNELS[name].levels.index(level) + 1
    condition = Condition(name, severity)
    return lambda image: corrupt(image, condition, image_rng(0, "bench", condition), engine="imagecorruptions")


PEERS: dict[str, Callable[[str, Any, int], Peer | None]] = {
    "albumentations": of_albumentations,
    "cv2": of_opencv,
    "PIL": of_pillow,
    "simplejpeg": of_simplejpeg,
    "torchvision": of_torchvision,
    "imagecorruptions": of_imagecorruptions,
}


class _Late(Exception):
    """A call takes too long."""


def seconds(function: Peer, image: Image, most: float) -> float:
    """Processor time of one call; infinite where it is stopped after `most` seconds."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Late

    signal.signal(signal.SIGPROF, stop)
    start = time.thread_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, most)
        function(image)
    except _Late:
        return math.inf
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return time.thread_time() - start


def measure(
    name: str, image: Image, repeats: int, installed: list[str], severities: list[int], most: float
) -> dict[str, float]:
    """Milliseconds of rtx and of each peer that has this operation."""
    found: dict[str, list[float]] = {}
    for severity in severities:
        condition = Condition(name, severity)

        rng = image_rng(0, "bench", condition)

        def own(image: Image, condition: Condition = condition, rng: Any = rng) -> Any:
            return corrupt(image, condition, rng)

        level = KERNELS[name].levels[severity - 1]
        sides = {"rtx": own} | {p: PEERS[p](name, level, image.shape[0]) for p in installed}
        working = {who: side for who, side in sides.items() if side is not None}
        times: dict[str, list[float]] = {who: [] for who in working}
        for turn in range(repeats + 1):  # the first compiles and fills caches, and finds out who is too slow
            for who, side in working.items():
                late = math.inf in found.get(who, []) or math.inf in times[who]
                times[who].append(math.inf if late else seconds(side, image, most if who != "rtx" else 1e6))
                if turn == 1 and times[who][0] < math.inf:
                    del times[who][0]
        for who, taken in times.items():
            found.setdefault(who, []).append(1000 * statistics.median(taken))
    return {who: statistics.fmean(taken) for who, taken in found.items()}


def row(name: str, size: str, times: dict[str, float], most: float) -> str:
    """One line of the table."""
    peers = sorted((t, who) for who, t in times.items() if who != "rtx")
    if not peers:
        return f"| {name} | {size} | {times['rtx']:.2f} | - | - |"

    def shown(time: float) -> str:
        return f"{time:.2f}" if time < math.inf else f"> {most:g} s"

    best, who = peers[0]
    others = ", ".join(f"{w} {shown(t)}" for t, w in peers[1:4])
    ratio = f"{best / times['rtx']:.2f}" if best < math.inf else f"> {1000 * most / times['rtx']:.0f}"
    return f"| {name} | {size} | {times['rtx']:.2f} | {who} {shown(best)} | {ratio} | {others} |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["224x224", "640x480", "4000x3000"], metavar="WxH")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--corruptions", nargs="+", default=["all"], metavar="NAME")
    parser.add_argument("--without", nargs="+", default=[], metavar="PACKAGE", help="leave peers out")
    parser.add_argument("--severities", nargs="+", type=int, default=[1, 3, 5], metavar="S")
    parser.add_argument("--most", type=float, default=60.0, metavar="SECONDS", help="of one call of a peer")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    cv2.setNumThreads(1)
    installed = [p for p in PEERS if p not in args.without and importlib.util.find_spec(p) is not None]
    names = [n for n in expand(args.corruptions) if n in CORRUPTIONS]
    print("peers: " + ", ".join(installed))
    print("| corruption | size | rtx, ms | best peer, ms | peer / rtx | others, ms |\n|---|---|---:|---:|---:|---|")
    found: dict[str, Any] = {}
    for size in args.sizes:
        width, height = map(int, size.lower().split("x"))
        image = photo_like(width, height)
        for name in names:
            found[f"{name} {size}"] = measure(name, image, args.repeats, installed, args.severities, args.most)
            print(row(name, size, found[f"{name} {size}"], args.most), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
