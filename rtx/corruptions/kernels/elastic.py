"""Elastic transform: pixels move by a smooth random field."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import uniforms
from rtx.corruptions.arithmetic.blocks import put_turned
from rtx.corruptions.arithmetic.pairs import LANES, pair_sums_by_two, put_block
from rtx.corruptions.arithmetic.waves import LANES as WAVE_LANES
from rtx.corruptions.arithmetic.waves import STATE, as_waves, mirror, places_of, slide
from rtx.corruptions.kernels.elastic_look import look_at_rows
from rtx.corruptions.kernels.gauss import gaussian_weights
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image, corruption
from rtx.corruptions.smoothing import SIGMA, TRUNCATE, slides

Vector = NDArray[np.float32]
Doubles = NDArray[np.float64]


class ElasticLevel(NamedTuple):
    """How far pixels move, and how smoothly.

    Attributes:
        alpha: factor of the smoothed displacements.
        sigma: standard deviation of the smoothing, as a fraction of each side.
        reach: largest displacement before the smoothing, as a fraction of the height.
        affine: largest movement of the three anchors of a random affine map, as a fraction of the height; 0 for none.
    """

    alpha: float
    sigma: float = SIGMA
    reach: float = 0.005
    affine: float = 0.0


class ElasticField(NamedTuple):
    """Uniform numbers in [-1, 1).

    Attributes:
        moves: (H, 2, W): each row of the image has its W displacements along x, then along y.
        anchors: (3, 2), for the affine map.
    """

    moves: NDArray[np.floating]
    anchors: NDArray[np.float64]


def _draw_moves(image: Image, level: ElasticLevel, rng: np.random.Generator) -> ElasticField:
    height, width = image.shape[:2]
    anchors = rng.uniform(-1, 1, (3, 2)) if level.affine else np.zeros((3, 2))
    moves = uniforms(rng, (height, 2, width))
    _spread_out(moves.reshape(-1))
    return ElasticField(moves, anchors)


@compiled
def _spread_out(numbers: Vector) -> None:
    for i in range(numbers.size):
        numbers[i] = numbers[i] * np.float32(2) - np.float32(1)


@corruption(
    "digital",
    levels=tuple(ElasticLevel(250 * a) for a in (0.05, 0.065, 0.085, 0.1, 0.12)),
    # alpha there is in pixels of a 32 x 32 image, with displacements of up to 1 before the smoothing.
    cifar10c=(
        ElasticLevel(0.0, 0.0, 1 / 32, 0.08),
        ElasticLevel(0.05 * 32, 0.2, 1 / 32, 0.07),
        ElasticLevel(0.08 * 32, 0.06, 1 / 32, 0.06),
        ElasticLevel(0.1 * 32, 0.04, 1 / 32, 0.05),
        ElasticLevel(0.1 * 32, 0.03, 1 / 32, 0.03),
    ),
    draw=_draw_moves,
)
def elastic_transform(image: Image, level: ElasticLevel, field: ElasticField) -> Image:
    """Look through moving water; the displacement along x is in proportion to the height, too, as in the reference.

    On large images (from about 2 megapixels on) the smoothing of the displacements is another sum of the same weights,
    closer to the reference's doubles than that in float32; which one is taken depends on the size alone.
    """
    height, width = image.shape[:2]
    if level.affine:
        image = _affine(image, level.affine * height * field.anchors)
    reach = np.float32(level.reach * height * level.alpha)
    out = empty_like(image)
    moves = np.ascontiguousarray(field.moves, np.float32).reshape(height, 2 * width)
    sigma_y, sigma_x = level.sigma * height, level.sigma * width
    weights_y, weights_x = gaussian_weights(sigma_y, TRUNCATE), gaussian_weights(sigma_x, TRUNCATE)
    if slides(height, width, level.sigma):
        waves = as_waves(weights_y, sigma_y), as_waves(weights_x, sigma_x, float(reach))
        _move_far(image, moves, weights_y.size - 1, weights_x.size - 1, *waves, out)
    else:
        _move(image, moves, weights_y.astype(np.float32), weights_x.astype(np.float32), reach, out)
    return out


def _affine(image: Image, moved: NDArray[np.float64]) -> Image:
    """CIFAR-10-C's first step: three anchors around the centre are moved, and the image with them."""
    height, width = image.shape[:2]
    centre = np.array([height, width], np.float32) // 2
    arm = min(height, width) // 3
    anchors = np.array([centre + arm, [centre[0] + arm, centre[1] - arm], centre - arm], np.float32)
    matrix = cv2.getAffineTransform(anchors, anchors + moved.astype(np.float32))
    warped: Image = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return warped


# Rows that are smoothed together down the columns, `LANES` columns at a time: what they need stays in the cache.
_ROWS = 64


