"""JPEG compression without a file: what libjpeg's encoder and decoder do to the pixels, and nothing else.

The steps are those of a baseline JPEG at libjpeg's default settings, as Pillow and OpenCV write and read it: RGB to
YCbCr, colour at half the resolution, cosine transform and quantisation in blocks, and back, with the smooth ("fancy")
enlargement of the colours. The result equals Pillow's and OpenCV's to the last bit, and no longer depends on which
libjpeg they were built with.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.corruptions.arithmetic.blocks import LANES, put_rgb
from rtx.corruptions.arithmetic.dct import Floats, Ints, quantisation, through_blocks
from rtx.corruptions.memory import empty, empty_like
from rtx.corruptions.registry import Image, corruption

Plane = NDArray[np.uint8]
Shorts = NDArray[np.int16]

# Annex K of ITU-T T.81, at quality 50.
_LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_COLOUR_STEPS = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# Weights with 16 bits after the point.
_Y_RED, _Y_GREEN, _Y_BLUE, _HALF = np.int32(19595), np.int32(38470), np.int32(7471), np.int32(32768)
_CB_RED, _CB_GREEN, _CR_GREEN, _CR_BLUE = np.int32(-11059), np.int32(-21709), np.int32(-27439), np.int32(-5329)
# 128, and a half less one: libjpeg rounds the colours a hair down, so that none reaches 256.
_MIDDLE = np.int32((128 << 16) + 32767)


@corruption("digital", levels=(25, 18, 15, 10, 7), cifar10c=(80, 65, 58, 50, 40))
def jpeg_compression(image: Image, quality: int, rng: np.random.Generator) -> Image:
    """Compress and decompress with libjpeg's default settings, at a `quality` of 1 to 100."""
    height, width = image.shape[:2]
    rows, columns = (height + 1) // 2, (width + 1) // 2
    luma = empty((_up(height, 16), _up(width, LANES)), np.uint8)
    blue = empty((_up(rows, 8), _up(columns, LANES)), np.uint8)
    red = empty_like(blue)
    buffer = np.empty(8 * LANES, np.int32)
    _separate(image.reshape(height, -1), _biases(blue.shape[1]), luma, blue, red)
    luma_steps, colour_steps = _tables(int(quality))
    for plane, steps in ((luma, luma_steps), (blue, colour_steps), (red, colour_steps)):
        through_blocks(plane.reshape(-1), plane.shape[0], plane.shape[1], *steps, buffer)
    out = empty_like(image)
    _join(luma, blue, red, out.reshape(height, -1))
    return out


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def steps_of(quality: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quantisation steps (8, 8) of brightness and of colour, as `jpeg_set_quality` makes them for baseline files."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, colour = (np.clip((np.array(steps) * percent + 50) // 100, 1, 255) for steps in (_LUMA_STEPS, _COLOUR_STEPS))
    return luma, colour


@lru_cache(maxsize=32)
def _tables(quality: int) -> tuple[tuple[Floats, Ints], tuple[Floats, Ints]]:
    luma, colour = steps_of(quality)
    return quantisation(luma), quantisation(colour)


@lru_cache(maxsize=32)
def _biases(columns: int) -> NDArray[np.uint16]:
    """Libjpeg adds 1 and 2 by turns before it divides by 4: no rounding one way."""
    return np.arange(columns, dtype=np.uint16) % np.uint16(2) + np.uint16(1)


@compiled
def _separate(image: Image, biases: NDArray[np.uint16], luma: Plane, blue: Plane, red: Plane) -> None:
    """RGB (H, 3 W) to planes of brightness and, at half the resolution, of colour; edges go on as in libjpeg."""
    height, width = image.shape[0], image.shape[1] // 3
    rows = (height + 1) // 2
    wide = 2 * blue.shape[1]
    blues, reds = np.empty((2, wide), np.uint8), np.empty((2, wide), np.uint8)
    for j in range(rows):
        for k in range(2):
            _to_ycc(image[min(2 * j + k, height - 1)], width, luma[2 * j + k], blues[k], reds[k])
        _halve(blues[0], blues[1], biases, blue[j])
        _halve(reds[0], reds[1], biases, red[j])
    for y in range(2 * rows, luma.shape[0]):
        _copy(luma[height - 1], luma[y])
    for y in range(rows, blue.shape[0]):
        _copy(blue[rows - 1], blue[y])
        _copy(red[rows - 1], red[y])


@inlined
def _mix(r: np.int32, wr: np.int32, g: np.int32, wg: np.int32, b: np.int32, wb: np.int32, offset: np.int32) -> np.uint8:
    one, other = np.int32(np.int32(r * wr) + np.int32(g * wg)), np.int32(np.int32(b * wb) + offset)
    return np.uint8(np.int32(np.int32(one + other) >> np.int32(16)))


@compiled
def _to_ycc(row: Image, width: int, luma: Plane, blue: Plane, red: Plane) -> None:
    for x in range(width):
        r, g, b = np.int32(row[3 * x]), np.int32(row[3 * x + 1]), np.int32(row[3 * x + 2])
        luma[x] = _mix(r, _Y_RED, g, _Y_GREEN, b, _Y_BLUE, _HALF)
        blue[x] = _mix(r, _CB_RED, g, _CB_GREEN, b, _HALF, _MIDDLE)
        red[x] = _mix(r, _HALF, g, _CR_GREEN, b, _CR_BLUE, _MIDDLE)
    for x in range(width, luma.size):
        luma[x] = luma[width - 1]
    for x in range(width, blue.size):
        blue[x], red[x] = blue[width - 1], red[width - 1]


@compiled
def _halve(above: Plane, below: Plane, biases: NDArray[np.uint16], out: Plane) -> None:
    for j in range(out.size):
        top = np.uint16(np.uint16(above[2 * j]) + np.uint16(above[2 * j + 1]))
        bottom = np.uint16(np.uint16(below[2 * j]) + np.uint16(below[2 * j + 1]))
        out[j] = np.uint8(np.uint16(np.uint16(top + bottom) + biases[j]) >> np.uint16(2))


@compiled
def _join(luma: Plane, blue: Plane, red: Plane, out: Image) -> None:
    height, width = out.shape[0], out.shape[1] // 3
    rows, columns = (height + 1) // 2, (width + 1) // 2
    wide = luma.shape[1]
    sums = np.empty(columns, np.int16)
    blues, reds = np.zeros(wide, np.int16), np.zeros(wide, np.int16)
    line = np.empty(3 * wide, np.uint8)
    for y in range(height):
        near = y // 2
        far = min(max(near + (1 if y % 2 else -1), 0), rows - 1)
        _double(blue[near], blue[far], sums, blues)
        _double(red[near], red[far], sums, reds)
        row = luma[y]
        for x in range(0, wide, 16):
            put_rgb(row, blues, reds, x, line)
        _copy(line, out[y])


@compiled
def _copy(line: Plane, out: Plane) -> None:
    for i in range(out.size):
        out[i] = line[i]


@compiled
def _double(near: Plane, far: Plane, sums: Shorts, out: Shorts) -> None:
    """A row of colour at the full resolution, less 128: three parts of the nearer pixel, one of the farther, each way.

    Libjpeg adds 7 and 8 by turns before it divides by 16.
    """
    n = sums.size
    three, four, seven, eight = np.int16(3), np.int16(4), np.int16(7), np.int16(8)
    for j in range(n):
        # 128 less, sixteen times, on the way.
        sums[j] = np.int16(np.int16(np.int16(near[j]) * three) + np.int16(far[j])) - np.int16(512)
    out[0] = np.int16(np.int16(sums[0] * four) + eight) >> four
    out[2 * n - 1] = np.int16(np.int16(sums[n - 1] * four) + seven) >> four
    for j in range(n - 1):
        left, right = np.int16(sums[j]), np.int16(sums[j + 1])
        out[2 * j + 1] = np.int16(np.int16(np.int16(left * three) + np.int16(right + seven)) >> four)
        out[2 * j + 2] = np.int16(np.int16(np.int16(right * three) + np.int16(left + eight)) >> four)
