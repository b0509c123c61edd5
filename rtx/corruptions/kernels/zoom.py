"""Zoom blur: the mean of the image and of enlargements of it. Snow is enlarged by the same rule."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.corruptions.arithmetic.pixels import Bytes, Words, to_bytes, to_words
from rtx.corruptions.arithmetic.vector import add_between, add_two_between
from rtx.corruptions.memory import empty, empty_like
from rtx.corruptions.registry import Image, corruption

ZoomLevel = tuple[float, float]


class Axis(NamedTuple):
    """Linear interpolation along one axis.

    Output i is (1 - weight[i]) * input[first[i]] + weight[i] * input[second[i]]. `inside` is 0 where scipy takes the
    position to lie beyond the edge and gives 0, else 1.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float64]
    inside: NDArray[np.float64]


def zoomed_axis(size: int, factor: float) -> tuple[int, int, Axis]:
    """How `scipy.ndimage.zoom(order=1)` enlarges the middle 1 / factor of an axis.

    Args:
        size: length of the axis.
        factor: enlargement, at least 1.

    Returns:
        Start and length of the middle part, and the interpolation within it; its length can exceed `size` by a few.
    """
    part = int(np.ceil(size / float(factor)))
    start = (size - part) // 2
    length = round(part * factor)
    step = (part - 1) / (length - 1) if length > 1 else 1.0
    position = np.arange(length, dtype=np.float64) * step
    # Rounding can put the last position a hair beyond the edge, where scipy's mode "constant" sees nothing.
    inside = (position <= part - 1).astype(np.float64)
    first = np.minimum(np.floor(position).astype(np.int64), part - 1)
    return start, part, Axis(first, np.minimum(first + 1, part - 1), position - first, inside)


@corruption(
    "blur",
    levels=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    cifar10c=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
)
def zoom_blur(image: Image, level: ZoomLevel, rng: np.random.Generator) -> Image:
    """Move towards the scene while the shutter is open.

    Each enlargement is a few pixels larger than the image, of which the reference keeps the top left; so the centre of
    the zoom wanders by up to half a pixel from one enlargement to the next, here as well. `level` is (end, step) of the
    enlargements 1, 1 + step, ... below end.
    """
    height, width = image.shape[:2]
    rows, columns, tiles = _layers(height, width, level)
    out = empty_like(image)
    held = height if height * width <= _SMALL else 3
    _blur(
        image, rows, columns, tiles, empty((height * width,), np.uint32), np.empty((held, 4 * width), np.float32), out
    )
    return out


Index = NDArray[np.int32]
Floats = NDArray[np.float32]


class ZoomTables(NamedTuple):
    """As `Axis`, a row for each enlargement, in half the memory."""

    first: Index
    second: Index
    weight: Floats
    inside: Floats


class Tiles(NamedTuple):
    """Columns that are filled together, and in which way, for each enlargement but the first.

    Attributes:
        edges: first column of each tile, and the width.
        pairs: columns from which on two are filled at once, as they lie between three neighbours.
        pair_ends: (enlargements, tiles + 1), where in `pairs` the tiles begin and end.
        singles: the other columns.
        single_ends: the same for `singles`.
    """

    edges: Index
    pairs: Index
    pair_ends: Index
    singles: Index
    single_ends: Index


# The sums of so many rows and columns stay in the cache from one enlargement to the next.
_ROWS, _TILE = 4, 1024
# An image of so many pixels is widened once, as it stays in the cache; a larger one row by row for each enlargement.
_SMALL = 1 << 20


@lru_cache(maxsize=8)
def _layers(height: int, width: int, level: ZoomLevel) -> tuple[ZoomTables, ZoomTables, Tiles]:
    """First, second, weight and inside of all enlargements but the first, which is the image."""
    factors = np.arange(1, level[0], level[1])
    tables = []
    for size in (height, width):
        axes = []
        for factor in factors[1:]:
            start, _, axis = zoomed_axis(size, float(factor))
            axes.append((axis.first[:size] + start, axis.second[:size] + start, axis.weight[:size], axis.inside[:size]))
        first, second, weight, inside = (np.array(column) for column in zip(*axes, strict=True))
        tables.append(
            ZoomTables(
                first.astype(np.int32), second.astype(np.int32), weight.astype(np.float32), inside.astype(np.float32)
            )
        )
    return tables[0], tables[1], _tiles(tables[1])


