"""Brightness, contrast and, held out, saturate: what a camera's sliders do."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.pixels import Words, channel, to_bytes, to_words, word_of
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image, corruption

Table = NDArray[np.uint8]


@corruption("weather", levels=(0.1, 0.2, 0.3, 0.4, 0.5), cifar10c=(0.05, 0.1, 0.15, 0.2, 0.3))
def brightness(image: Image, added: float, rng: np.random.Generator) -> Image:
    """Raise the value of HSV: daylight.

    Hue and saturation stay, so that the channels of a pixel are scaled by the same factor, new value / old value. The
    result depends on the channel and on the largest of the three only: half a table of 256 x 256. `added` is a fraction
    of the pixel range.
    """
    out = empty_like(image)
    _brighten(image.reshape(-1), _brighter(added), out.reshape(-1))
    return out


@lru_cache(maxsize=16)
def _brighter(added: float) -> Table:
    """New channels, with the operations of skimage's rgb2hsv and hsv2rgb.

    Of channels 0 to m where the largest of the three is m, for m from 0 on: half a table stays in the nearest cache.
    """
    largest = (np.arange(256) / 255.0)[:, None]
    channel = (np.arange(256) / 255.0)[None, :]
    value = np.clip(largest + added, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A channel lies below the value by this share of it; black has no hue, and turns grey.
        below = np.where(largest > 0, np.clip(1 - channel / largest, 0, 1), 0.0)
    table: Table = (np.clip(value * (1 - below), 0, 1) * 255).astype(np.uint8)
    return table[np.tril_indices(256)]


_MANY = 1024


@compiled
def _brighten(image: Image, table: Table, out: Image) -> None:
    words, rows = np.empty(_MANY, np.uint32), np.empty(_MANY, np.int32)
    for start in range(0, image.size, 3 * _MANY):
        block = image[start : start + 3 * _MANY]
        part = words[: block.size // 3]
        to_words(block, part)
        _rows(part, rows)
        _look_up(block, rows, table, out[start : start + 3 * _MANY])


@compiled
def _rows(words: Words, rows: NDArray[np.int32]) -> None:
    """Where the row of each pixel begins in `_brighter`; a loop of its own, as vectors do that but no looking up."""
    for i in range(words.size):
        red, green, blue = channel(words[i], 0), channel(words[i], 8), channel(words[i], 16)
        largest = red if red > green else green
        largest = largest if largest > blue else blue
        rows[i] = np.int32(largest * np.int32(largest + np.int32(1))) >> np.int32(1)


@compiled
def _look_up(block: Image, rows: NDArray[np.int32], table: Table, out: Image) -> None:
    for i in range(block.size // 3):
        row, at = np.uint32(rows[i]), 3 * np.uint64(i)
        for k in range(3):
            out[at + np.uint64(k)] = table[row + block[at + np.uint64(k)]]


@corruption("digital", levels=(0.4, 0.3, 0.2, 0.1, 0.05), cifar10c=(0.75, 0.5, 0.4, 0.3, 0.15))
def contrast(image: Image, scale: float, rng: np.random.Generator) -> Image:
    """Pull every pixel towards the mean colour of its image; at a `scale` of 1 the image stays as it is."""
    # Sums of OpenCV are whole numbers in doubles, and exact.
    means = np.array(cv2.sumElems(image)[:3]) / (255.0 * image.shape[0] * image.shape[1])
    table = np.empty((3, 256), np.uint8)
    _pulled(means, scale, table)
    out = empty_like(image)
    line = _as_lines(table, scale)
    if line is None:
        _look_up_channels(image.reshape(-1), table, out.reshape(-1))
    else:
        _apply_lines(image.reshape(-1), line[0], np.resize(line[1], 3 * _PIXELS), out.reshape(-1))
    return out


_BITS, _PIXELS = 16, 64


@compiled
def _pulled(means: NDArray[np.float64], scale: float, table: Table) -> None:
    for c in range(3):
        for v in range(256):
            value = (v / 255.0 - means[c]) * scale + means[c]
            value = value if value > 0.0 else 0.0
            value = value if value < 1.0 else 1.0
            table[c, v] = np.uint8(np.int32(value * 255))


def _as_lines(table: Table, slope: float) -> tuple[np.int32, NDArray[np.int32]] | None:
    """Find whole numbers with `table[c, v] == (factor * v + offsets[c]) >> _BITS` for all v; None where there are none.

    What is left to choose is how `table` was rounded: a mean colour may put values a last bit beside a whole level.
    """
    offsets = np.empty(len(table), np.int32)
    for factor in (round(slope * (1 << _BITS)) + k for k in (0, 1, -1)):
        if _fits(table, factor, offsets):
            return np.int32(factor), offsets
    return None


@compiled
def _fits(table: Table, factor: int, offsets: NDArray[np.int32]) -> bool:
    for row in range(table.shape[0]):
        least, most = np.int64(-(1 << 40)), np.int64(1 << 40)
        for v in range(256):
            low = (np.int64(table[row, v]) << _BITS) - factor * v
            high = low + (1 << _BITS) - 1
            least, most = (low if low > least else least), (high if high < most else most)
        if least > most:
            return False
        offsets[row] = np.int32((least + most) // 2)
    return True


@compiled
def _apply_lines(image: Image, factor: np.int32, offsets: NDArray[np.int32], out: Image) -> None:
    """`offsets` are those of the channels by turns."""
    many = offsets.size
    for start in range(0, image.size, many):
        block, into = image[start : start + many], out[start : start + many]
        for i in range(block.size):
            scaled = np.int32(np.int32(np.int32(block[i]) * factor) + offsets[i])
            into[i] = np.uint8(np.int32(scaled >> np.int32(_BITS)))


@compiled
def _look_up_channels(image: Image, table: Table, out: Image) -> None:
    red, green, blue = table[0], table[1], table[2]
    for i in range(0, image.size, 3):
        out[i] = red[image[i]]
        out[i + 1] = green[image[i + 1]]
        out[i + 2] = blue[image[i + 2]]


@corruption(
    "held_out",
    levels=((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    cifar10c=((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
)
def saturate(image: Image, level: tuple[float, float], rng: np.random.Generator) -> Image:
    """Change the saturation of HSV. Grey pixels have hue 0, so that an added saturation makes them red.

    `level` is (factor of the saturation, what is added to it then).
    """
    out = empty_like(image)
    _saturate(image.reshape(-1), np.float32(level[0]), np.float32(level[1]), out.reshape(-1))
    return out


@compiled
def _saturate(image: Image, factor: np.float32, added: np.float32, out: Image) -> None:
    words = np.empty(_MANY, np.uint32)
    for start in range(0, image.size, 3 * _MANY):
        block = image[start : start + 3 * _MANY]
        part = words[: block.size // 3]
        to_words(block, part)
        _saturate_words(part, factor, added)
        to_bytes(part, out[start : start + 3 * _MANY])


@compiled
def _saturate_words(words: Words, factor: np.float32, added: np.float32) -> None:
    zero, one = np.float32(0), np.float32(1)
    least = added if added > zero else zero
    least = least if least < one else one
    for i in range(words.size):
        r, g, b = np.float32(channel(words[i], 0)), np.float32(channel(words[i], 8)), np.float32(channel(words[i], 16))
        larger, smaller = (g, b) if g > b else (b, g)
        value, lowest = (larger if larger > r else r), (smaller if smaller < r else r)
        spread = value - lowest
        coloured = spread > zero
        saturation = spread / (value if coloured else one) * factor + added
        saturation = saturation if saturation > zero else zero
        saturation = saturation if saturation < one else one
        pull = value * saturation / (spread if coloured else one)
        low = value * (one - least)
        red = value - (value - r) * pull if coloured else value
        green = value - (value - g) * pull if coloured else low
        blue = value - (value - b) * pull if coloured else low
        words[i] = word_of(np.int32(red), np.int32(green), np.int32(blue))
