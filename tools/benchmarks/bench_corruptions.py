"""Time rtx's corruption kernels against the reference package, in one run on one thread.

    python tools/benchmarks/bench_corruptions.py --size 640x480 --repeats 7 --json corruptions.json

For every corruption and severity, reference and rtx take turns, and the median of each is reported, in seconds of
processor time, so that other work on the machine disturbs both alike and little. `pass` is the time one pass over the
image takes (add 1 to every value, with NumPy, into a new array): no corruption can be faster than that. rtx's time
includes the draw of the random field and the check of the image. The cold time is that of a first call: with compiled
kernels from the cache, and, with --compile, without a cache. Memory is the peak of a call above what the process held
before it, result included and input not, in multiples of the image (Linux only).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from rtx.corruptions import BENCHMARK, CORRUPTIONS, corrupt  # noqa: E402
from rtx.corruptions.settings import Settings, corrupt_as, turn  # noqa: E402
from rtx.rng import image_rng  # noqa: E402
from rtx.types import SEVERITIES, Condition  # noqa: E402

log = logging.getLogger("bench_corruptions")
SWEEP = ((224, 224), (640, 480), (4000, 3000))
_COLD = """
import time; start = time.perf_counter()
import numpy as np
from rtx.corruptions import CORRUPTIONS, corrupt
from rtx.types import Condition
image = np.zeros((64, 64, 3), np.uint8)
for name in CORRUPTIONS:
    corrupt(image, Condition(name, 3), np.random.default_rng(0), engine="rtx")
print(time.perf_counter() - start)
"""
# The peak of resident memory is set back before each call; large arrays are given back at once instead of kept.
_MEMORY = """
import json, sys
import cv2, numpy as np
from rtx.corruptions import CORRUPTIONS, corrupt
from rtx.rng import image_rng
from rtx.types import SEVERITIES, Condition
cv2.setNumThreads(1)
def held(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))
image = np.random.default_rng(0).integers(0, 256, (int(sys.argv[2]), int(sys.argv[1]), 3), dtype=np.uint8)
found = {}
for name in CORRUPTIONS:
    for severity in SEVERITIES:
        condition = Condition(name, severity)
        corrupt(image, condition, image_rng(0, "memory", condition), engine=sys.argv[3])
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = held("VmRSS")
        out = corrupt(image, condition, image_rng(0, "memory", condition), engine=sys.argv[3])
        found[name] = max(found.get(name, 0.0), (held("VmHWM") - before) / image.nbytes)
        del out
print(json.dumps(found))
"""


def photo_like(width: int, height: int) -> NDArray[np.uint8]:
    """Smooth shapes with edges and a little grain, made from a seed."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (max(height // 40, 2), max(width // 40, 2), 3), dtype=np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    grain = rng.normal(0, 5, image.shape)
    made: NDArray[np.uint8] = np.clip(image + grain, 0, 255).astype(np.uint8)
    return made


def seconds(image: NDArray[np.uint8], condition: Condition, engine: str, draw: int) -> float:
    """Processor time of one call."""
    rng = image_rng(draw, "bench", condition)
    start = time.thread_time()
    corrupt(image, condition, rng, engine=engine)
    return time.thread_time() - start


def one_pass(image: NDArray[np.uint8], repeats: int) -> float:
    """Processor time of one pass over the image."""
    times = []
    for _ in range(max(repeats, 5) * 4):
        start = time.thread_time()
        np.add(image, 1)
        times.append(time.thread_time() - start)
    return statistics.median(times)


def cold_seconds(*, cached: bool) -> tuple[float, float]:
    """(wall, processor) time of a new process that imports rtx and runs all 19 corruptions once."""
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        if not cached:
            environment["NUMBA_CACHE_DIR"] = folder
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", _COLD], env=environment, capture_output=True, text=True, check=True
        )
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return float(done.stdout), spent


