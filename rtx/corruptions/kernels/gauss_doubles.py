"""Gaussian smoothing in doubles, with scipy's order of additions: where float32 cannot tell two grey levels apart."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.pairs import LANES, pair_sums
from rtx.corruptions.registry import Image

Doubles = NDArray[np.float64]
Index = NDArray[np.int64]
# 1 / 255 in two parts: a grey level times the first is exact, so that the sum of both products is rounded once, to what
# the division gives; a test holds all 256.
_MOST = round(2.0**47 / 255) / 2.0**47
_REST = float(Fraction(1, 255) - Fraction(_MOST))


def plain_levels(weights: Doubles) -> NDArray[np.uint8]:
    """What becomes of each grey level where all around it is the same."""
    total = np.arange(256) / 255.0
    for _ in range(2):
        value = total
        total = value * weights[0]
        for weight in weights[:0:-1]:
            total = total + (value + value) * weight
    levels: NDArray[np.uint8] = (np.minimum(total, 1.0) * 255).astype(np.uint8)
    return levels


@compiled
def continue_ends(line: Any, before: int, behind: int, size: int, channels: int) -> None:
    """Repeat the outermost pixels of a row that lies at line[before:size - behind]."""
    for i in range(before):
        line[i] = line[before + i % channels]
    end = size - behind
    for i in range(behind):
        line[end + i] = line[end - channels + i % channels]


@compiled
def one_value(image: Image, y: int, index: int, channels: int, weights: Doubles, fractions: Doubles) -> np.uint8:
    """Value `index` of row y; `fractions` are those of 255, by grey level."""
    lowest = index % channels
    highest = image.shape[1] - channels + lowest
    radius = weights.size - 1
    # Sums down the columns: the middle one, and those of each pair side by side.
    sums = np.empty(2 * radius + 2, np.float64)
    columns = np.empty(2 * radius + 2, np.intp)
    columns[0] = columns[1] = index
    for j in range(1, radius + 1):
        columns[2 * j] = max(index - j * channels, lowest)
        columns[2 * j + 1] = min(index + j * channels, highest)
    row = image[y]
    for k in range(columns.size):
        sums[k] = fractions[row[columns[k]]] * weights[0]
    for j in range(radius, 0, -1):
        above, below, weight = image[max(y - j, 0)], image[min(y + j, image.shape[0] - 1)], weights[j]
        for k in range(columns.size):
            sums[k] += (fractions[above[columns[k]]] + fractions[below[columns[k]]]) * weight
    total = sums[0] * weights[0]
    for j in range(radius, 0, -1):
        total += (sums[2 * j] + sums[2 * j + 1]) * weights[j]
    return np.uint8(np.int32(min(total, 1.0) * 255))


@compiled
def whole_row(
    image: Image,
    y: int,
    first: int,
    last: int,
    before: int,
    behind: int,
    channels: int,
    weights: Doubles,
    down: Index,
    along: Index,
    ring: Doubles,
    held: Index,
    out: Image,
) -> None:
    """A strip of row y.

    Args:
        image: (H, values a row).
        y: the row.
        first: first value that the strip needs.
        last: the value behind the last one that it needs.
        before: values that it needs beyond the left edge of the image.
        behind: values that it needs beyond the right edge.
        channels: values a pixel.
        weights: at distance 0, 1, ..., radius.
        down: where the rows lie in `ring`, as `pair_sums` takes it.
        along: the same for the values of a row.
        ring: rows of fractions of 255, row k at k % span.
        held: which row lies at each place of the ring; it is filled here.
        out: the strip.
    """
    span, wide = ring.shape
    radius = weights.size - 1
    for k in range(max(y - radius, 0), min(y + radius, image.shape[0] - 1) + 1):
        if held[k % span] != k:
            held[k % span] = k
            into = ring[k % span]
            for i in range(last - first):
                level = np.float64(image[k, first + i])
                into[i] = level * _MOST + level * _REST
    size = out.size + 2 * radius * channels
    line = np.empty(size + LANES, np.float64)
    total = np.empty(-(-out.size // LANES) * LANES, np.float64)
    rows = ring.reshape(-1)
    for i in range(0, wide, LANES):
        pair_sums(line, before + i, rows, i, down, weights)
    continue_ends(line, before, behind, size, channels)
    for i in range(0, out.size, LANES):
        pair_sums(total, i, line, i, along, weights)
    for i in range(out.size):
        out[i] = np.uint8(np.int32(min(total[i], 1.0) * 255))
