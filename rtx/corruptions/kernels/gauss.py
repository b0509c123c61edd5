"""Gaussian smoothing of images: the sums of scipy.ndimage in their order, so that the result agrees to the last bit.

The blur is followed by a cut to whole grey levels, and plain regions lie exactly on a grey level: with any other
order of the additions, a white wall would come out at 254 in one implementation and at 255 in the other. So sums of
float32 decide what lies clear of a whole level, and those of scipy, in doubles, the rest.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.pairs import LANES, pair_sums_nearly
from rtx.corruptions.kernels.gauss_doubles import Doubles, continue_ends, one_value, plain_levels, whole_row
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image, corruption

Vector = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int32]
# Values that are smoothed together: so many that the rows which a value needs stay in the cache.
_CACHED = 128 * 1024
_BLOCK = 128
# A row with a larger share of doubtful values than one in so many is quicker in doubles as a whole.
_FEW = 64


class Taps(NamedTuple):
    """What depends on the standard deviation.

    Attributes:
        weights: at distance 0, 1, ..., radius.
        near: the same in float32.
        plain: the result on a plain image, by its grey level.
        fractions: grey levels as fractions of 255.
        doubt: the most, in grey levels, by which the sums of float32 are off.
    """

    weights: Doubles
    near: Vector
    plain: Bytes
    fractions: Doubles
    doubt: np.float32


def _exponential(values: NDArray[Any]) -> Doubles:
    """Exactly rounded: NumPy's last bit is another one where the processor has AVX-512."""
    context = Context(prec=30)
    return np.array([float(Decimal(float(value)).exp(context)) for value in values])


@lru_cache(maxsize=32)
def gaussian_weights(sigma: float, truncate: float = 4.0) -> Doubles:
    """Weights at distance 0, 1, ..., radius, scaled so that the two-sided sum is 1; as scipy.ndimage computes them."""
    radius = int(truncate * sigma + 0.5)
    x = np.arange(-radius, radius + 1)
    phi = _exponential(-0.5 / (sigma * sigma) * x**2) if sigma > 1e-15 else np.ones(1)
    weights: Doubles = (phi / phi.sum())[radius:]
    return weights


@lru_cache(maxsize=32)
def _taps(sigma: float) -> Taps:
    weights = gaussian_weights(sigma)
    near = weights.astype(np.float32)
    return Taps(weights, near, plain_levels(weights), np.arange(256) / 255.0, np.float32(1.1 * most_apart(weights)))


def most_apart(weights: Doubles) -> float:
    """The most, in grey levels, by which smoothing both ways in float32 can be off on any image.

    That is, every product and every sum rounded by half a last bit of the most it can be, all to the same side.
    """

    def half_bits(most: Any) -> float:
        return float(np.sum(np.spacing(np.asarray(most, np.float32)).astype(np.float64))) / 2

    twice = 2 * weights[1:]
    products = half_bits(255 * np.append(twice, weights[0]))
    sums = half_bits(255 * (weights[0] + np.cumsum(twice[::-1])))
    rounded_weights = 2 * 255 * float(np.abs(weights - weights.astype(np.float32)).sum())
    # Sums of two pixels are whole numbers on the first way, and exact.
    second_way = half_bits(510) * float(weights[1:].sum())
    return 2 * (products + sums + rounded_weights) + second_way + 2 * half_bits(255)


def smooth(image: Image, sigma: float) -> Image:
    """Smooth an RGB image, edges continued by their outermost pixel.

    Args:
        image: RGB uint8 (H, W, 3).
        sigma: standard deviation in pixels.
    """
    out = empty_like(image)
    height, width, channels = image.shape
    flat = (height, width * channels)
    taps = _taps(sigma)
    strip = _CACHED // (2 * taps.weights.size - 1) // channels * channels
    for left in range(0, flat[1], strip):
        _smooth(image.reshape(flat), channels, taps, left, min(left + strip, flat[1]), out.reshape(flat))
    return out


