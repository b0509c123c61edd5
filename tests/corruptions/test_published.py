"""rtx's kernels against the tiles that imagecorruptions published for severity 3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from rtx.corruptions import corrupt
from rtx.rng import image_rng
from rtx.types import Condition

pytestmark = pytest.mark.realdata
# Largest difference of a value, and of a channel's mean over the tile. Random ones: the published draw is unknown, and
# frost has six textures; defocus, jpeg and pixelate were made by older libraries.
BOUNDS = {
    "brightness": (2, 0.5),
    "defocus_blur": (None, 0.7),
    "jpeg_compression": (None, 1.5),
    "pixelate": (None, 1.5),
    "gaussian_noise": (None, 1.5),
    "motion_blur": (None, 4.0),
    "snow": (None, 12.0),
}


def sampled(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Nearest rows and columns, as the tiles were scaled."""
    rows = np.floor((np.arange(height) + 0.5) * image.shape[0] / height).astype(int)
    columns = np.floor((np.arange(width) + 0.5) * image.shape[1] / width).astype(int)
    return image[rows][:, columns]


@pytest.mark.parametrize("name", BOUNDS)
def test_published_tile(name: str, real_data: Path) -> None:
    folder = real_data / "ref_imagecorruptions" / "reference_severity3"
    source = np.asarray(Pillow.open(folder / "source_voc.jpg").convert("RGB"))[60:-100, 70:-120]
    tile = np.asarray(Pillow.open(folder / f"{name}.png").convert("RGB"))
    condition = Condition(name, 3)
    ours = corrupt(np.ascontiguousarray(source), condition, image_rng(0, "voc", condition), engine="rtx")
    ours = sampled(ours, *tile.shape[:2])
    largest, mean = BOUNDS[name]
    apart = ours.astype(int) - tile
    assert np.abs(apart.mean(axis=(0, 1))).max() <= mean, apart.mean(axis=(0, 1))
    if largest is not None:
        assert np.abs(apart).max() <= largest
    # The spread over the tile tells a wrong strength from a right one.
    assert abs(ours.std() - tile.std()) < 0.06 * tile.std(), (ours.std(), tile.std())
