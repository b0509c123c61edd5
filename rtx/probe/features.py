"""One pass of a frozen source over a split of a target."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from rtx.datasets.target_data import TargetData
from rtx.datasets.views import View
from rtx.probe.cache import Cached, Features, opened
from rtx.probe.source import FrozenSource
from rtx.transfer.preprocessing import IMAGE_SIZE, pipelines

log = logging.getLogger(__name__)

BATCH_SIZE = 64
WHOLE = View()
_SAY_EVERY = 15.0


def cached_features(
    source: FrozenSource,
    data: TargetData,
    folder: Path,
    *,
    preprocessing: str = "salman",
    image_size: int = IMAGE_SIZE,
    view: View = WHOLE,
    batch_size: int = BATCH_SIZE,
    workers: int = 4,
) -> tuple[Features, Cached]:
    """The features of every image of a split, from the cache or by one pass.

    Images are turned into pixels as in a test of `rtx train` with the same preprocessing.

    Args:
        source: the network, where it computes.
        data: the split.
        folder: of the caches.
        preprocessing: see `rtx.transfer.preprocessing.pipelines`.
        image_size: side of what the network sees, in pixels.
        view: of each image, before anything else is done to it.
        batch_size: images a forward pass; moves features by float rounding only and is no part of the cache's key.
        workers: threads that decode.

    Returns:
        (images, D) float32 as a memory map, and where it lies.

    Raises:
        BadValue: an image size under 32, or an image that does not fit the view.
        DataError: an image cannot be read; see `rtx.probe.cache.opened` too.
        OutputError: the cache cannot be written.
    """
    steps = pixel_steps(preprocessing, data.name, image_size)
    card = {
        "weights": source.weights,
        "arch": source.arch,
        "backbone": {key: str(value) for key, value in source.config.items()},
        "mean": list(source.mean),
        "std": list(source.std),
        "bgr": source.bgr,
        "forward": source.forward,
        "data": data.identity(folder),
        "pixels": steps,
        **({} if view == WHOLE else {"view": str(view)}),
    }
    cached = Cached(folder, f"{source.name} {data.name} {data.split}", card, (len(data), source.width), _maker(source))
    found, _ = opened(cached, lambda: _forward(source, data, steps, view, batch_size, max(1, workers)))
    return found, cached


def _maker(source: FrozenSource) -> str:
    device = next((parameter.device.type for parameter in source.network.parameters()), "cpu")
    return f"{device} with PyTorch {torch.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"


def decoder(
    data: TargetData, steps: Sequence[dict[str, Any]], view: View = WHOLE
) -> Callable[[int], NDArray[np.uint8]]:
    """What gives the pixels (H, W, 3) that a network sees of an image of a split, by its index.

    Args:
        data: the split.
        steps: see `pixel_steps`.
        view: of each image, before anything else is done to it.
    """
    with redirect_stdout(sys.stderr):  # mmpretrain prints while it is imported; a table is what belongs there
        from mmcv.transforms import Compose
        from mmpretrain.registry import TRANSFORMS
        from mmpretrain.utils import register_all_modules

        register_all_modules(init_default_scope=False)
    # Whatever scope an evaluation in this process has left as the default one.
    transform = Compose([TRANSFORMS.build({"_scope_": "mmpretrain", **step}) for step in steps])

    def image(index: int) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = transform({"img": view(data.image(index))})["img"]
        return pixels

    return image


def pixel_steps(preprocessing: str, target: str, image_size: int) -> list[dict[str, Any]]:
    """The steps of a test of `rtx train` between loading an image and packing it."""
    return pipelines(preprocessing, target, image_size)[1][1:-1]


def _forward(
    source: FrozenSource, data: TargetData, steps: list[dict[str, Any]], view: View, batch_size: int, workers: int
) -> Iterator[Features]:
    """Features batch by batch; the next batch is decoded while the network works on this one."""
    image, device = decoder(data, steps, view), next(source.network.parameters()).device
    started = said = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:

        def submit(start: int) -> list[Future[NDArray[np.uint8]]]:
            return [pool.submit(image, n) for n in range(start, min(start + batch_size, len(data)))]

        coming = submit(0)
        for start in range(0, len(data), batch_size):
            batch = torch.from_numpy(np.stack([future.result() for future in coming]))
            coming = submit(start + batch_size)
            rows: Features = source(batch.to(device)).cpu().numpy()
            yield rows
            if time.monotonic() - said > _SAY_EVERY:
                said, done = time.monotonic(), start + len(batch)
                log.info(
                    "%s over %s %s: %d of %d images, %.0f a second",
                    source.spec, data.name, data.split, done, len(data), done / (said - started),
                )  # fmt: skip
