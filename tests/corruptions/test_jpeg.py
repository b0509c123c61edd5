"""JPEG without a file equals the JPEG that Pillow and OpenCV write and read, to the last bit.

A failure here on a new machine means that its Pillow or OpenCV was built with another codec than libjpeg(-turbo) at its
default settings: the pixels of rtx have not changed, the reference has.
"""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from rtx.corruptions.arithmetic.blocks import LANES
from rtx.corruptions.arithmetic.dct import quantisation, quantise
from rtx.corruptions.kernels.jpeg import jpeg_compression, steps_of
from tests.corruptions.conftest import made_photo

Image = NDArray[np.uint8]
SIZES = [(32, 32), (33, 47), (40, 37), (47, 61), (48, 64), (63, 65), (64, 66), (129, 33), (34, 171), (61, 130)]
QUALITIES = (*jpeg_compression.levels, *(jpeg_compression.cifar10c or ()), 85)


def pillow(image: Image, quality: int) -> Image:
    buffer = BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Pillow.open(buffer).convert("RGB"))


def opencv(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1]


def pictures(height: int, width: int) -> dict[str, Image]:
    rng = np.random.default_rng(3)
    shape = (height, width, 3)
    return {
        "made": made_photo(height, width),
        "noise": rng.integers(0, 256, shape, dtype=np.uint8),
        "saturated": (rng.integers(0, 2, shape) * 255).astype(np.uint8),
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "plain": np.full(shape, (3, 77, 201), np.uint8),
    }


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_pillow_at_every_quality_in_use(size: tuple[int, int]) -> None:
    for kind, image in pictures(*size).items():
        for quality in (*QUALITIES, 1, 49, 50, 100):
            ours = jpeg_compression.apply(image, quality, None)
            np.testing.assert_array_equal(ours, pillow(image, quality), err_msg=f"{kind}, quality {quality}")


def test_equals_opencv() -> None:
    for image in pictures(75, 90).values():
        for quality in QUALITIES:
            np.testing.assert_array_equal(jpeg_compression.apply(image, quality, None), opencv(image, quality))


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("size", [(480, 640), (333, 517), (2000, 40), (65, 2000)], ids=str)
def test_large_images_equal_pillow(size: tuple[int, int]) -> None:
    for kind, image in pictures(*size).items():
        for quality in QUALITIES:
            ours = jpeg_compression.apply(image, quality, None)
            np.testing.assert_array_equal(ours, pillow(image, quality), err_msg=f"{kind}, quality {quality}")


@pytest.mark.parametrize("quality", QUALITIES)
def test_steps_are_those_in_the_files_of_pillow(quality: int) -> None:
    buffer = BytesIO()
    Pillow.fromarray(made_photo(32, 32)).save(buffer, "JPEG", quality=quality)
    # Pillow gives them in the order of rows.
    written = Pillow.open(buffer).quantization  # type: ignore[attr-defined]
    for mine, theirs in zip(steps_of(quality), (written[0], written[1]), strict=True):
        np.testing.assert_array_equal(mine.ravel(), theirs)


def test_quantisation_rounds_halves_away_from_zero_for_every_step_and_coefficient() -> None:
    """Without a division, the same whole number as with one: (|x| + step / 2) // step."""
    for step in range(1, 256):
        inverse, steps = quantisation(np.full((8, 8), step))
        size = 8 * LANES
        # All coefficients near a half, where rounding could go wrong, and the largest ones.
        halves = np.arange(4 * step, 1 << 15, 8 * step)
        x = np.unique(np.concatenate([halves - 1, halves, halves + 1, [0, 1, 32767]]))
        x = np.concatenate([-x[::-1], x]).astype(np.int32)
        padded = np.zeros(-(-x.size // size) * size, np.int32)
        padded[: x.size] = x
        expected = np.sign(padded) * ((np.abs(padded) + 4 * step) // (8 * step)) * step
        for start in range(0, padded.size, size):
            block = padded[start : start + size].copy()
            quantise(block, inverse, steps)
            np.testing.assert_array_equal(block, expected[start : start + size], err_msg=f"step {step}")
