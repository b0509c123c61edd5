"""The pixels of an example: the stored picture, or the original corrupted again as the protocol card says."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from rtx.corruptions.settings import Settings, corrupt_as
from rtx.types import CLEAN, Condition

Pixels = NDArray[np.uint8]
WIDTH = 256
"""Pixels: how wide a tile is stored in the page and in figures."""


@lru_cache(maxsize=256)
def made_again(original: Path, image_id: str, condition: Condition, settings: Settings | None) -> Pixels:
    """An original under a condition, pixel for pixel what the model saw, reduced to the width of a tile.

    Args:
        original: the image file.
        image_id: what seeds its noise: the stem of its name in the data set.
        condition: which corruption and severity.
        settings: what makes the corrupted pixels; needed for every condition but clean.

    Returns:
        RGB (h, w, 3).

    Raises:
        DataError: the original cannot be read.
    """
    # OpenCV, only where a report has examples: reading a report's numbers needs none.
    from rtx.datasets.image_files import read_rgb

    image = read_rgb(original)
    if condition != CLEAN and settings is not None:
        image = corrupt_as(image, condition, image_id, settings, name=str(original))
    return reduced(PILImage.fromarray(np.ascontiguousarray(image)))


def reduced(image: PILImage.Image) -> Pixels:
    """An image as an RGB array, no wider than a tile."""
    image = image.convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), PILImage.Resampling.LANCZOS)
    return np.asarray(image, np.uint8)
