"""Gaussian smoothing of images: the sums of scipy.ndimage in their order, so that the result agrees to the last bit.

The blur is followed by a cut to whole grey levels, and plain regions lie exactly on a grey level: with any other
order of the additions, a white wall would come out at 254 in one implementation and at 255 in the other.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.registry import Image, corruption

Doubles = NDArray[np.float64]


@lru_cache(maxsize=32)
def gaussian_weights(sigma: float, truncate: float = 4.0) -> Doubles:
    """Weights at distance 0, 1, ..., radius, scaled so that the two-sided sum is 1; as scipy.ndimage computes them."""
    radius = int(truncate * sigma + 0.5)
    x = np.arange(-radius, radius + 1)
    phi = np.exp(-0.5 / (sigma * sigma) * x**2) if sigma > 1e-15 else np.ones(1)
    weights: Doubles = (phi / phi.sum())[radius:]
    return weights


def smooth(image: Image, sigma: float) -> Image:
    """Smooth an RGB image, edges continued by their outermost pixel.

    Args:
        image: RGB uint8 (H, W, 3).
        sigma: standard deviation in pixels.
    """
    out = np.empty_like(image)
    height, width, channels = image.shape
    flat = (height, width * channels)
    _smooth(image.reshape(flat), channels, gaussian_weights(sigma), out.reshape(flat))
    return out


@compiled
def _smooth(image: Image, channels: int, weights: Doubles, out: Image) -> None:
    height, n = image.shape
    radius = weights.size - 1
    span = 2 * radius + 1
    edge = radius * channels
    # Rows of doubles, each converted once; row y lives at y % span.
    ring = np.empty((span, n), np.float64)
    line = np.empty(n + 2 * edge, np.float64)
    total = np.empty(n, np.float64)
    filled = 0
    for y in range(height):
        while filled < min(height, y + radius + 1):
            _to_unit(image[filled], ring[filled % span])
            filled += 1
        middle = line[edge : edge + n]
        centre = ring[y % span]
        for i in range(n):
            middle[i] = centre[i] * weights[0]
        j = radius
        while j > 0:
            one, other = ring[max(y - j, 0) % span], ring[min(y + j, height - 1) % span]
            if j > 1:
                k = j - 1
                near, far = ring[max(y - k, 0) % span], ring[min(y + k, height - 1) % span]
                _add_pairs(middle, one, other, weights[j], near, far, weights[k])
            else:
                add_pair(middle, one, other, weights[j])
            j -= 2
        for i in range(edge):
            line[i] = middle[i % channels]
            line[edge + n + i] = middle[n - channels + i % channels]
        for i in range(n):
            total[i] = middle[i] * weights[0]
        j = radius
        while j > 0:
            a, b = edge - j * channels, edge + j * channels
            if j > 1:
                c, d = a + channels, b - channels
                _add_pairs(
                    total,
                    line[a : a + n],
                    line[b : b + n],
                    weights[j],
                    line[c : c + n],
                    line[d : d + n],
                    weights[j - 1],
                )
            else:
                add_pair(total, line[a : a + n], line[b : b + n], weights[j])
            j -= 2
        _store(total, out[y])


@compiled
def _to_unit(row: Image, into: Doubles) -> None:
    for i in range(row.size):
        into[i] = row[i] / 255.0


@compiled
def add_pair(total: Doubles, one: Doubles, other: Doubles, weight: float) -> None:
    """Add a pair of rows at the same distance from the middle, times their weight."""
    for i in range(total.size):
        total[i] += (one[i] + other[i]) * weight


@compiled
def _add_pairs(
    total: Doubles, one: Doubles, other: Doubles, weight: float, near: Doubles, far: Doubles, near_weight: float
) -> None:
    """Two pairs on one walk, the outer one first: half the traffic of two calls of `add_pair`, the same sums."""
    for i in range(total.size):
        total[i] = (total[i] + (one[i] + other[i]) * weight) + (near[i] + far[i]) * near_weight


@compiled
def _store(total: Doubles, row: Image) -> None:
    for i in range(row.size):
        row[i] = np.uint8(np.int32(min(total[i], 1.0) * 255))


@corruption("held_out", levels=(1.0, 2.0, 3.0, 4.0, 6.0), cifar10c=(0.4, 0.6, 0.7, 0.8, 1.0))
def gaussian_blur(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Smooth with a Gaussian of standard deviation `sigma` pixels; `rng` is unused."""
    return smooth(image, sigma)