@compiled
def _smooth(image: Image, channels: int, taps: Taps, left: int, right: int, out: Image) -> None:
    """Smooth the values `left` ... `right` - 1 of each row."""
    height, n = image.shape
    radius = taps.weights.size - 1
    span, edge = 2 * radius + 1, radius * channels
    first, last = max(left - edge, 0), min(right + edge, n)
    # What lies beyond the image at either end.
    before, behind = edge - (left - first), edge - (last - right)
    columns, many = last - first, right - left
    wide = -(-columns // LANES) * LANES
    # Row y of float32 lives at y % span, and in `doubles` if `held[y % span]` is y.
    ring = np.zeros((span, wide), np.float32)
    rows = ring.reshape(-1)
    doubles, held = np.empty((span, wide), np.float64), np.full(span, -1, np.int64)
    line = np.zeros(many + 2 * edge + LANES, np.float32)
    value = np.empty(-(-many // LANES) * LANES, np.float32)
    # How many rows above the latest one have its value, in each column.
    alike = np.zeros(columns, np.uint16)
    doubtful = np.zeros(-(-many // _BLOCK), np.int32)
    marks = np.empty((2, many + 2 * edge), np.uint8)
    down, along = np.empty(span, np.int64), np.empty(span, np.int64)
    along[0] = edge
    for j in range(1, radius + 1):
        along[2 * j - 1], along[2 * j] = edge - j * channels, edge + j * channels
    filled = 0
    for y in range(height):
        while filled < min(height, y + radius + 1):
            _fill(
                image[filled, first:last], image[max(filled - 1, 0), first:last], filled > 0, ring[filled % span], alike
            )
            filled += 1
        down[0] = (y % span) * wide
        for j in range(1, radius + 1):
            down[2 * j - 1] = (max(y - j, 0) % span) * wide
            down[2 * j] = (min(y + j, height - 1) % span) * wide
        for i in range(0, wide, LANES):
            pair_sums_nearly(line, before + i, rows, i, down, taps.near)
        continue_ends(line, before, behind, many + 2 * edge, channels)
        for i in range(0, many, LANES):
            pair_sums_nearly(value, i, line, i, along, taps.near)
        row_out = out[y, left:right]
        _store(value[:many], taps.doubt, row_out, doubtful)
        doubts = doubtful.sum()
        if doubts > many // _FEW:
            reach = min(y + radius, height - 1) - max(y - radius, 0)
            _mark_uneven(image[y], first, last, before, channels, alike, reach, marks)
            doubts -= _store_plain(image[y, left:right], marks, radius, channels, taps, value, row_out)
        if doubts > many // _FEW:
            whole_row(
                image, y, first, last, before, behind, channels, taps.weights, down, along, doubles, held, row_out
            )
        elif doubts > 0:
            for k in range(doubtful.size):
                if doubtful[k]:
                    for i in range(k * _BLOCK, min((k + 1) * _BLOCK, many)):
                        if value[i] < taps.doubt + taps.doubt:
                            row_out[i] = one_value(image, y, left + i, channels, taps.weights, taps.fractions)


@compiled
def _fill(row: Image, above: Image, compare: bool, into: Vector, alike: NDArray[np.uint16]) -> None:
    for i in range(row.size):
        into[i] = np.float32(row[i])
    if compare:
        for i in range(row.size):
            alike[i] = np.uint16(alike[i] + np.uint16(1)) if row[i] == above[i] else np.uint16(0)


@compiled
def _store(value: Vector, doubt: np.float32, out: Image, doubtful: Counts) -> None:
    """Cut to whole levels; leave in `value` what is cut off, and count in each block what is within 2 * `doubt`."""
    for k in range(doubtful.size):
        part, part_out = value[k * _BLOCK : (k + 1) * _BLOCK], out[k * _BLOCK : (k + 1) * _BLOCK]
        doubts = np.int32(0)
        for i in range(part.size):
            grey = min(part[i] + doubt, np.float32(255.5))
            whole = np.int32(grey)
            part_out[i] = np.uint8(whole)
            # Nothing is darker than black: there is no doubt about it.
            part[i] = grey - np.float32(whole) if whole > np.int32(0) else np.float32(1)
            doubts += np.int32(part[i] < doubt + doubt)
        doubtful[k] = doubts


@compiled
def _mark_uneven(
    row: Image, first: int, last: int, before: int, channels: int, alike: NDArray[np.uint16], reach: int, marks: Bytes
) -> None:
    """Mark the columns of a strip that are not plain, or differ from the one to their left; none beyond the image."""
    marks[0] = 0
    here = marks[0, before : before + last - first]
    for i in range(here.size):
        here[i] = np.uint8(alike[i] < np.uint16(reach))
    one, other = row[first : last - channels], row[first + channels : last]
    _mark_changes(one, other, here[channels:])


@compiled
def _mark_changes(one: Image, other: Image, marks: Bytes) -> None:
    for i in range(marks.size):
        marks[i] |= np.uint8(one[i] != other[i])


@compiled
def _store_plain(row: Image, marks: Bytes, radius: int, channels: int, taps: Taps, value: Vector, out: Image) -> int:
    """Store the doubtful values without a mark in their surroundings, and set them to 1; how many those are."""
    # Any mark among `width` columns, from the one here to the right, in ever longer stretches.
    width, wanted, now = 1, 2 * radius + 1, 0
    while width < wanted:
        step = min(width, wanted - width)
        _mark_either(marks[now, step * channels :], marks[now], marks[1 - now])
        now, width = 1 - now, width + step
    uneven, found = marks[now], np.int32(0)
    for i in range(out.size):
        settled = (value[i] < taps.doubt + taps.doubt) & (uneven[i] == np.uint8(0))
        value[i] = np.float32(1) if settled else value[i]
        out[i] = taps.plain[row[i]] if settled else out[i]
        found += np.int32(settled)
    return int(found)


@compiled
def _mark_either(one: Bytes, other: Bytes, out: Bytes) -> None:
    for i in range(one.size):
        out[i] = one[i] | other[i]


@corruption("held_out", levels=(1.0, 2.0, 3.0, 4.0, 6.0), cifar10c=(0.4, 0.6, 0.7, 0.8, 1.0))
def gaussian_blur(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Smooth with a Gaussian of standard deviation `sigma` pixels; `rng` is unused."""
    return smooth(image, sigma)