def memory(width: int, height: int, engine: str) -> dict[str, float]:
    """Peak memory of each corruption at its hungriest severity, in multiples of the image; empty where unknown."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return {}
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, "-c", _MEMORY, str(width), str(height), engine]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(width: int, height: int, repeats: int) -> dict[str, Any]:
    """Times of all corruptions, as in the JSON file."""
    image = photo_like(width, height)
    floor = one_pass(image, repeats)
    rows: dict[str, Any] = {}
    for name in CORRUPTIONS:
        medians: dict[str, list[float]] = {"imagecorruptions": [], "rtx": []}
        for severity in SEVERITIES:
            condition = Condition(name, severity)
            for engine in medians:  # once to compile and to fill caches
                seconds(image, condition, engine, 0)
            times: dict[str, list[float]] = {engine: [] for engine in medians}
            for draw in range(repeats):
                for engine, found in times.items():
                    found.append(seconds(image, condition, engine, draw))
            for engine, found in times.items():
                medians[engine].append(statistics.median(found))
        reference, rtx = sum(medians["imagecorruptions"]), sum(medians["rtx"])
        rows[name] = {
            "speedup": reference / rtx,
            "reference_ms": [1000 * t for t in medians["imagecorruptions"]],
            "rtx_ms": [1000 * t for t in medians["rtx"]],
            "passes": rtx / len(SEVERITIES) / floor,
        }
    for engine, key in (("rtx", "memory_images"), ("imagecorruptions", "reference_memory_images")):
        for name, images in memory(width, height, engine).items():
            rows[name][key] = images
    speedups = [rows[name]["speedup"] for name in BENCHMARK]
    return {
        "reference": f"imagecorruptions-imaug {version('imagecorruptions-imaug')}",
        "size": f"{width}x{height}",
        "repeats": repeats,
        "pass_ms": 1000 * floor,
        "geomean_speedup": math.exp(statistics.fmean(math.log(s) for s in speedups)),
        "sum75_reference_s": sum(sum(rows[name]["reference_ms"]) for name in BENCHMARK) / 1000,
        "sum75_rtx_s": sum(sum(rows[name]["rtx_ms"]) for name in BENCHMARK) / 1000,
        "corruptions": rows,
        "versions": {p: version(p) for p in ("numpy", "numba", "pillow", "scikit-image", "scipy")}
        | {"cv2": cv2.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }


def whole_step(image: NDArray[np.uint8], repeats: int) -> tuple[float, float]:
    """Processor time of an image's way to the network and of the corruption in it, means of the 15 at severity 3.

    The way is that of a detector's evaluation: decode, corrupt, fit into 1333 x 800, pack as three planes.
    """
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    factor = min(1333 / max(image.shape[:2]), 800 / min(image.shape[:2]))
    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    whole, corrupting = [], []
    for name in BENCHMARK:
        times: list[tuple[float, float]] = []
        for draw in range(-1, repeats):  # the first compiles
            start = time.thread_time()
            decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
            assert decoded is not None
            before = time.thread_time()
            made = corrupt_as(
                turn(decoded.astype(np.uint8, copy=False)), Condition(name, 3), str(draw), Settings(), name="image"
            )
            after = time.thread_time()
            cv2.split(cv2.resize(made, size, interpolation=cv2.INTER_LINEAR))
            times.append((time.thread_time() - start, after - before))
        whole.append(statistics.median(t for t, _ in times[1:]))
        corrupting.append(statistics.median(t for _, t in times[1:]))
    return statistics.fmean(whole), statistics.fmean(corrupting)


def size_sweep(repeats: int) -> str:
    """Cost of a pixel as images grow, in nanoseconds, the mean of severities 1, 3 and 5, as a Markdown table."""
    images = [photo_like(*size) for size in SWEEP]
    lines = [
        f"| corruption, ns a pixel | {' | '.join(f'{w}x{h}' for w, h in SWEEP)} |",
        "|---" * (len(SWEEP) + 1) + "|",
    ]
    for name in CORRUPTIONS:
        cells = []
        for image in images:
            medians = []
            for condition in (Condition(name, severity) for severity in (1, 3, 5)):
                seconds(image, condition, "rtx", 0)
                medians.append(statistics.median(seconds(image, condition, "rtx", draw) for draw in range(repeats)))
            cells.append(f"{1e9 * statistics.fmean(medians) / (image.shape[0] * image.shape[1]):.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    steps = [(whole_step(image, repeats), image.size // 3) for image in images]
    for what, k in (("whole step: decode, corrupt, resize, pack", 0), ("of that, corruption", 1)):
        lines.append(f"| {what} | {' | '.join(f'{1e9 * times[k] / pixels:.1f}' for times, pixels in steps)} |")
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    lines = [
        f"{result['size']}, one thread, medians of {result['repeats']}; a pass takes {result['pass_ms']:.2f} ms",
        "",
        "| corruption | reference, ms | rtx, ms | speedup | passes | memory, images (reference) |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["corruptions"].items():
        reference, rtx = statistics.fmean(row["reference_ms"]), statistics.fmean(row["rtx_ms"])
        star = "" if name in BENCHMARK else " (held out)"
        cells = [f"{reference:.1f}", f"{rtx:.2f}", f"{row['speedup']:.1f}", f"{row['passes']:.0f}", "-"]
        if "memory_images" in row:
            cells[-1] = f"{row['memory_images']:.1f} ({row['reference_memory_images']:.0f})"
        lines.append(f"| {name}{star} | {' | '.join(cells)} |")
    lines += [
        "",
        f"75 variants: {result['sum75_reference_s']:.2f} s -> {result['sum75_rtx_s']:.3f} s; "
        f"geometric mean of the 15 speedups {result['geomean_speedup']:.1f}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--compile", action="store_true", help="also time a first use without any cached kernels")
    parser.add_argument("--sweep", action="store_true", help="only rtx, ns a pixel at three sizes, whole steps too")
    args = parser.parse_args()
    width, _, height = args.size.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 32) or args.repeats < 1:
        parser.error("--size is WIDTHxHEIGHT, both at least 32, e.g. 640x480; --repeats is at least 1")
    cv2.setNumThreads(1)
    if args.sweep:
        print(size_sweep(args.repeats))
        return 0
    result = measure(int(width), int(height), args.repeats)
    result["cold_cached_s"], result["cold_cached_cpu_s"] = cold_seconds(cached=True)
    if args.compile:
        result["cold_compile_s"], result["cold_compile_cpu_s"] = cold_seconds(cached=False)
    print(table(result))
    for what in ("cached", "compile"):
        if f"cold_{what}_s" in result:
            wall, spent = result[f"cold_{what}_s"], result[f"cold_{what}_cpu_s"]
            print(f"first use of all 19, {what}: {wall:.1f} s, of which {spent:.1f} s of processor time")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
