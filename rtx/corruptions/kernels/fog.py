"""Fog: a cloud from the diamond-square algorithm, laid over the image."""

from __future__ import annotations

import numpy as np

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import Field, fill_uniform, new_key
from rtx.corruptions.arithmetic.pixels import Words, channel, level_of, to_bytes, to_words, word_of
from rtx.corruptions.memory import empty, empty_like
from rtx.corruptions.registry import Image, corruption

FogLevel = tuple[float, float]
_DRAWN = 4096


def map_size(height: int, width: int) -> int:
    """Side of the cloud: the next power of two, because diamond-square halves its squares down to single pixels."""
    return 1 << (max(height, width) - 1).bit_length()


def _draw_key(image: Image, level: FogLevel, rng: np.random.Generator) -> np.uint64:
    return new_key(rng)


@corruption(
    "weather",
    levels=((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    cifar10c=((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
    draw=_draw_key,
)
def fog(image: Image, level: FogLevel, field: np.uint64 | Field) -> Image:
    """Add a cloud, and scale back so that the brightest pixel cannot grow brighter.

    The cloud is scaled to 0 ... 1 over the whole square it is made on, also over the part that lies outside the image.
    `level` is (thickness, factor by which the random numbers shrink at each halving of the squares), `field` is uniform
    on [0, 1), one for each cell of the cloud but the first, in the order the cells are filled, or the key of a stream
    to draw them from where they are used.
    """
    thickness, decay = level
    height, width = image.shape[:2]
    cloud = empty((height, width), np.float32)
    if isinstance(field, np.ndarray):
        given, key = field.astype(np.float32, copy=False), np.uint64(0)
    else:
        given, key = np.empty(0, np.float32), field
    lowest, highest = _diamond_square(map_size(height, width), given, key, decay, cloud)
    brightest = image.max() / 255.0
    # A black image stays black: everything is multiplied by its brightest pixel.
    scale = brightest / (brightest + thickness)
    out = empty_like(image)
    _veil(
        image.reshape(image.shape[0], -1),
        cloud,
        lowest,
        np.float32(255 * thickness * scale) / max(highest - lowest, np.float32(1e-30)),
        np.float32(scale),
        out.reshape(image.shape[0], -1),
    )
    return out


@compiled
def _veil(
    image: Image,
    cloud: Field,
    lowest: np.float32,
    thickness: np.float32,
    scale: np.float32,
    out: Image,
) -> None:
    words, veil = np.empty(cloud.shape[1], np.uint32), np.empty(cloud.shape[1], np.float32)
    for y in range(image.shape[0]):
        above = cloud[y]
        for x in range(veil.size):
            veil[x] = (above[x] - lowest) * thickness
        to_words(image[y], words)
        _veil_row(words, veil, scale)
        to_bytes(words, out[y])


@compiled
def _veil_row(words: Words, veil: Field, scale: np.float32) -> None:
    for x in range(words.size):
        red = np.float32(channel(words[x], 0)) * scale + veil[x]
        green = np.float32(channel(words[x], 8)) * scale + veil[x]
        blue = np.float32(channel(words[x], 16)) * scale + veil[x]
        words[x] = word_of(level_of(red), level_of(green), level_of(blue))


@compiled
def _diamond_square(
    size: int, given: Field, key: np.uint64, decay: float, cloud: Field
) -> tuple[np.float32, np.float32]:
    """Make a cloud of size x size, coarse to fine, wrapped around at its edges, and keep its top left part.

    A round doubles a grid of n x n corners: each square gets a middle, then each pair of neighbouring corners gets a
    point between them, along the rows and along the columns. A new point is the mean of its four neighbours plus a
    random number; those of a round have the same spread and are used row by row, first all middles, then all points
    along the rows, then all along the columns. They are those of the stream `key` where none are `given`.

    Returns:
        The smallest and the largest value of the whole cloud.
    """
    n, wibble, used = 1, 100.0, 0
    # One column more than n: the wrapped-around neighbour of the last one.
    corners: Field = np.zeros((1, 2), np.float32)
    low, high = np.full(size // 2, np.inf, np.float32), np.full(size // 2, -np.inf, np.float32)
    while n < size:
        last = 2 * n == size
        finer: Field = cloud if last else np.empty((2 * n, 2 * n + 1), np.float32)
        base, spread = np.float32(-wibble * wibble), np.float32(2 * wibble * wibble)
        middles = np.empty((2, n + 1), np.float32)
        along_row, along_column = np.empty(n, np.float32), np.empty(n, np.float32)
        # Middles, along the rows, along the columns; as many rows of each as are worth a draw.
        many = min(max(_DRAWN // n, 1), n)
        fields, words = np.empty((3, many * n), np.float32), np.empty(many * n + 2 - n % 2, np.uint32)
        first = used
        # The middles above the first row of corners are those of the last row, wrapped around.
        _draw(given, key, first + (n - 1) * n, words, fields[0, :n])
        _middle(corners[n - 1], corners[0], fields[0, :n], base, spread, middles[1])
        for y in range(n):
            here, below = corners[y], corners[(y + 1) % n]
            middle, middle_above = middles[y % 2], middles[(y + 1) % 2]
            if y == 0:
                middle_above = middles[1]
            if y % many == 0:
                for k in range(3):
                    _draw(given, key, first + (k * n + y) * n, words, fields[k])
            at = y % many * n
            row_field, column_field = fields[1, at : at + n], fields[2, at : at + n]
            _middle(here, below, fields[0, at : at + n], base, spread, middle)
            for x in range(n):
                total = (middle[x + 1] + middle_above[x + 1]) + (here[x] + here[x + 1])
                along_row[x] = total * np.float32(0.25) + (base + spread * row_field[x])
            for x in range(n):
                total = (middle[x + 1] + middle[x]) + (here[x] + below[x])
                along_column[x] = total * np.float32(0.25) + (base + spread * column_field[x])
            if last:
                _widen(low, high, here[:n], along_row)
                _widen(low, high, along_column, middle[1:])
            if 2 * y < finer.shape[0]:
                _interleave(here, along_row, finer[2 * y])
            if 2 * y + 1 < finer.shape[0]:
                _interleave(along_column, middle[1:], finer[2 * y + 1])
        used += 3 * n * n
        n *= 2
        wibble /= decay
        if not last:
            for y in range(n):
                finer[y, n] = finer[y, 0]
            corners = finer
    return low.min(), high.max()


@compiled
def _draw(given: Field, key: np.uint64, first: int, words: Words, field: Field) -> None:
    if given.size > 0:
        field[:] = given[first : first + field.size]
    else:
        fill_uniform(key, first, words, field)


@compiled
def _middle(above: Field, below: Field, field: Field, base: np.float32, spread: np.float32, out: Field) -> None:
    """Middles of a row of squares, from column 1 of `out` on; column 0 is the last one, wrapped around."""
    n = out.size - 1
    for x in range(n):
        total = (above[x] + below[x]) + (above[x + 1] + below[x + 1])
        out[x + 1] = total * np.float32(0.25) + (base + spread * field[x])
    out[0] = out[n]


@compiled
def _widen(low: Field, high: Field, one: Field, other: Field) -> None:
    for x in range(low.size):
        low[x] = min(low[x], min(one[x], other[x]))
        high[x] = max(high[x], max(one[x], other[x]))


@compiled
def _interleave(even: Field, odd: Field, out: Field) -> None:
    pairs = min(out.size // 2, odd.size)
    for x in range(pairs):
        out[2 * x] = even[x]
        out[2 * x + 1] = odd[x]
    if out.size % 2 and pairs < even.size:
        out[out.size - 1] = even[pairs]
