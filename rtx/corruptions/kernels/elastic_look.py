"""Elastic transform: what an image shows at displaced positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.vector import put_bilinear
from rtx.corruptions.arithmetic.waves import mirror
from rtx.corruptions.kernels.zoom import LEVEL_MOST, LEVEL_REST, narrow
from rtx.corruptions.registry import Image

Vector = NDArray[np.float32]


@compiled
def look_at_rows(image: Image, top: int, rows: int, moved: Vector, out: Image) -> None:
    """Rows of the result from `top` on.

    Args:
        image: the whole.
        top: the first row.
        rows: how many.
        moved: displacements (2, at least `rows`, at least W) along x, then along y, in pixels.
        out: the result.
    """
    width = image.shape[1]
    row, words = np.empty(4 * width, np.float32), np.empty(width, np.uint32)
    corners = np.empty(width, np.int64)
    weights_x, weights_y = np.empty(width, np.float32), np.empty(width, np.float32)
    for k in range(rows):
        dx, dy = moved[0, k, :width], moved[1, k, :width]
        _corners(dx, dy, top + k, image.shape[0], corners, weights_x, weights_y)
        _look(image, top + k, dx, dy, corners, weights_x, weights_y, row)
        narrow(row, words, out[top + k])


@compiled
def _corners(
    dx: Vector, dy: Vector, y: int, height: int, corners: NDArray[np.int64], weights_x: Vector, weights_y: Vector
) -> None:
    """Where the upper left pixel of four lies in the image's bytes, or -1 where they are not a square within it."""
    width = dx.size
    # Eight bytes are read for two pixels: the last two of the image would end behind it.
    end = (height - 2) * width + width - 2
    for x in range(width):
        floor_x, floor_y = np.floor(dx[x]), np.floor(dy[x])
        weights_x[x], weights_y[x] = dx[x] - floor_x, dy[x] - floor_y
        left, top = x + np.int64(floor_x), y + np.int64(floor_y)
        inside = (left >= 0) & (left < width - 1) & (top >= 0) & (top < height - 1) & (top * width + left < end)
        corners[x] = 3 * (top * width + left) if inside else -1


@compiled
def _look(
    image: Image,
    y: int,
    dx: Vector,
    dy: Vector,
    corners: NDArray[np.int64],
    weights_x: Vector,
    weights_y: Vector,
    row: Vector,
) -> None:
    """One row of the result, as `narrow` takes it."""
    height, width = image.shape[:2]
    pixels = image.reshape(-1)
    four = np.zeros(16, np.uint8)
    for x in range(width):
        first = corners[x]
        if first >= 0:
            below = first + 3 * width
            put_bilinear(row, 4 * x, pixels, first, below, weights_x[x], weights_y[x], LEVEL_MOST, LEVEL_REST)
        else:
            for k in range(4):
                shown_x = mirror(x + np.int64(np.floor(dx[x])) + k % 2, width)
                shown_y = mirror(y + np.int64(np.floor(dy[x])) + k // 2, height)
                for channel in range(3):
                    four[8 * (k // 2) + 3 * (k % 2) + channel] = image[shown_y, shown_x, channel]
            put_bilinear(row, 4 * x, four, 0, 8, weights_x[x], weights_y[x], LEVEL_MOST, LEVEL_REST)
