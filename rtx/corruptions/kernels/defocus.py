"""Defocus blur: every point becomes a disk.

ImageNet-C's kernel is a disk whose edge a small Gaussian smooths. Cell by cell that edge is most of the work; here the
disk is added up by running sums, and the Gaussian follows, a few taps each way. What lies too near a whole grey level
for float32 to decide is computed again, cell by cell: the cut to whole grey levels never depends on the short cut.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.registry import Image, corruption

DefocusLevel = tuple[float, float]
Index = NDArray[np.int64]
Vector = NDArray[np.float32]
Words = NDArray[np.uint16]

# The short cut differs from the kernel cell by cell by at most 1.4e-4 grey levels on noise, white, black-and-white and
# nearly white images, the worst there are for it; this is more than three times that.
_DOUBT = np.float32(5e-4)
_BLOCK = 128


class Cells(NamedTuple):
    """The kernel as it is: a plateau in columns, and what differs around its edge.

    Attributes:
        runs: (dx, dy): the plateau's cells in column dx reach from -dy to dy.
        quads: (dy, dx) >= 0 of the edge.
        weights: of each of the four cells (+-dy, +-dx), halved for each of the two that is 0, because the sum over four
            signs then meets the same cell twice.
        plateau: the weight on the plateau.
    """

    runs: Index
    quads: Index
    weights: Vector
    plateau: np.float32


class Disk(NamedTuple):
    """The kernel as a disk and what follows it.

    Attributes:
        runs: (dx, dy) of the disk.
        taps: of the Gaussian, at distance 0, 1, ..., each for a disk of sum 1.
        rim: (o, h) of lines of 2 h + 1 cells at distance o from the middle: the reference smooths its kernel in a
            square that ends at the disk, mirrored at its sides, which moves weight from beyond the square into it.
        rim_weights: of those lines, which the Gaussian then smooths along the line.
        scale: of the sums over cells.
    """

    runs: Index
    taps: Vector
    rim: Index
    rim_weights: Vector
    scale: np.float32


@corruption(
    "blur",
    levels=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    cifar10c=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
)
def defocus_blur(image: Image, level: DefocusLevel, rng: np.random.Generator) -> Image:
    """Average over a disk, as a lens out of focus does.

    `level` is (radius of the disk, standard deviation of the smoothing of its edge), both in pixels.
    """
    cells, disk = _cells(*level), _disk(*level)
    height, width, channels = image.shape
    reach = int(disk.runs[:, 0].max()) + disk.taps.size - 1
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    out = np.empty_like(image)
    _blur(padded.reshape(padded.shape[0], -1), channels, cells, disk, out.reshape(height, width * channels))
    return out


def _square(radius: float) -> tuple[int, int]:
    """(half the side of the square that holds the disk, taps of its smoothing on one side), as in the reference."""
    return (8, 1) if radius <= 8 else (int(radius), 2)


def disk_kernel(radius: float, edge_sigma: float) -> Vector:
    """The disk of ImageNet-C: all cells within `radius`, smoothed, its size cut off at 17 x 17 or at the disk."""
    reach, side = _square(radius)
    x = np.arange(-reach, reach + 1)
    disk = ((x[:, None] ** 2 + x[None, :] ** 2) <= radius**2).astype(np.float32)
    disk /= disk.sum()
    smoothed: Vector = cv2.GaussianBlur(disk, ksize=(2 * side + 1, 2 * side + 1), sigmaX=edge_sigma)
    return smoothed


@lru_cache(maxsize=16)
def _cells(radius: float, edge_sigma: float) -> Cells:
    kernel = disk_kernel(radius, edge_sigma).astype(np.float64)
    c = kernel.shape[0] // 2
    plateau = kernel[c, c]
    seen = kernel > 1e-9 * plateau
    flat = np.abs(kernel - plateau) < 1e-6 * plateau
    runs, quads, weights = [], [], []
    for dy in range(-c, c + 1):
        # The plateau is convex, so that each of its rows is one run around the middle; its columns are the same.
        length = int(flat[c + dy, c:].argmin()) if not flat[c + dy, c:].all() else c + 1
        if length:
            runs.append((dy, length - 1))
        for dx in range(length, c + 1) if dy >= 0 else ():
            if seen[c + dy, c + dx]:
                quads.append((dy, dx))
                weights.append(kernel[c + dy, c + dx] / ((1 + (dy == 0)) * (1 + (dx == 0))))
    return Cells(
        np.array(runs, np.int64).reshape(-1, 2),
        np.array(quads, np.int64).reshape(-1, 2),
        np.array(weights, np.float32),
        np.float32(plateau),
    )


@lru_cache(maxsize=16)
def _disk(radius: float, edge_sigma: float) -> Disk:
    reach, side = _square(radius)
    half = {d: int(np.sqrt(radius**2 - d * d)) for d in range(int(radius) + 1)}
    taps = cv2.getGaussianKernel(2 * side + 1, edge_sigma)[side:, 0]
    rim: dict[tuple[int, int], float] = {}
    for at in range(reach - side + 1, reach + side + 1):
        for tap in range(1, side + 1):
            # A line beyond the square is lost; within it, the lines that its smoothing meets beyond are mirrored.
            if at > reach and at - tap in half:
                rim[at, half[at - tap]] = rim.get((at, half[at - tap]), 0.0) - taps[tap]
            mirrored = 2 * reach - (at + tap)
            if at <= reach < at + tap and mirrored in half:
                rim[at, half[mirrored]] = rim.get((at, half[mirrored]), 0.0) + taps[tap]
    scale = np.float32(1 / sum(2 * half[abs(d)] + 1 for d in range(-int(radius), int(radius) + 1)))
    return Disk(
        np.array([(d, half[abs(d)]) for d in range(-int(radius), int(radius) + 1)], np.int64),
        taps.astype(np.float32),
        np.array(list(rim), np.int64).reshape(-1, 2),
        np.array(list(rim.values()), np.float32),
        scale,
    )


@compiled
def _blur(padded: Image, channels: int, cells: Cells, disk: Disk, out: Image) -> None:
    height, n = out.shape
    reach = (padded.shape[0] - height) // 2
    side = disk.taps.size - 1
    radius = reach - side
    edge, margin = reach * channels, side * channels
    wide = n + 2 * margin
    # Running sums down the columns, modulo 2**16, of the rows in use; the sum of the first y rows lives at y % span.
    span = 2 * reach + 2
    sums = np.zeros((span, padded.shape[1]), np.uint16)
    ring = np.empty((2 * side + 1, n), np.float32)
    left, right = np.empty(wide, np.uint16), np.empty(wide, np.uint16)
    both = np.empty(padded.shape[1], np.uint16)
    line, middle, value = np.empty(wide, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    known, filled = 0, 0
    for y in range(height):
        while known < y + 2 * side + 1:
            # Row `known` of the disk, around row known + radius of the padded image.
            while filled < known + 2 * radius + 1:
                _add_row(sums[filled % span], padded[filled], sums[(filled + 1) % span])
                filled += 1
            _add_disk(sums, known + radius, disk.runs, (reach - side) * channels, channels, left, right, line)
            into = ring[known % (2 * side + 1)]
            _smooth_line(line, disk.taps, channels, into)
            for r in range(disk.rim.shape[0]):
                away, half = disk.rim[r, 0] * channels, disk.rim[r, 1]
                high = sums[(known + radius + half + 1) % span]
                low = sums[(known + radius - half) % span]
                a, b = edge - away, edge + away
                _add_sides(into, high[a : a + n], low[a : a + n], high[b : b + n], low[b : b + n], disk.rim_weights[r])
            known += 1
        _smooth_rows(ring, y, disk.taps, value)
        if disk.rim.shape[0]:
            line[:] = 0
            for r in range(disk.rim.shape[0]):
                up, down = padded[y + reach - disk.rim[r, 0]], padded[y + reach + disk.rim[r, 0]]
                _add_line(line, up, down, edge - margin, disk.rim[r, 1], channels, disk.rim_weights[r], both)
            _smooth_line(line, disk.taps, channels, middle)
            for i in range(n):
                value[i] += middle[i]
        if cells.quads.shape[0]:
            _store(value, disk.scale, padded, sums, y, channels, cells, out[y])
        else:
            # A bare disk: its sums are whole numbers, and exact.
            _store_sums(value, cells.plateau, out[y])


@compiled
def _add_row(before: Words, row: Image, after: Words) -> None:
    for i in range(row.size):
        after[i] = np.uint16(before[i] + np.uint16(row[i]))


@compiled
def _add_disk(
    sums: Words, row: int, runs: Index, first: int, channels: int, left: Words, right: Words, out: Vector
) -> None:
    """A row of sums over the disk. In two halves, each of which 16 bits hold, up to a radius of 12."""
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
def _add_sides(total: Vector, high: Words, low: Words, other_high: Words, other_low: Words, weight: np.float32) -> None:
    for i in range(total.size):
        both = np.int32(np.uint16(high[i] - low[i])) + np.int32(np.uint16(other_high[i] - other_low[i]))
        total[i] += np.float32(np.int32(both)) * weight


@compiled
def _add_line(
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
def _smooth_line(line: Vector, taps: Vector, channels: int, out: Vector) -> None:
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
def _smooth_rows(ring: Vector, y: int, taps: Vector, out: Vector) -> None:
    span, side = ring.shape[0], taps.size - 1
    centre, one, other = ring[(y + side) % span], ring[(y + side - 1) % span], ring[(y + side + 1) % span]
    if side == 1:
        for i in range(out.size):
            out[i] = centre[i] * taps[0] + (one[i] + other[i]) * taps[1]
    else:
        near, far = ring[y % span], ring[(y + 4) % span]
        for i in range(out.size):
            out[i] = centre[i] * taps[0] + (one[i] + other[i]) * taps[1] + (near[i] + far[i]) * taps[2]


@compiled
def _store_sums(value: Vector, plateau: np.float32, out: Image) -> None:
    for i in range(out.size):
        out[i] = np.uint8(np.int32(min(np.float64(value[i]) * np.float64(plateau), 255.0)))


@compiled
def _store(
    value: Vector, scale: np.float32, padded: Image, sums: Words, y: int, channels: int, cells: Cells, out: Image
) -> None:
    n = out.size
    doubtful = np.zeros(-(-n // _BLOCK), np.int32)
    for k in range(doubtful.size):
        part, part_out = value[k * _BLOCK : (k + 1) * _BLOCK], out[k * _BLOCK : (k + 1) * _BLOCK]
        doubts = np.int32(0)
        for i in range(part.size):
            grey = min(part[i] * scale + _DOUBT, np.float32(255.5))
            whole = np.int32(grey)
            part[i] = grey - np.float32(whole)
            part_out[i] = np.uint8(whole)
            doubts += np.int32(part[i] < np.float32(2) * _DOUBT)
        doubtful[k] = doubts
    if doubtful.sum() > n // 16:  # a plain region, where the whole row is as quick
        _recompute(padded, sums, y, channels, cells, out)
        return
    for k in range(doubtful.size):
        if doubtful[k]:
            for i in range(k * _BLOCK, min((k + 1) * _BLOCK, n)):
                if value[i] < np.float32(2) * _DOUBT:
                    out[i] = _cell_by_cell(padded, sums, y, channels, cells, i)


@compiled
def _cell_by_cell(padded: Image, sums: Words, y: int, channels: int, cells: Cells, index: int) -> np.uint8:
    """`_recompute` for one value."""
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
def _recompute(padded: Image, sums: Words, y: int, channels: int, cells: Cells, out: Image) -> None:
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
