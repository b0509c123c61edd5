"""Pixelate: what a small sensor or a small picture does."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.pixels import to_bytes, to_words
from rtx.corruptions.arithmetic.vector import add_box
from rtx.corruptions.memory import empty_like
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
    out = empty_like(image)
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
    many, width = columns.first.size, column_of.size
    # Four numbers a pixel, the last of them unused, and one pixel behind each row of the image.
    sums, small = np.empty(4 * many, np.int32), np.empty(many, np.uint32)
    words, line = np.zeros(width + 1, np.uint32), np.empty(width, np.uint32)
    y = 0
    for i in range(rows.first.size):
        sums[:] = 0
        for k in range(rows.number[i]):
            to_words(image[rows.first[i] + k], words[:width])
            _shrink_row(words.view(np.uint8), columns, sums)
        _mean(sums, rows.weight[i], small.view(np.uint8))
        first = y
        while y < row_of.size and row_of[y] == i:
            if y == first:
                for x in range(width):
                    line[x] = small[np.uintp(column_of[x])]
                to_bytes(line, out[y])
            else:
                _copy(out[first], out[y])
            y += 1


@compiled
def _mean(sums: Index, weight: np.int32, out: Image) -> None:
    half = np.int32(1 << (_BITS - 1))
    for x in range(out.size):
        value = np.int32(np.int32(half + np.int32(sums[x] * weight)) >> np.int32(_BITS))
        out[x] = np.uint8(value if value < np.int32(255) else np.int32(255))


@compiled
def _copy(row: Image, out: Image) -> None:
    for i in range(out.size):
        out[i] = row[i]


@compiled
def _shrink_row(levels: Image, boxes: Boxes, sums: Index) -> None:
    """Add the boxes of one row; a box has `least` sources or one more, which a mask adds without a branch.

    Weights that were rounded up can reach 256 on a white box, which is cut to 255.
    """
    least = np.int64(boxes.number.min())
    for x in range(boxes.first.size):
        more = np.int32(least - boxes.number[x])
        add_box(sums, 4 * x, levels, np.int64(4 * boxes.first[x]), least, more, boxes.weight[x], np.int32(_BITS))
