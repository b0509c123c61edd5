"""Glass blur: smooth, let pixels change places with near ones, smooth again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import fill_words, new_key
from rtx.corruptions.arithmetic.pixels import Words, to_bytes, to_words
from rtx.corruptions.kernels.gauss import smooth
from rtx.corruptions.memory import empty
from rtx.corruptions.registry import Image, corruption

GlassLevel = tuple[float, int, int]
Offsets = NDArray[np.int8]
_BLOCK = 1024


def _draw_offsets(image: Image, level: GlassLevel, rng: np.random.Generator) -> Offsets:
    """Offsets (iterations, rows, columns, 2), x first, in the order of the scan: from the bottom right corner.

    Uniform on -reach ... reach - 1; the reference leaves out +reach.
    """
    _, reach, iterations = level
    height, width = image.shape[:2]
    offsets = empty((iterations, max(height - 2 * reach, 0), max(width - 2 * reach, 0), 2), np.int8)
    _fill(new_key(rng), reach, offsets.reshape(-1, 2))
    return offsets


@corruption(
    "blur",
    levels=((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    cifar10c=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    draw=_draw_offsets,
)
def glass_blur(image: Image, level: GlassLevel, offsets: Offsets) -> Image:
    """Look through a pane of frosted glass.

    The reference means to swap two pixels, but both names are views of one array, so that the second assignment copies
    what the first one wrote: pixels are duplicated, here as well. `level` is (standard deviation of both smoothings in
    pixels, largest offset, number of iterations); `offsets` say where each pixel looks, see `_draw_offsets`.
    """
    sigma, reach, _ = level
    shuffled = smooth(image, sigma)
    _shuffle(shuffled, reach, offsets, empty((image.shape[0] * image.shape[1],), np.uint32))
    return smooth(shuffled, sigma)


@compiled
def _fill(key: np.uint64, reach: int, offsets: Offsets) -> None:
    """One word for both offsets: multiply and shift, whose bias of (2 reach)**2 / 2**32 no test of an image can see."""
    words = np.empty(_BLOCK, np.uint32)
    many = np.uint64(2 * reach)
    for start in range(0, offsets.shape[0], _BLOCK):
        fill_words(key, start // 2, words)
        block = offsets[start : start + _BLOCK].reshape(-1)
        for i in range(block.size // 2):
            # The whole part picks dx; what is left of the word is as good as new, and picks dy.
            scaled = np.uint64(words[i]) * many
            left = (scaled & np.uint64(0xFFFFFFFF)) * many
            block[2 * i] = np.int8(np.int32(scaled >> np.uint64(32)) - np.int32(reach))
            block[2 * i + 1] = np.int8(np.int32(left >> np.uint64(32)) - np.int32(reach))


@compiled
def _shuffle(image: Image, reach: int, offsets: Offsets, pixels: Words) -> None:
    """`pixels` has room for one word a pixel, so that a pixel moves in one load and one store."""
    height, width = image.shape[:2]
    corner = width * (height - reach) + width - reach
    to_words(image.reshape(-1), pixels)
    for iteration in range(offsets.shape[0]):
        for i in range(offsets.shape[1]):
            row = offsets[iteration, i]
            first = corner - i * width
            for j in range(row.shape[0]):
                here = np.uintp(first - j)
                there = np.uintp(first - j + row[j, 1] * np.int64(width) + row[j, 0])
                pixels[here] = pixels[there]
    to_bytes(pixels, image.reshape(-1))
