"""Kernels that take a short cut give the pixels of the long way, to the last bit."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic import pairs, pixels
from rtx.corruptions.kernels import KERNELS, colour, gauss, gauss_doubles, zoom
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


@pytest.mark.parametrize("size", [(32, 33), (61, 150), (70, 2101)])
def test_zoom_is_the_same_from_three_rows_at_a_time(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = KERNELS["zoom_blur"]
    image = noise_and_plain_patches(*size)
    levels = (*kernel.levels, *(kernel.cifar10c or ()))
    whole = [kernel.apply(image, level, None) for level in levels]
    monkeypatch.setattr(zoom, "_SMALL", 0)
    for level, expected in zip(levels, whole, strict=True):
        np.testing.assert_array_equal(kernel.apply(image, level, None), expected, err_msg=str(level))


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


def sums(values: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """The sums of scipy.ndimage in its order, one axis after the other."""
    radius = len(weights) - 1
    for axis in (0, 1):
        edges = [(radius, radius) if k == axis else (0, 0) for k in range(3)]
        padded, size = np.pad(values, edges, mode="edge"), values.shape[axis]
        parts = [padded.take(range(k, k + size), axis=axis) for k in range(2 * radius + 1)]
        values = parts[radius] * weights[0]
        for j in range(radius, 0, -1):
            values = values + (parts[radius - j] + parts[radius + j]) * weights[j]
    return values


SIGMAS = (0.05, 0.4, 0.7, 1.1, 1.5, 6.0)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_smoothing_in_float32_is_smoothing_in_doubles(sigma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[0:40, 0:70]
    ramp = np.stack([x, x + y, 255 - 2 * x], axis=-1).astype(np.uint8)
    images = [noise_and_plain_patches(40, 70), ramp, np.full((33, 32, 3), 255, np.uint8)]
    weights = gauss.gaussian_weights(sigma)
    expected = [(np.minimum(sums(image / 255.0, weights), 1.0) * 255).astype(np.uint8) for image in images]
    for cached in (gauss._CACHED, 40 * (2 * len(weights) - 1)):  # the latter: strips of 13 pixels
        monkeypatch.setattr(gauss, "_CACHED", cached)
        for image, wanted in zip(images, expected, strict=True):
            np.testing.assert_array_equal(gauss.smooth(image, sigma), wanted)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_float32_is_never_further_off_than_the_bound(sigma: float) -> None:
    weights = gauss.gaussian_weights(sigma)
    bound = gauss.most_apart(weights)
    image = noise_and_plain_patches(64, 200)
    off = sums(image.astype(np.float32), weights.astype(np.float32))
    assert off.dtype == np.float32
    apart = np.abs(off - sums(image.astype(np.float64), weights)).max()
    assert apart < bound < 2e-4
    assert len(weights) == 1 or apart > bound / 30  # a bound that says something


def test_products_of_two_parts_are_the_quotients() -> None:
    levels = np.arange(256)
    doubles = levels * gauss_doubles._MOST + levels * gauss_doubles._REST
    np.testing.assert_array_equal(doubles, levels / 255.0)
    singles = levels.astype(np.float32) * zoom.LEVEL_MOST + levels.astype(np.float32) * zoom.LEVEL_REST
    assert singles.dtype == np.float32
    np.testing.assert_array_equal(singles, (levels / 255.0).astype(np.float32))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 47])
def test_words_hold_the_pixels(count: int) -> None:
    image = np.random.default_rng(count).integers(0, 256, 3 * count, dtype=np.uint8)
    words, back = np.full(count + 1, 7, np.uint32), np.full(3 * count + 1, 9, np.uint8)
    pixels.to_words(image, words[:count])
    red, green, blue = (image[k::3].astype(np.uint32) for k in range(3))
    np.testing.assert_array_equal(words, [*(red | green << 8 | blue << 16), 7])
    pixels.to_bytes(words[:count], back[:-1])
    np.testing.assert_array_equal(back, [*image, 9])


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_pair_sums_add_in_their_order(radius: int) -> None:
    rng = np.random.default_rng(radius)
    rows = rng.random((2 * radius + 1, pairs.LANES)).astype(np.float32)
    weights = rng.random(radius + 1).astype(np.float32)
    places = np.arange(2 * radius + 1) * pairs.LANES
    one, other = np.empty(pairs.LANES, np.float32), np.empty(pairs.LANES, np.float32)
    _sums(rows.reshape(-1), places, weights, one, other)
    terms = [(rows[2 * j - 1] + rows[2 * j]) * weights[j] for j in range(1, radius + 1)][::-1]
    total = rows[0] * weights[0]
    for term in terms:
        total = total + term
    np.testing.assert_array_equal(one, total)
    total = rows[0] * weights[0]
    for k in range(0, len(terms), 2):
        total = total + (terms[k] + terms[k + 1] if k + 1 < len(terms) else terms[k])
    np.testing.assert_array_equal(other, total)


@compiled
def _sums(rows: Any, places: Any, weights: Any, one: Any, other: Any) -> None:
    pairs.pair_sums(one, 0, rows, 0, places, weights)
    pairs.pair_sums_by_two(other, 0, rows, 0, places, weights)
