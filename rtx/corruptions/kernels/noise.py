"""Noise: gaussian, shot, impulse and, held out, speckle. Each value of each channel on its own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import BLOCK, Field, fill_normal, fill_words, new_key
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image, corruption

Words = NDArray[np.uint32]


def _draw_key(image: Image, level: float, rng: np.random.Generator) -> np.uint64:
    """The key of a field. Numbers are drawn where they are used: as an array they would leave the processor's cache."""
    return new_key(rng)


@corruption("noise", levels=(0.08, 0.12, 0.18, 0.26, 0.38), cifar10c=(0.04, 0.06, 0.08, 0.09, 0.10), draw=_draw_key)
def gaussian_noise(image: Image, scale: float, field: np.uint64 | Field) -> Image:
    """Add normal noise: sensor noise in low light.

    `scale` is the standard deviation, as a fraction of the pixel range; `field` is the key of a stream, or standard
    normal, (H, W, 3).
    """
    return _noisy(image, field, np.float32(255 * scale), np.float32(0))


@corruption("held_out", levels=(0.15, 0.2, 0.35, 0.45, 0.6), cifar10c=(0.06, 0.1, 0.12, 0.16, 0.2), draw=_draw_key)
def speckle_noise(image: Image, scale: float, field: np.uint64 | Field) -> Image:
    """Add normal noise in proportion to the pixel."""
    return _noisy(image, field, np.float32(0), np.float32(scale))


def _noisy(image: Image, field: np.uint64 | Field, scale: np.float32, relative: np.float32) -> Image:
    out = empty_like(image)
    if isinstance(field, np.ndarray):
        _add(image.ravel(), field.ravel(), scale, relative, out.ravel())
    else:
        _add_drawn(image.ravel(), field, scale, relative, out.ravel())
    return out


@compiled
def _add_drawn(image: Image, key: np.uint64, scale: np.float32, relative: np.float32, out: Image) -> None:
    words, field = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.float32)
    for start in range(0, image.size, BLOCK):
        fill_normal(key, start, words, field)
        _add(image[start : start + BLOCK], field, scale, relative, out[start : start + BLOCK])


@compiled
def _add(image: Image, field: Field, scale: np.float32, relative: np.float32, out: Image) -> None:
    for i in range(image.size):
        v = np.float32(image[i])
        v = v + (scale + relative * v) * field[i]
        out[i] = np.uint8(min(max(v, np.float32(0)), np.float32(255)))


@corruption("noise", levels=(60.0, 25.0, 12.0, 5.0, 3.0), cifar10c=(500.0, 250.0, 100.0, 75.0, 50.0), draw=_draw_key)
def shot_noise(image: Image, photons: float, counts: np.uint64 | NDArray[np.int16]) -> Image:
    """Count photons instead of measuring light.

    `photons` is the expected count of a white pixel; the image enters through the Poisson `counts`, (H, W, 3), of a
    mean of `photons` times the pixel, or through the key of a stream to draw them from.
    """
    thresholds, guide = _poisson_tables(photons)
    highest = int(counts.max()) if isinstance(counts, np.ndarray) else thresholds.shape[1] - 1
    values = np.arange(highest + 1) / float(photons)
    table = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    out = empty_like(image)
    if isinstance(counts, np.ndarray):
        _look_up(counts.ravel(), table, out.ravel())
    else:
        _count(image.ravel(), counts, thresholds, guide, table, out.ravel())
    return out


@lru_cache(maxsize=16)
def _poisson_tables(photons: float) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """For each pixel value, P(count <= k) as a fraction of 2**32, and where to start looking for a random word.

    Returns:
        thresholds (256, K): a word u stands for the first k with u <= thresholds[value, k]; the last is 2**32 - 1.
        guide (256, 256): the k of the smallest word with that leading byte.
    """
    # Twelve standard deviations and more: the mass left out is far below 2**-32, the step of the words.
    size = int(photons + 12 * photons**0.5 + 20)
    mean = np.arange(256)[:, None] / 255.0 * photons
    k = np.arange(size)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size)))])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = np.where(mean > 0, k * np.log(mean) - mean, np.where(k == 0, 0.0, -np.inf)) - log_factorial
    cumulated = np.minimum(np.cumsum(np.exp(log_mass), axis=1), 1.0)
    thresholds = np.maximum(np.rint(cumulated * 2.0**32) - 1, 0).astype(np.uint32)
    thresholds[:, -1] = 2**32 - 1
    starts = np.arange(256, dtype=np.uint64) << np.uint64(24)
    guide = np.stack([np.searchsorted(row, starts) for row in thresholds.astype(np.uint64)])
    # Counts up to 255 fit the guide; beyond (more than 150 photons) the search starts at 255 and still ends right.
    return thresholds, np.minimum(guide, 255).astype(np.uint8)


@compiled
def _count(image: Image, key: np.uint64, thresholds: Words, guide: NDArray[np.uint8], table: Any, out: Any) -> None:
    """What the `table` has for the count of each value."""
    words = np.empty(BLOCK, np.uint32)
    for start in range(0, image.size, BLOCK):
        fill_words(key, start // 2, words)
        block, found = image[start : start + BLOCK], out[start : start + BLOCK]
        for i in range(block.size):
            # Unsigned indices spare a check for negative ones.
            v = np.uintp(block[i])
            k = np.uintp(guide[v, np.uintp(words[i] >> np.uint32(24))])
            while words[i] > thresholds[v, k]:
                k += np.uintp(1)
            found[i] = table[k]


@compiled
def _look_up(codes: NDArray[np.int16], table: NDArray[np.uint8], out: Image) -> None:
    for i in range(codes.size):
        out[i] = table[codes[i]]


@corruption("noise", levels=(0.03, 0.06, 0.09, 0.17, 0.27), cifar10c=(0.01, 0.02, 0.03, 0.05, 0.07), draw=_draw_key)
def impulse_noise(image: Image, amount: float, field: np.uint64 | NDArray[np.uint8]) -> Image:
    """Set values to black or white, evenly: dead and hot sensor cells.

    `amount` is the share of the values that are hit. `field` is the key of a stream, or says which, uint8 (H, W, 3): 0
    where the value stays, 1 for pepper (black), 255 for salt (white).
    """
    out = empty_like(image)
    if isinstance(field, np.ndarray):
        _hit(image.ravel(), field.ravel(), out.ravel())
    else:
        _hit_drawn(image.ravel(), field, np.uint32(round(amount * 2**31)), out.ravel())
    return out


@compiled
def _hit_drawn(image: Image, key: np.uint64, limit: np.uint32, out: Image) -> None:
    words, field = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint8)
    for start in range(0, image.size, BLOCK):
        fill_words(key, start // 2, words)
        _strike(words, limit, field)
        _hit(image[start : start + BLOCK], field, out[start : start + BLOCK])


@compiled
def _strike(words: Words, limit: np.uint32, field: NDArray[np.uint8]) -> None:
    """31 bits decide whether a value is hit, the last bit by what."""
    for i in range(words.size):
        # Masks instead of branches, which a processor could only guess.
        struck = np.uint8(np.int32((words[i] >> np.uint32(1)) < limit))
        salt = np.uint8(words[i] & np.uint32(1))
        field[i] = struck * (np.uint8(1) + salt * np.uint8(254))


@compiled
def _hit(image: Image, field: NDArray[np.uint8], out: Image) -> None:
    for i in range(image.size):
        f = field[i]
        kept = np.uint8(0) - np.uint8(np.int32(f == np.uint8(0)))
        out[i] = (image[i] & kept) | (f & (np.uint8(0) - (f >> np.uint8(7))))
