"""Spatter (held out): rain drops on the lens at severities 1 to 3, mud at 4 and 5."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import Field, normals
from rtx.corruptions.arithmetic.pairs import LANES, pair_sums
from rtx.corruptions.kernels.gauss import gaussian_weights
from rtx.corruptions.kernels.gauss_doubles import Doubles, continue_ends
from rtx.corruptions.registry import Image, corruption

# Pale turquoise and mud brown, in the order of the image's channels.
_WATER = (175 / 255.0, 238 / 255.0, 238 / 255.0)
_MUD = (63 / 255.0, 42 / 255.0, 20 / 255.0)


class SpatterLevel(NamedTuple):
    """Noise (mean, spread), its smoothing, threshold of a drop, strength of water or smoothing of mud, mud or not."""

    mean: float
    spread: float
    sigma: float
    threshold: float
    strength: float
    mud: bool


def _draw_noise(image: Image, level: SpatterLevel, rng: np.random.Generator) -> Field:
    return normals(rng, image.shape[:2])


@corruption(
    "held_out",
    levels=(
        SpatterLevel(0.65, 0.3, 4, 0.69, 0.6, False),
        SpatterLevel(0.65, 0.3, 3, 0.68, 0.6, False),
        SpatterLevel(0.65, 0.3, 2, 0.68, 0.5, False),
        SpatterLevel(0.65, 0.3, 1, 0.65, 1.5, True),
        SpatterLevel(0.67, 0.4, 1, 0.65, 1.5, True),
    ),
    cifar10c=(
        SpatterLevel(0.62, 0.1, 0.7, 0.7, 0.5, False),
        SpatterLevel(0.65, 0.1, 0.8, 0.7, 0.5, False),
        SpatterLevel(0.65, 0.3, 1, 0.69, 0.5, False),
        SpatterLevel(0.65, 0.1, 0.7, 0.69, 0.6, True),
        SpatterLevel(0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
    draw=_draw_noise,
)
def spatter(image: Image, level: SpatterLevel, field: NDArray[np.floating]) -> Image:
    """Splash water or mud on the lens.

    Where no noise exceeds the threshold there is no drop, and the image stays as it is; the reference divides by zero
    there (it happens on images of a few dozen pixels). `field` is standard normal, (H, W).
    """
    liquid = field.astype(np.float64)
    liquid *= level.spread
    liquid += level.mean
    liquid = _smoothed(liquid, level.sigma, single=False)
    out = np.empty_like(image)
    if level.mud:
        np.greater(liquid, level.threshold, out=liquid, casting="unsafe")
        mud = _smoothed(liquid, level.strength, single=True)
        _splash(image, mud, np.array(_MUD), 0.8, True, out)
    else:
        drops = np.empty(liquid.shape, np.uint8)
        _drops(liquid, level.threshold, drops)
        del liquid
        mask = drops * _relief(drops)
        strongest = mask.max()
        if strongest == 0:
            return image.copy()
        mask /= strongest
        mask *= np.float32(level.strength)
        _splash(image, mask, np.array(_WATER), 0.0, False, out)
    return out


def _relief(drops: Image) -> NDArray[np.float32]:
    """Light and shade on the drops: their distance from an edge, embossed."""
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
    relief = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(relief, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    shaded: NDArray[np.float32] = cv2.blur(relief, (3, 3)).astype(np.float32)
    return shaded


def _smoothed(layer: Doubles, sigma: float, *, single: bool) -> NDArray[Any]:
    """Gaussian smoothing with edges continued; `single` cuts to float32 after each axis, as for a float32 input."""
    out = np.empty_like(layer)
    _smooth(layer, gaussian_weights(sigma), single, out)
    return out.astype(np.float32) if single else out


@compiled
def _drops(liquid: Doubles, threshold: float, out: Image) -> None:
    """Nothing below the threshold. The reference casts to uint8 without clipping; 256 comes out as 0."""
    for y in range(liquid.shape[0]):
        for x in range(liquid.shape[1]):
            out[y, x] = np.uint8(np.int64(liquid[y, x] * 255)) if liquid[y, x] >= threshold else np.uint8(0)


@compiled
def _smooth(layer: Doubles, weights: Doubles, single: bool, out: Doubles) -> None:
    """The sums of scipy.ndimage, in its order: a threshold follows, which one last bit can cross."""
    height, width = layer.shape
    radius = weights.size - 1
    line = np.empty(width + 2 * radius, np.float64)
    down, along = np.empty(2 * radius + 1, np.int64), np.empty(2 * radius + 1, np.int64)
    along[0] = radius
    for j in range(1, radius + 1):
        along[2 * j - 1], along[2 * j] = radius - j, radius + j
    rows = layer.reshape(-1)
    for y in range(height):
        down[0] = y * width
        for j in range(1, radius + 1):
            down[2 * j - 1], down[2 * j] = max(y - j, 0) * width, min(y + j, height - 1) * width
        for x in range(0, width, LANES):
            start = min(x, width - LANES)  # the last ones overlap
            pair_sums(line, radius + start, rows, start, down, weights)
        if single:
            for x in range(radius, radius + width):
                line[x] = np.float64(np.float32(line[x]))
        continue_ends(line, radius, radius, line.size, 1)
        for x in range(0, width, LANES):
            start = min(x, width - LANES)
            pair_sums(out[y], start, line, start, along, weights)


@compiled
def _splash(image: Image, mask: NDArray[Any], colour: Doubles, least: float, cover: bool, out: Image) -> None:
    for y in range(image.shape[0]):
        row, row_out, here = image[y].reshape(-1), out[y].reshape(-1), mask[y]
        for x in range(here.size):
            m = np.float32(here[x] if here[x] >= least else 0)
            left = np.float32(1) - m if cover else np.float32(1)
            for c in range(3):
                value = np.float32(row[3 * x + c]) * left + np.float32(colour[c] * 255) * m
                row_out[3 * x + c] = np.uint8(np.int32(min(value, np.float32(255))))
