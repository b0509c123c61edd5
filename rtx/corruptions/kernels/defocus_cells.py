"""Defocus blur by its kernel itself, cell by cell: where the short cut cannot tell two grey levels apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.kernels.defocus_kernel import Cells, Vector
from rtx.corruptions.kernels.defocus_sums import Words
from rtx.corruptions.registry import Image


@compiled
def one_value(padded: Image, sums: Words, y: int, channels: int, cells: Cells, index: int) -> np.uint8:
    """`whole_row` for one value."""
    span = sums.shape[0]
    reach = (span - 2) // 2
    at = reach * channels + index
    count = np.int64(0)
    for r in range(cells.runs.shape[0]):
        a = at + cells.runs[r, 0] * channels
        top, bottom = (y + reach - cells.runs[r, 1]) % span, (y + reach + cells.runs[r, 1] + 1) % span
        count += np.int64(np.uint16(sums[bottom, a] - sums[top, a]))
    total = np.float32(0)
    for q in range(cells.quads.shape[0]):
        up, down = y + reach - cells.quads[q, 0], y + reach + cells.quads[q, 0]
        left, right = at - cells.quads[q, 1] * channels, at + cells.quads[q, 1] * channels
        four = np.int32(padded[up, left]) + np.int32(padded[up, right])
        four += np.int32(padded[down, left]) + np.int32(padded[down, right])
        total += np.float32(np.int32(four)) * cells.weights[q]
    grey = np.float64(count) * np.float64(cells.plateau) + np.float64(total)
    return np.uint8(np.int32(min(grey, 255.0)))


@compiled
def whole_row(padded: Image, sums: Words, y: int, channels: int, cells: Cells, out: Image) -> None:
    """Row y by the kernel itself, whose order of additions decides the last bit."""
    n, span = out.size, sums.shape[0]
    reach = (span - 2) // 2
    at = reach * channels
    counted, added = np.zeros(n, np.int32), np.zeros(n, np.float32)
    for r in range(cells.runs.shape[0]):
        a = at + cells.runs[r, 0] * channels
        high, low = sums[(y + reach + cells.runs[r, 1] + 1) % span], sums[(y + reach - cells.runs[r, 1]) % span]
        _count_column(counted, high[a : a + n], low[a : a + n])
    for q in range(cells.quads.shape[0]):
        up, down = padded[y + reach - cells.quads[q, 0]], padded[y + reach + cells.quads[q, 0]]
        a, b = at - cells.quads[q, 1] * channels, at + cells.quads[q, 1] * channels
        _add_quad(added, up[a : a + n], up[b : b + n], down[a : a + n], down[b : b + n], cells.weights[q])
    # In doubles: a mean of 29 equal values must not end a last bit below them.
    for i in range(n):
        grey = np.float64(counted[i]) * np.float64(cells.plateau) + np.float64(added[i])
        out[i] = np.uint8(np.int32(min(grey, 255.0)))


@compiled
def _count_column(count: NDArray[np.int32], high: Words, low: Words) -> None:
    for i in range(count.size):
        count[i] += np.int32(np.uint16(high[i] - low[i]))


@compiled
def _add_quad(total: Vector, a: Image, b: Image, c: Image, d: Image, weight: np.float32) -> None:
    for i in range(total.size):
        four = np.int16(np.int16(a[i]) + np.int16(b[i])) + np.int16(np.int16(c[i]) + np.int16(d[i]))
        total[i] += np.float32(np.int32(four)) * weight
