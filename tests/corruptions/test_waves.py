"""Smoothing by sliding waves is smoothing with the weights of a Gaussian, and elastic's large images look as before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.waves import LANES, STATE, as_waves, places_of, slide
from rtx.corruptions.kernels import KERNELS, elastic, elastic_look
from rtx.corruptions.kernels.gauss import gaussian_weights
from rtx.corruptions.smoothing import LEAST_RADIUS


def smoothed(numbers: NDArray[np.float32], sigma: float, *, at_once: int) -> NDArray[np.float32]:
    weights = gaussian_weights(sigma, 3.0)
    state, out = np.zeros(STATE), np.empty((len(numbers), LANES), np.float32)
    _slide(numbers.reshape(-1), weights.size - 1, at_once, state, as_waves(weights, sigma), out.reshape(-1))
    return out


@compiled
def _slide(numbers: Any, radius: int, at_once: int, state: Any, waves: Any, out: Any) -> None:
    count = numbers.size // LANES
    places = places_of(count, radius, LANES)
    slide(numbers, 0, places, 0, radius, 2 * radius, state, 0, waves, out, 0, 0)
    for top in range(0, count, at_once):
        slide(numbers, 0, places, 2 * radius + top, radius, at_once, state, 0, waves, out, top * LANES, LANES)


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
        for far in (True, False):
            monkeypatch.setattr(elastic, "slides", lambda *size, far=far: far)
            pixels.append(kernel.apply(image, level, field).astype(np.int16))
        apart = np.abs(pixels[0] - pixels[1])
        assert apart.max() <= 1
        assert (apart > 0).mean() < 2e-4  # noise, whose neighbours differ most


@pytest.mark.parametrize("move", [0.0, -0.5, 0.5, 3.0])
def test_eight_bytes_of_two_rows_are_read_within_the_image(move: float) -> None:
    height, width = 5, 40
    squares = []
    for y in range(height):
        corners, weights = np.empty(width, np.int64), np.empty((2, width), np.float32)
        moves = np.full(width, move, np.float32)
        elastic_look._corners(moves, moves, y, height, corners, weights[0], weights[1])
        squares.append(corners)
    first = np.array(squares)
    assert first.min() == -1 and first.max() + 3 * width + 8 <= 3 * height * width
    inside = (height - 1 - int(abs(move))) * (width - 1 - int(abs(move)))
    assert (first >= 0).sum() >= inside - 2 * width
