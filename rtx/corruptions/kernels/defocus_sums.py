"""Sums over a disk and around it, from running sums down the columns, and their smoothing by a few taps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.kernels.defocus_kernel import Index, Vector
from rtx.corruptions.registry import Image

Words = NDArray[np.uint16]


@compiled
def add_row(before: Words, row: Image, after: Words) -> None:
    """The running sums behind a row."""
    for i in range(row.size):
        after[i] = np.uint16(before[i] + np.uint16(row[i]))


@compiled
def add_disk(
    sums: Words, row: int, runs: Index, first: int, channels: int, left: Words, right: Words, out: Vector
) -> None:
    """A row of sums over the disk. In two halves, which 16 bits hold up to a radius of 12."""
    span, n = sums.shape[0], out.size
    left[:] = 0
    right[:] = 0
    # Pairs of columns at the same distance from the middle have equal lengths.
    middle = runs.shape[0] // 2
    for r in range(middle):
        a, b = first + runs[r, 0] * channels, first - runs[r, 0] * channels
        high, low = sums[(row + runs[r, 1] + 1) % span], sums[(row - runs[r, 1]) % span]
        total = left if r % 2 else right
        _add_differences(total, high[a : a + n], low[a : a + n], high[b : b + n], low[b : b + n])
    high, low = sums[(row + runs[middle, 1] + 1) % span], sums[(row - runs[middle, 1]) % span]
    _add_difference(left if middle % 2 else right, high[first : first + n], low[first : first + n])
    for i in range(n):
        out[i] = np.float32(np.int32(np.int32(left[i]) + np.int32(right[i])))


@compiled
def _add_difference(total: Words, high: Words, low: Words) -> None:
    for i in range(total.size):
        total[i] = np.uint16(np.uint16(total[i] + high[i]) - low[i])


@compiled
def _add_differences(total: Words, high: Words, low: Words, other_high: Words, other_low: Words) -> None:
    for i in range(total.size):
        one, other = np.uint16(high[i] - low[i]), np.uint16(other_high[i] - other_low[i])
        total[i] = np.uint16(total[i] + np.uint16(one + other))


@compiled
def add_sides(total: Vector, high: Words, low: Words, other_high: Words, other_low: Words, weight: np.float32) -> None:
    """Add two weighted differences of running sums: lines down two columns."""
    for i in range(total.size):
        both = np.int32(np.uint16(high[i] - low[i])) + np.int32(np.uint16(other_high[i] - other_low[i]))
        total[i] += np.float32(np.int32(both)) * weight


@compiled
def add_line(
    total: Vector, up: Image, down: Image, first: int, half: int, channels: int, weight: np.float32, both: Words
) -> None:
    """Add sums over lines of 2 half + 1 cells in two rows; `both` has room for a row of them and its ends."""
    n, long = total.size, total.size + 2 * half * channels
    start = first - half * channels
    _add_rows(up[start : start + long], down[start : start + long], both[:long])
    for k in range(0, 2 * half, 4):
        a, b = k * channels, (k + 1) * channels
        c, d = (k + 2) * channels, (k + 3) * channels
        if k + 3 < 2 * half:
            _add_four(total, both[a : a + n], both[b : b + n], both[c : c + n], both[d : d + n], weight)
        else:
            _add_two(total, both[a : a + n], both[b : b + n], weight)
    last = both[2 * half * channels : 2 * half * channels + n]
    for i in range(n):
        total[i] += np.float32(np.int32(last[i])) * weight


@compiled
def _add_rows(up: Image, down: Image, both: Words) -> None:
    for i in range(both.size):
        both[i] = np.uint16(np.uint16(up[i]) + np.uint16(down[i]))


@compiled
def _add_two(total: Vector, a: Words, b: Words, weight: np.float32) -> None:
    for i in range(total.size):
        total[i] += np.float32(np.int32(np.uint16(a[i] + b[i]))) * weight


@compiled
def _add_four(total: Vector, a: Words, b: Words, c: Words, d: Words, weight: np.float32) -> None:
    for i in range(total.size):
        total[i] += np.float32(np.int32(np.uint16(np.uint16(a[i] + b[i]) + np.uint16(c[i] + d[i])))) * weight


@compiled
def smooth_line(line: Vector, taps: Vector, channels: int, out: Vector) -> None:
    """Smooth along a row, which has the ends that the taps need."""
    n, side = out.size, taps.size - 1
    centre = line[side * channels : side * channels + n]
    one, other = line[(side - 1) * channels : (side - 1) * channels + n], line[(side + 1) * channels :]
    if side == 1:
        for i in range(n):
            out[i] = centre[i] * taps[0] + (one[i] + other[i]) * taps[1]
    else:
        far = line[4 * channels :]
        for i in range(n):
            out[i] = centre[i] * taps[0] + (one[i] + other[i]) * taps[1] + (line[i] + far[i]) * taps[2]


@compiled
def smooth_rows(ring: Vector, y: int, taps: Vector, out: Vector) -> None:
    """Smooth across rows; row y of the image is the middle one of those from `y % span` on."""
    span, side = ring.shape[0], taps.size - 1
    centre, one, other = ring[(y + side) % span], ring[(y + side - 1) % span], ring[(y + side + 1) % span]
    if side == 1:
        for i in range(out.size):
            out[i] = centre[i] * taps[0] + (one[i] + other[i]) * taps[1]
    else:
        near, far = ring[y % span], ring[(y + 4) % span]
        for i in range(out.size):
            out[i] = centre[i] * taps[0] + (one[i] + other[i]) * taps[1] + (near[i] + far[i]) * taps[2]
