"""Elastic transform: what an image shows at displaced positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.vector import put_bilinear
from rtx.corruptions.kernels.zoom import narrow, widen
from rtx.corruptions.registry import Image

Vector = NDArray[np.float32]


@compiled
def mirror(index: Any, size: int) -> Any:
    """Index of the pixel that a position beyond the edge shows: d c b a | a b c d | d c b a."""
    index = index % (2 * size)
    return index if index < size else 2 * size - 1 - index


@compiled
def look_at_rows(image: Image, top: int, rows: int, moved: Vector, source: Vector, out: Image) -> Vector:
    """Rows of the result from `top` on.

    Args:
        image: the whole.
        top: the first row.
        rows: how many.
        moved: displacements (2, at least `rows`, at least W) along x, then along y, in pixels.
        source: room for the rows that are looked at, as `widen` makes them.
        out: the result.

    Returns:
        `source`, or a larger one.
    """
    height, width = image.shape[:2]
    least, most = np.float32(0), np.float32(0)
    for k in range(rows):
        least, most = _extremes(moved[1, k, :width], least, most)
    first, last = _rows_seen(top + np.int64(np.floor(least)), top + rows + np.int64(np.floor(most)), height)
    if last - first + 1 > source.shape[0]:
        source = np.empty((last - first + 1, 4 * width), np.float32)
    row = np.empty(4 * width, np.float32)
    corners, inside, words = np.empty(width, np.int64), np.empty(width, np.bool_), np.empty(width, np.uint32)
    widen(image[first : last + 1], words, source)
    for k in range(rows):
        dx, dy = moved[0, k, :width], moved[1, k, :width]
        _look(source.reshape(-1), top + k, first, height, dx, dy, corners, inside, row)
        narrow(row, words, out[top + k])
    return source


@compiled
def _extremes(numbers: Vector, least: np.float32, most: np.float32) -> tuple[np.float32, np.float32]:
    for i in range(numbers.size):
        least = numbers[i] if numbers[i] < least else least
        most = numbers[i] if numbers[i] > most else most
    return least, most


@compiled
def _rows_seen(first: Any, last: Any, height: int) -> tuple[int, int]:
    """First and last row of the image that positions from row `first` to row `last` show, mirrored ones included."""
    if first < -height or last >= 2 * height:
        return 0, height - 1
    below, above = max(first, 0), min(last, height - 1)
    if first < 0:
        above = max(above, -first - 1)
    if last >= height:
        below = min(below, 2 * height - 1 - last)
    return min(below, height - 1), max(above, 0)


@compiled
def _look(
    source: Vector,
    y: int,
    origin: int,
    height: int,
    dx: Vector,
    dy: Vector,
    corners: NDArray[np.int64],
    inside: NDArray[np.bool_],
    row: Vector,
) -> None:
    """One row of the result, from rows of the image from `origin` on, as `widen` makes them."""
    width = dx.size
    for x in range(width):
        left, top = x + np.int64(np.floor(dx[x])), y + np.int64(np.floor(dy[x]))
        inside[x] = (left >= 0) & (left < width - 1) & (top >= 0) & (top < height - 1)
        corners[x] = 4 * ((top - origin) * width + left)
    for x in range(width):
        weight_x, weight_y = dx[x] - np.floor(dx[x]), dy[x] - np.floor(dy[x])
        a = corners[x]
        b, c, d = a + 4, a + 4 * width, a + 4 * width + 4
        if not inside[x]:
            left, top = x + np.int64(np.floor(dx[x])), y + np.int64(np.floor(dy[x]))
            above, below = (mirror(top, height) - origin) * width, (mirror(top + 1, height) - origin) * width
            left, right = mirror(left, width), mirror(left + 1, width)
            a, b, c, d = 4 * (above + left), 4 * (above + right), 4 * (below + left), 4 * (below + right)
        put_bilinear(row, np.int64(4 * x), source, a, b, c, d, weight_x, weight_y)
