"""Pixelate: what a small sensor or a small picture does."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.registry import Image, corruption

Index = NDArray[np.int32]


class Boxes(NamedTuple):
    """For each cell of a shrunk axis: first source, number of sources, weight of each (all the same in a box)."""

    first: Index
    number: Index
    weight: Index


# Pillow's fixed-point weights: 22 bits after the point.
_BITS = 22


@corruption("digital", levels=(0.6, 0.5, 0.4, 0.3, 0.25), cifar10c=(0.95, 0.9, 0.85, 0.75, 0.65))
def pixelate(image: Image, scale: float, rng: np.random.Generator) -> Image:
    """Shrink by `scale` with a box filter, enlarge by repeating pixels, with the fixed-point arithmetic of Pillow."""
    height, width = image.shape[:2]
    small = (int(height * scale), int(width * scale))
    out = np.empty_like(image)
    _pixelate(
        image.reshape(height, -1),
        _boxes(height, small[0]),
        _boxes(width, small[1]),
        _nearest(small[0], height),
        _nearest(small[1], width),
        out.reshape(height, -1),
    )
    return out


@lru_cache(maxsize=64)
def _boxes(size: int, small: int) -> Boxes:
    scale = size / small
    support = 0.5 * max(scale, 1.0)
    first, count = np.empty(small, np.int32), np.empty(small, np.int32)
    for i in range(small):
        centre = (i + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), size)
        offsets = (np.arange(low, high) - centre + 0.5) / max(scale, 1.0)
        within = np.flatnonzero((offsets > -0.5) & (offsets <= 0.5))
        first[i], count[i] = low + within[0], len(within)
    weight = (0.5 + (1.0 / count) * (1 << _BITS)).astype(np.int32)
    return Boxes(first, count, weight)


@lru_cache(maxsize=64)
def _nearest(small: int, size: int) -> Index:
    """Source of each cell of the enlarged axis; the positions are summed up one by one, as Pillow does."""
    step = small / size
    positions = np.cumsum(np.concatenate([[step * 0.5], np.full(size - 1, step)]))
    return np.minimum(positions.astype(np.int32), small - 1)


@compiled
def _pixelate(image: Image, rows: Boxes, columns: Boxes, row_of: Index, column_of: Index, out: Image) -> None:
    narrow = 3 * columns.first.size
    width = column_of.size
    sums = np.empty(narrow, np.int32)
    line = np.empty(narrow, np.uint8)
    half = np.int32(1 << (_BITS - 1))
    y = 0
    for i in range(rows.first.size):
        sums[:] = 0
        for k in range(rows.number[i]):
            _shrink_row(image[rows.first[i] + k], columns, sums)
        weight = rows.weight[i]
        for x in range(narrow):
            line[x] = np.uint8(min((half + sums[x] * weight) >> np.int32(_BITS), 255))
        first = y
        while y < row_of.size and row_of[y] == i:
            if y == first:
                row = out[y]
                for x in range(width):
                    at = 3 * column_of[x]
                    row[3 * x] = line[at]
                    row[3 * x + 1] = line[at + 1]
                    row[3 * x + 2] = line[at + 2]
            else:
                _copy(out[first], out[y])
            y += 1


@compiled
def _copy(row: Image, out: Image) -> None:
    for i in range(out.size):
        out[i] = row[i]


@compiled
def _shrink_row(row: Image, boxes: Boxes, sums: Index) -> None:
    """Add the boxes of one row; a box has `least` sources or one more, which a mask adds without a branch."""
    first, count, weight = boxes.first, boxes.number, boxes.weight
    # Unsigned indices spare a check for negative ones at each access.
    one, two, three = np.uintp(1), np.uintp(2), np.uintp(3)
    half = np.uint32(1 << (_BITS - 1))
    least = np.uintp(count.min())
    last = np.uintp(row.size) - three
    into = np.uintp(0)
    for x in range(first.size):
        i = three * np.uintp(first[x])
        more = np.uint32(0) - np.uint32(np.uintp(count[x]) - least)
        end = i + three * least
        extra = min(end, last)
        r, g, b = np.uint32(row[extra]) & more, np.uint32(row[extra + one]) & more, np.uint32(row[extra + two]) & more
        while i < end:
            r += row[i]
            g += row[i + one]
            b += row[i + two]
            i += three
        w = np.uint32(weight[x])
        # Weights that were rounded up can reach 256 on a white box.
        sums[into] += min((half + r * w) >> np.uint32(_BITS), np.uint32(255))
        sums[into + one] += min((half + g * w) >> np.uint32(_BITS), np.uint32(255))
        sums[into + two] += min((half + b * w) >> np.uint32(_BITS), np.uint32(255))
        into += three