def _tiles(columns: ZoomTables) -> Tiles:
    layers, width = columns.first.shape
    edges = np.linspace(0, width, 1 - -width // _TILE).astype(np.int32)
    pairs, singles = np.empty(layers * width, np.int32), np.empty(layers * width, np.int32)
    pair_ends, single_ends = np.zeros((layers, edges.size), np.int32), np.zeros((layers, edges.size), np.int32)
    two, one = _find_pairs(columns, edges, pairs, pair_ends, singles, single_ends)
    return Tiles(edges, pairs[:two].copy(), pair_ends, singles[:one].copy(), single_ends)


@compiled
def _find_pairs(
    columns: ZoomTables, edges: Index, pairs: Index, pair_ends: Index, singles: Index, single_ends: Index
) -> tuple[int, int]:
    two, one = 0, 0
    for k in range(columns.first.shape[0]):
        first, second, inside = columns.first[k], columns.second[k], columns.inside[k]
        pair_ends[k, 0], single_ends[k, 0] = two, one
        for tile in range(edges.size - 1):
            x = edges[tile]
            while x < edges[tile + 1]:
                start = first[x]
                if inside[x] == np.float32(0):  # only the last column can lie beyond the edge
                    x += 1
                elif (
                    x + 1 < edges[tile + 1]
                    and inside[x + 1] != np.float32(0)
                    and second[x] == start + 1
                    and first[x + 1] == start + 1
                    and second[x + 1] == start + 2
                ):
                    pairs[two] = x
                    two += 1
                    x += 2
                else:
                    singles[one] = x
                    one += 1
                    x += 1
            pair_ends[k, tile + 1], single_ends[k, tile + 1] = two, one
    return two, one


# 1 / 255 in two parts: a grey level times the first is exact, so that the sum of both products is rounded once, to what
# the division in doubles gives; a test holds all 256.
LEVEL_MOST = np.float32(np.round(2.0**19 / 255) / 2.0**19)
LEVEL_REST = np.float32(1 / 255 - float(LEVEL_MOST))


@compiled
def widen(image: Image, words: Words, wide: Floats) -> None:
    """Four floats a pixel, (H, 4 W): the channels as fractions of 255, and a 0, to fill a vector register.

    `words` has room for a word a pixel of a row.
    """
    for y in range(image.shape[0]):
        to_words(image[y].reshape(-1), words)
        _fractions(words.view(np.uint8), wide[y])


@compiled
def narrow(wide: Floats, words: Words, out: Image) -> None:
    """A row of `widen`, back to whole grey levels; `words` has room for a word a pixel."""
    _cut(wide, words.view(np.uint8))
    to_bytes(words, out.reshape(-1))


# Loops in functions of their own: beside a `view`, LLVM leaves them as they are.
@compiled
def _fractions(levels: Bytes, into: Floats) -> None:
    for i in range(levels.size):
        level = np.float32(levels[i])
        into[i] = level * LEVEL_MOST + level * LEVEL_REST


@compiled
def _cut(wide: Floats, levels: Bytes) -> None:
    for i in range(levels.size):
        fraction = wide[i] if wide[i] < np.float32(1) else np.float32(1)
        levels[i] = np.uint8(np.int32(fraction * np.float32(255)))


@compiled
def _blur(
    image: Image, rows: ZoomTables, columns: ZoomTables, tiles: Tiles, words: Words, wide: Floats, out: Image
) -> None:
    """`words` has room for a word a pixel, `wide` for all rows as `widen` makes them, or for three."""
    height, width = image.shape[:2]
    to_words(image.reshape(-1), words)
    layers = rows.first.shape[0]
    widest = (tiles.edges[1:] - tiles.edges[:-1]).max()
    between = np.empty(4 * width, np.float32)
    total = np.empty((_ROWS, 4 * width), np.float32)
    narrow_words = np.empty(widest, np.uint32)
    whole = wide.shape[0] == height
    if whole:
        _widen_words(words, 0, wide.reshape(-1))
    for tile in range(tiles.edges.size - 1):
        left, right = tiles.edges[tile], tiles.edges[tile + 1]
        for top in range(0, height, _ROWS):
            count = min(_ROWS, height - top)
            # Sums in the reference's order: the enlargement by 1 first, the image itself last.
            for j in range(count):
                _copy(_row_of(words, wide, whole, top + j, 2, left, right), total[j, 4 * left : 4 * right])
            for k in range(layers):
                low, high = columns.first[k, left], columns.second[k, right - 1] + 1
                pairs = tiles.pairs[tiles.pair_ends[k, tile] : tiles.pair_ends[k, tile + 1]]
                singles = tiles.singles[tiles.single_ends[k, tile] : tiles.single_ends[k, tile + 1]]
                latest = np.int64(-1)
                for j in range(count):
                    y = top + j
                    if rows.inside[k, y] == np.float32(0):
                        continue
                    one, other = np.int64(rows.first[k, y]), np.int64(rows.second[k, y])
                    if not whole:
                        # The first two of three rows are those that the enlargement looked at last, row y at y % 2.
                        for row in range(max(one, latest + 1), other + 1):
                            _row_of(words, wide, whole, row, row % 2, low, high)
                        latest = max(latest, other)
                        one, other = one % 2, other % 2
                    _mix_rows(
                        wide[one, 4 * low : 4 * high],
                        wide[other, 4 * low : 4 * high],
                        rows.weight[k, y],
                        between[4 * low : 4 * high],
                    )
                    _add_pairs(between, columns.first[k], columns.weight[k], pairs, total[j])
                    _add_singles(between, columns.first[k], columns.second[k], columns.weight[k], singles, total[j])
            for j in range(count):
                here = _row_of(words, wide, whole, top + j, 2, left, right)
                _divide(here, layers + 2, total[j, 4 * left : 4 * right])
                narrow(total[j, 4 * left : 4 * right], narrow_words[: right - left], out[top + j, left:right])


@compiled
def _row_of(words: Words, wide: Floats, whole: bool, y: int, slot: int, left: int, right: int) -> Floats:
    """Row y as `widen` makes it: from `wide`, or, where that is not the whole image, made in row `slot` of it."""
    if whole:
        return wide[y, 4 * left : 4 * right]
    into = wide[slot, 4 * left : 4 * right]
    _widen_words(words, y * (wide.shape[1] // 4) + left, into)
    return into


@compiled
def _widen_words(words: Words, first: int, wide: Floats) -> None:
    """Pixels from number `first` on, as `widen` makes them."""
    levels = words.view(np.uint8)
    _fractions(levels[4 * first : 4 * first + wide.size], wide)


@inlined
def _copy(row: Floats, out: Floats) -> None:
    for i in range(out.size):
        out[i] = row[i]


@inlined
def _divide(last: Floats, count: int, total: Floats) -> None:
    for i in range(total.size):
        total[i] = (last[i] + total[i]) / np.float32(count)


@inlined
def _mix_rows(one: Floats, other: Floats, weight: np.float32, out: Floats) -> None:
    for i in range(out.size):
        out[i] = one[i] + weight * (other[i] - one[i])


@inlined
def _add_pairs(row: Floats, first: Index, weight: Floats, pairs: Index, total: Floats) -> None:
    for i in range(pairs.size):
        x = np.int64(pairs[i])
        add_two_between(total, 4 * x, row, np.int64(4 * first[x]), weight, x)


@inlined
def _add_singles(row: Floats, first: Index, second: Index, weight: Floats, singles: Index, total: Floats) -> None:
    for i in range(singles.size):
        x = np.int64(singles[i])
        add_between(total, 4 * x, row, np.int64(4 * first[x]), np.int64(4 * second[x]), weight[x])
