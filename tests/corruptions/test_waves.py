"""Smoothing by sliding waves is smoothing with the weights of a Gaussian, and elastic's large images look as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from rtx.corruptions.arithmetic.waves import LANES, LEAST_RADIUS, STATE, as_waves, slide
from rtx.corruptions.kernels import KERNELS, elastic, elastic_look
from rtx.corruptions.kernels.gauss import gaussian_weights


def smoothed(numbers: NDArray[np.float32], sigma: float, *, at_once: int) -> NDArray[np.float32]:
    weights = gaussian_weights(sigma, 3.0)
    radius, n = weights.size - 1, len(numbers)
    nothing = np.zeros((3, LANES), np.float32)
    tower = np.vstack([nothing, np.pad(numbers, ((radius, radius + 1), (0, 0)), mode="symmetric")])
    waves, state, out = as_waves(weights, sigma), np.empty(STATE), np.empty((n, LANES), np.float32)
    for top in range(0, n, at_once):
        # A row of zeros first: the numbers that have left the window of the rows before are needed as well.
        part = np.vstack([nothing[:1], tower[top + 1 :]])
        slide(part.reshape(-1), radius, at_once, top == 0, state, waves, out.reshape(-1), top * LANES, LANES)
    return out


@pytest.mark.parametrize("sigma", [LEAST_RADIUS / 3, 8.2, 13.33, 30.0, 80.0])
def test_sliding_waves_smooth_as_scipy_does_whatever_the_pieces(sigma: float) -> None:
    numbers = np.random.default_rng(0).uniform(-1, 1, (600, LANES)).astype(np.float32)
    expected = gaussian_filter1d(numbers.astype(np.float64), sigma, axis=0, truncate=3.0)
    found = smoothed(numbers, sigma, at_once=600)
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()
    np.testing.assert_array_equal(smoothed(numbers, sigma, at_once=40), found)


def test_a_long_signal_loses_nothing_on_the_way() -> None:
    numbers = np.random.default_rng(0).uniform(-1, 1, (20_000, LANES)).astype(np.float32)
    off = np.abs(
        smoothed(numbers, 40.0, at_once=20_000)
        - gaussian_filter1d(numbers.astype(np.float64), 40.0, axis=0, truncate=3.0)
    )
    assert off[-1000:].max() < 2 * off[:1000].max() + 1e-8


@pytest.mark.parametrize("size", [(533, 629), (601, 547), (640, 1001)])
def test_large_images_look_as_with_all_weights(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = KERNELS["elastic_transform"]
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    for level in (kernel.levels[0], kernel.levels[4]):
        field = kernel.draw(image, level, np.random.default_rng(2))
        pixels = []
        for far in (0, 10**9):
            monkeypatch.setattr(elastic, "_FAR", far)
            pixels.append(kernel.apply(image, level, field).astype(np.int16))
        apart = np.abs(pixels[0] - pixels[1])
        assert apart.max() <= 1
        assert (apart > 0).mean() < 2e-4  # noise, whose neighbours differ most


@pytest.mark.parametrize("height", [32, 37])
def test_the_rows_that_positions_show_are_all_there(height: int) -> None:
    def mirrored(row: int) -> int:
        row %= 2 * height
        return row if row < height else 2 * height - 1 - row

    for first in range(-2 * height, 2 * height, 3):
        for last in range(first, first + 3 * height, 5):
            low, high = elastic_look._rows_seen(first, last, height)
            seen: list[Any] = [mirrored(row) for row in range(first, last + 1)]
            assert 0 <= low <= min(seen) and max(seen) <= high < height
