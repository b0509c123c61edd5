"""Elastic transform: pixels move by a smooth random field."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import Field, uniforms
from rtx.corruptions.arithmetic.vector import put_bilinear
from rtx.corruptions.kernels.gauss import gaussian_weights
from rtx.corruptions.kernels.zoom import narrow, widened
from rtx.corruptions.registry import Image, corruption

Vector = NDArray[np.float32]


class ElasticLevel(NamedTuple):
    """How far pixels move, and how smoothly.

    Attributes:
        alpha: factor of the smoothed displacements.
        sigma: standard deviation of the smoothing, as a fraction of each side.
        reach: largest displacement before the smoothing, as a fraction of the height.
        affine: largest movement of the three anchors of a random affine map, as a fraction of the height; 0 for none.
    """

    alpha: float
    sigma: float = 0.01
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
    """Look through moving water; the displacement along x is in proportion to the height, too, as in the reference."""
    height, width = image.shape[:2]
    if level.affine:
        image = _affine(image, level.affine * height * field.anchors)
    reach = np.float32(level.reach * height * level.alpha)
    out = np.empty_like(image)
    _move(
        image,
        np.ascontiguousarray(field.moves, np.float32).reshape(height, 2 * width),
        gaussian_weights(level.sigma * height, 3.0).astype(np.float32),
        gaussian_weights(level.sigma * width, 3.0).astype(np.float32),
        reach,
        out,
    )
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


@compiled
def _mirror(index: Any, size: int) -> Any:
    """Index of the pixel that a position beyond the edge shows: d c b a | a b c d | d c b a."""
    index = index % (2 * size)
    return index if index < size else 2 * size - 1 - index


@compiled
def _move(image: Image, moves: Vector, weights_y: Vector, weights_x: Vector, reach: np.float32, out: Image) -> None:
    height, width = image.shape[:2]
    source = widened(image).reshape(-1)
    along = np.empty(2 * width, np.float32)
    # A row to smooth, with room for its mirrored ends.
    line = np.empty(width + 2 * (weights_x.size - 1), np.float32)
    dx, dy, row = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(4 * width, np.float32)
    for y in range(height):
        _smooth_rows(moves, weights_y, y, along)
        _smooth_line(along[:width], line, weights_x, reach, dx)
        _smooth_line(along[width:], line, weights_x, reach, dy)
        _look(source, y, height, dx, dy, row)
        narrow(row, out[y])


@compiled
def _look(source: Vector, y: int, height: int, dx: Vector, dy: Vector, row: Vector) -> None:
    """One row of the result, from the image as `widened` gives it."""
    width = dx.size
    for x in range(width):
        floor_x, floor_y = np.floor(dx[x]), np.floor(dy[x])
        left, top = x + np.int64(floor_x), y + np.int64(floor_y)
        right, bottom = left + 1, top + 1
        if left < 0 or right >= width:
            left, right = _mirror(left, width), _mirror(right, width)
        if top < 0 or bottom >= height:
            top, bottom = _mirror(top, height), _mirror(bottom, height)
        above, below = top * width, bottom * width
        put_bilinear(
            row,
            np.int64(4 * x),
            source,
            4 * (above + left),
            4 * (above + right),
            4 * (below + left),
            4 * (below + right),
            dx[x] - floor_x,
            dy[x] - floor_y,
        )


@compiled
def _smooth_rows(moves: Vector, weights: Vector, y: int, out: Vector) -> None:
    """Smooth down the columns, for row y."""
    height = moves.shape[0]
    centre = moves[y]
    for i in range(out.size):
        out[i] = centre[i] * weights[0]
    j = weights.size - 1
    while j > 1:
        _add_pairs(
            out,
            moves[_mirror(y - j, height)],
            moves[_mirror(y + j, height)],
            weights[j],
            moves[_mirror(y - j + 1, height)],
            moves[_mirror(y + j - 1, height)],
            weights[j - 1],
        )
        j -= 2
    if j == 1:
        one, other, w = moves[_mirror(y - 1, height)], moves[_mirror(y + 1, height)], weights[1]
        for i in range(out.size):
            out[i] += (one[i] + other[i]) * w


@compiled
def _smooth_line(along: Field, line: Field, weights: Vector, reach: np.float32, out: Vector) -> None:
    """Smooth along a row, and scale."""
    n, radius = along.size, weights.size - 1
    line[radius : radius + n] = along
    for i in range(radius):
        line[i] = along[_mirror(i - radius, n)]
        line[radius + n + i] = along[_mirror(n + i, n)]
    for i in range(n):
        out[i] = along[i] * weights[0]
    j = radius
    while j > 1:
        a, b = radius - j, radius + j
        _add_pairs(
            out,
            line[a : a + n],
            line[b : b + n],
            weights[j],
            line[a + 1 : a + 1 + n],
            line[b - 1 : b - 1 + n],
            weights[j - 1],
        )
        j -= 2
    if j == 1:
        for i in range(n):
            out[i] += (line[radius - 1 + i] + line[radius + 1 + i]) * weights[1]
    for i in range(n):
        out[i] *= reach


@compiled
def _add_pairs(
    total: Vector, one: Vector, other: Vector, weight: np.float32, near: Vector, far: Vector, near_weight: np.float32
) -> None:
    for i in range(total.size):
        total[i] += (one[i] + other[i]) * weight + (near[i] + far[i]) * near_weight
