"""The pixels of an example: the stored picture, or the original corrupted again as the protocol card says."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from rtx.results.examples import Maker
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
WIDTH = 256
"""Pixels: how wide a tile is stored in the page and in figures."""


@lru_cache(maxsize=256)
def made_again(original: Path, image_id: str, condition: Condition, maker: Maker) -> Pixels:
    """An original under a condition, pixel for pixel what the model saw, reduced to the width of a tile.

    Args:
        original: the image file.
        image_id: what seeds its noise: the stem of its name in the data set.
        condition: which corruption and severity.
        maker: engine, seed and channel order.

    Returns:
        RGB (h, w, 3).

    Raises:
        DataError: the original cannot be read.
    """
    pixels = full_size(original, image_id, condition, maker)
    return reduced(PILImage.fromarray(pixels))


def full_size(original: Path, image_id: str, condition: Condition, maker: Maker) -> Pixels:
    """The same at its own size."""
    # OpenCV, only where a report has examples: reading a report's numbers needs none.
    from rtx.corruptions.settings import Settings, corrupt_as
    from rtx.datasets.image_files import read_rgb

    image, _ = read_rgb(original)
    if condition == CLEAN or maker.engine is None:
        return image
    settings = Settings(engine=maker.engine, seed=maker.seed, channel_order=maker.channel_order)
    return np.ascontiguousarray(corrupt_as(image, condition, image_id, settings, name=str(original)))


def stored(path: Path) -> Pixels:
    """A stored picture, reduced to the width of a tile."""
    with PILImage.open(path) as image:
        return reduced(image.convert("RGB"))


def reduced(image: PILImage.Image) -> Pixels:
    """An image as an array, no wider than a tile."""
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), PILImage.Resampling.LANCZOS)
    return np.asarray(image, np.uint8)
