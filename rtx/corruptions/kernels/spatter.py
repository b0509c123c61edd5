"""Spatter (held out): rain drops on the lens at severities 1 to 3, mud at 4 and 5."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import Field, normals
from rtx.corruptions.arithmetic.pairs import LANES, pair_sums
from rtx.corruptions.kernels.gauss import gaussian_weights
from rtx.corruptions.kernels.gauss_doubles import Doubles, Index, continue_ends
from rtx.corruptions.memory import empty, empty_like
from rtx.corruptions.registry import Image, corruption

# Pale turquoise and mud brown, in the order of the image's channels.
_WATER = (175 / 255.0, 238 / 255.0, 238 / 255.0)
_MUD = (63 / 255.0, 42 / 255.0, 20 / 255.0)
# Thinner mud is none.
_THICK = 0.8


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
    drops = empty(image.shape[:2], np.uint8)
    _gather(field, level.mean, level.spread, gaussian_weights(level.sigma), level.threshold, level.mud, drops)
    relief, strongest = drops, 0
    if not level.mud:
        relief = _relief(drops)
        strongest = _strongest(drops, relief)
        if strongest == 0:
            return image.copy()
    weights, colour = gaussian_weights(level.strength), np.array(_MUD if level.mud else _WATER)
    out = empty_like(image)
    _cover(image, drops, relief, np.float32(strongest), np.float32(level.strength), weights, colour, level.mud, out)
    return out


def _relief(drops: Image) -> Image:
    """Light and shade on the drops: their distance from an edge, embossed."""
    edges = cv2.Canny(drops, 50, 150)
    distance = cv2.distanceTransform(
        cv2.bitwise_not(edges, dst=edges), cv2.DIST_L2, 5, dst=empty(drops.shape, np.float32)
    )
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC, dst=distance)
    relief = cv2.equalizeHist(cv2.blur(distance, (3, 3), dst=empty(drops.shape, np.float32)).astype(np.uint8))
    relief = cv2.filter2D(relief, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    shaded: Image = cv2.blur(relief, (3, 3))
    return shaded


@compiled
def _gather(
    field: NDArray[np.floating], mean: float, spread: float, weights: Doubles, threshold: float, mud: bool, drops: Image
) -> None:
    """Smoothed noise above the threshold: 1 where it is mud, its level where it is water, and 0 elsewhere."""
    height, width = field.shape
    ring, line, total, down, along = _room(width, weights.size - 1)
    filled = 0
    for y in range(height):
        while filled < min(height, y + weights.size):
            row, into = field[filled], ring[filled % ring.shape[0]]
            for x in range(width):
                into[x] = np.float64(row[x]) * spread + mean
            filled += 1
        _smooth_row(y, height, ring, weights, False, line, total, down, along)
        found = drops[y]
        for x in range(width):
            if mud:
                found[x] = np.uint8(total[x] > threshold)
            else:
                # The reference casts to uint8 without clipping; 256 comes out as 0.
                found[x] = np.uint8(np.int64(total[x] * 255)) if total[x] >= threshold else np.uint8(0)


@compiled
def _room(width: int, radius: int) -> tuple[Doubles, Doubles, Doubles, Index, Index]:
    """For `_smooth_row`: a ring of rows, a row with its ends continued, a row, the places of pairs of both."""
    ring, line = np.empty((2 * radius + 1, width), np.float64), np.empty(width + 2 * radius, np.float64)
    total, down, along = (
        np.empty(width, np.float64),
        np.empty(2 * radius + 1, np.int64),
        np.empty(2 * radius + 1, np.int64),
    )
    along[0] = radius
    for j in range(1, radius + 1):
        along[2 * j - 1], along[2 * j] = radius - j, radius + j
    return ring, line, total, down, along


@compiled
def _smooth_row(
    y: int,
    height: int,
    ring: Doubles,
    weights: Doubles,
    single: bool,
    line: Doubles,
    total: Doubles,
    down: Index,
    along: Index,
) -> None:
    """Gaussian smoothing with edges continued, of row y, by the rows around it; row k lies at k % span of `ring`.

    The sums of scipy.ndimage, in its order: a threshold follows, which one last bit can cross. `single` cuts to float32
    after the first axis, as for a float32 input.
    """
    span, width = ring.shape
    radius = weights.size - 1
    rows = ring.reshape(-1)
    down[0] = (y % span) * width
    for j in range(1, radius + 1):
        down[2 * j - 1] = (max(y - j, 0) % span) * width
        down[2 * j] = (min(y + j, height - 1) % span) * width
    for x in range(0, width, LANES):
        start = min(x, width - LANES)  # the last ones overlap
        pair_sums(line, radius + start, rows, start, down, weights)
    if single:
        for x in range(radius, radius + width):
            line[x] = np.float64(np.float32(line[x]))
    continue_ends(line, radius, radius, line.size, 1)
    for x in range(0, width, LANES):
        start = min(x, width - LANES)
        pair_sums(total, start, line, start, along, weights)


@compiled
def _strongest(drops: Image, relief: Image) -> int:
    most = np.int32(0)
    for y in range(drops.shape[0]):
        one, other = drops[y], relief[y]
        for x in range(one.size):
            most = max(most, np.int32(one[x]) * np.int32(other[x]))
    return int(most)


@compiled
def _cover(
    image: Image,
    drops: Image,
    relief: Image,
    strongest: np.float32,
    strength: np.float32,
    weights: Doubles,
    colour: Doubles,
    mud: bool,
    out: Image,
) -> None:
    """Lay mud, smoothed by `weights`, or water, with its `relief`, over the image."""
    height, width = drops.shape
    ring, line, total, down, along = _room(width, weights.size - 1)
    mask = np.empty(width, np.float32)
    filled = 0
    for y in range(height):
        if mud:
            while filled < min(height, y + weights.size):
                row, into = drops[filled], ring[filled % ring.shape[0]]
                for x in range(width):
                    into[x] = np.float64(row[x])
                filled += 1
            _smooth_row(y, height, ring, weights, True, line, total, down, along)
            for x in range(width):
                smooth = np.float32(total[x])
                mask[x] = smooth if smooth >= _THICK else np.float32(0)
        else:
            one, other = drops[y], relief[y]
            for x in range(width):
                mask[x] = np.float32(np.int32(one[x]) * np.int32(other[x])) / strongest * strength
        _splash(image[y].reshape(-1), mask, colour, mud, out[y].reshape(-1))


@compiled
def _splash(row: Image, mask: NDArray[np.float32], colour: Doubles, cover: bool, out: Image) -> None:
    """Add colour, a `mask` of it; where it covers, it takes that share of the image away."""
    for x in range(mask.size):
        m = mask[x]
        left = np.float32(1) - m if cover else np.float32(1)
        for c in range(3):
            value = np.float32(row[3 * x + c]) * left + np.float32(colour[c] * 255) * m
            out[3 * x + c] = np.uint8(np.int32(min(value, np.float32(255))))
