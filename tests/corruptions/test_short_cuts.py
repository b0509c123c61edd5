"""Kernels that take a short cut give the pixels of the long way, to the last bit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtx.corruptions.kernels import KERNELS, colour
from rtx.corruptions.kernels.defocus_kernel import cells_of
from rtx.corruptions.kernels.frost import _scaled, scaled_size

Image = NDArray[np.uint8]


def noise_and_plain_patches(height: int, width: int) -> Image:
    """Where the image is plain, every value of a blur lies on a whole grey level, or a last bit beside it."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[: height // 2, : width // 2] = 255
    image[height // 2 :, width // 3 :] = (7, 130, 254)
    return image


def cell_by_cell(image: Image, level: tuple[float, float]) -> Image:
    cells = cells_of(*level)
    reach = 12
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101).astype(np.int32)

    def moved(dy: int, dx: int) -> NDArray[np.int32]:
        part: NDArray[np.int32] = padded[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
        return part

    count, total = np.zeros(image.shape, np.int32), np.zeros(image.shape, np.float32)
    for dx, half in cells.runs:
        for dy in range(-half, half + 1):
            count += moved(dy, dx)
    for (dy, dx), weight in zip(cells.quads, cells.weights, strict=True):
        four = moved(-dy, -dx) + moved(-dy, dx) + moved(dy, -dx) + moved(dy, dx)
        total += four.astype(np.float32) * weight
    grey = count.astype(np.float64) * np.float64(cells.plateau) + total.astype(np.float64)
    return np.minimum(grey, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(32, 32), (61, 150)])
def test_defocus_is_its_kernel_cell_by_cell(size: tuple[int, int]) -> None:
    kernel = KERNELS["defocus_blur"]
    image = noise_and_plain_patches(*size)
    for level in (*kernel.levels, *(kernel.cifar10c or ())):
        np.testing.assert_array_equal(kernel.apply(image, level, None), cell_by_cell(image, level), err_msg=str(level))


def test_defocus_refuses_a_disk_that_its_sums_do_not_hold() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    assert (KERNELS["defocus_blur"].apply(white, (12, 0.5), None) >= 254).all()
    with pytest.raises(AssertionError, match="16 bits"):
        KERNELS["defocus_blur"].apply(white, (13, 0.5), None)


def test_contrast_in_whole_numbers_is_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = KERNELS["contrast"]
    images = [noise_and_plain_patches(40, 33 + k) for k in range(8)]
    lines = [kernel.apply(image, scale, None) for image in images for scale in kernel.levels]
    monkeypatch.setattr(colour, "_as_lines", lambda table, scale: None)
    tables = [kernel.apply(image, scale, None) for image in images for scale in kernel.levels]
    for line, table in zip(lines, tables, strict=True):
        np.testing.assert_array_equal(line, table)


def test_a_table_that_is_no_line_is_looked_up() -> None:
    table = np.tile(np.arange(256, dtype=np.uint8) // 2, (3, 1))
    assert colour._as_lines(table, 0.5) is not None
    table[1, 100] += 1
    assert colour._as_lines(table, 0.5) is None


def test_frost_is_the_two_products_in_doubles() -> None:
    image = noise_and_plain_patches(40, 50)
    kernel = KERNELS["frost"]
    assert kernel.draw is not None
    for level in kernel.levels:
        field = kernel.draw(image, level, np.random.default_rng(1))
        ice = _scaled(field.texture, scaled_size(field.texture, 40, 50, level.scale))
        crop = ice[field.top : field.top + 40, field.left : field.left + 50]
        expected = np.minimum(level.image * image.astype(np.float64) + level.frost * crop.astype(np.float64), 255)
        np.testing.assert_array_equal(kernel.apply(image, level, field), expected.astype(np.uint8))
