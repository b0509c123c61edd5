"""Pictures that corruptions are tested on; all of them are made here."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray


def made_photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with what photos have: gradients, hard edges, saturated colours, black, white and fine texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    base = np.stack(
        [
            127 + 120 * np.sin(x / 37 + y / 91),
            127 + 120 * np.cos(x / 53 - y / 29),
            255 * (x + y) / (height + width),
        ],
        axis=-1,
    )
    image = np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8)
    h, w = height // 4, width // 4
    image[:h, :w] = 0
    image[:h, -w:] = 255
    image[-h:, :w] = (255, 0, 0)
    image[-h:, -w:] = (0, 0, 255)
    image[h : h + h // 2, w : w + w // 2] = (0, 255, 0)
    image[-h:, w : w + w // 2] = 128
    return image


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """A small made photo, 48 x 64."""
    return made_photo(48, 64)