@compiled
def _move(image: Image, moves: Vector, weights_y: Vector, weights_x: Vector, reach: np.float32, out: Image) -> None:
    height, width = image.shape[:2]
    band = np.empty((_ROWS, 2 * width), np.float32)
    tower = np.empty((_ROWS + 2 * (weights_y.size - 1)) * LANES, np.float32)
    down, along = _places(weights_y.size - 1, LANES), _places(weights_x.size - 1, 1)
    # A row to smooth, with room for its mirrored ends.
    line = np.empty(width + 2 * (weights_x.size - 1), np.float32)
    moved = np.empty((2, _ROWS, width), np.float32)
    for top in range(0, height, _ROWS):
        rows = min(_ROWS, height - top)
        _smooth_columns(moves, weights_y, down, top, rows, tower, band)
        for k in range(rows):
            _smooth_line(band[k, :width], line, weights_x, along, reach, moved[0, k])
            _smooth_line(band[k, width:], line, weights_x, along, reach, moved[1, k])
        look_at_rows(image, top, rows, moved, out)


# Rows that are smoothed together where weights reach far: those of both fields are the signals of `slide`.
_FEW = WAVE_LANES // 2


@compiled
def _move_far(
    image: Image, moves: Vector, radius_y: int, radius_x: int, waves_y: Doubles, waves_x: Doubles, out: Image
) -> None:
    """`_move` for weights that reach far."""
    height, many = moves.shape
    width = many // 2
    numbers = moves.reshape(-1)
    down, along = places_of(height, radius_y, many), places_of(width, radius_x, WAVE_LANES)
    pieces = -(-many // WAVE_LANES)
    states, state = np.zeros(pieces * STATE), np.empty(STATE)
    # A few columns more than there are, as blocks of eight are turned at once.
    wide = -(-width // 8) * 8
    band = np.empty(_FEW * many + 8, np.float32)
    beside, smooth = np.empty(wide * WAVE_LANES, np.float32), np.empty((wide + 1) * WAVE_LANES, np.float32)
    moved = np.empty((2, _FEW, wide), np.float32)
    flat = moved.reshape(-1)
    for piece in range(pieces):
        left = min(piece * WAVE_LANES, many - WAVE_LANES)  # the last ones overlap
        slide(numbers, left, down, 0, radius_y, 2 * radius_y, states, piece * STATE, waves_y, band, 0, 0)
    for top in range(0, height, _FEW):
        rows = min(_FEW, height - top)
        even = rows + rows % 2
        for piece in range(pieces):
            left = min(piece * WAVE_LANES, many - WAVE_LANES)
            first = 2 * radius_y + top
            slide(numbers, left, down, first, radius_y, even, states, piece * STATE, waves_y, band, left, many)
        for x in range(0, wide, 8):
            for field in range(2):
                put_turned(band, field * width + x, many, beside, x * WAVE_LANES + field * _FEW, WAVE_LANES)
        state[:] = 0.0
        slide(beside, 0, along, 0, radius_x, 2 * radius_x, state, 0, waves_x, smooth, 0, 0)
        slide(beside, 0, along, 2 * radius_x, radius_x, width + width % 2, state, 0, waves_x, smooth, 0, WAVE_LANES)
        for x in range(0, wide, 8):
            for field in range(2):
                put_turned(smooth, x * WAVE_LANES + field * _FEW, WAVE_LANES, flat, field * _FEW * wide + x, wide)
        look_at_rows(image, top, rows, moved, out)


@compiled
def _places(radius: int, step: int) -> NDArray[np.int64]:
    """Where the rows of `pair_sums` lie, from the outermost one on."""
    places = np.empty(2 * radius + 1, np.int64)
    places[0] = radius * step
    for j in range(1, radius + 1):
        places[2 * j - 1], places[2 * j] = (radius - j) * step, (radius + j) * step
    return places


@compiled
def _smooth_columns(
    moves: Vector, weights: Vector, places: NDArray[np.int64], top: int, rows: int, tower: Vector, band: Vector
) -> None:
    """Smooth down the columns, for some rows from `top` on."""
    height, many = moves.shape
    radius = weights.size - 1
    numbers, flat = moves.reshape(-1), band.reshape(-1)
    origins = np.empty(rows + 2 * radius, np.int64)
    for k in range(origins.size):
        origins[k] = mirror(top - radius + k, height)
    for first in range(0, many, LANES):
        left = min(first, many - LANES)  # the last ones overlap
        for k in range(rows + 2 * radius):
            put_block(tower, k * LANES, numbers, origins[k] * many + left)
        for k in range(rows):
            pair_sums_by_two(flat, k * many + left, tower, k * LANES, places, weights)


@compiled
def _smooth_line(
    numbers: Vector, line: Vector, weights: Vector, places: NDArray[np.int64], reach: np.float32, out: Vector
) -> None:
    """Smooth along a row, and scale."""
    n, radius = numbers.size, weights.size - 1
    for first in range(0, n, LANES):
        left = min(first, n - LANES)  # the last ones overlap
        put_block(line, radius + left, numbers, left)
    for i in range(radius):
        line[i] = numbers[mirror(i - radius, n)]
        line[radius + n + i] = numbers[mirror(n + i, n)]
    for first in range(0, n, LANES):
        left = min(first, n - LANES)
        pair_sums_by_two(out, left, line, left, places, weights)
    for i in range(n):
        out[i] *= reach
