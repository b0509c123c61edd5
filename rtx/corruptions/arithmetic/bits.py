"""Random fields in bulk: one 64-bit key from the caller's generator, then a counter through SplitMix64's mixer.

NumPy's generators make about 10 ns of work for one normal number, more than everything else a noise kernel does. A hash
of a counter (Steele, Lea & Flood, 2014, with Stafford's constants) needs no state, passes BigCrush, compiles to
straight integer code and is the same on every machine. The normal numbers are Box & Muller's (1958), with polynomials
in place of the C library's logarithm and sine, whose last bits differ between platforms.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.corruptions.memory import empty

Field = NDArray[np.float32]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
BLOCK = 1024
"""Numbers that are drawn together: they stay in the nearest cache."""


def new_key(rng: np.random.Generator) -> np.uint64:
    """The only random number that a bulk field takes from the caller's generator."""
    return np.uint64(rng.integers(2**64, dtype=np.uint64))


def uniforms(rng: np.random.Generator, shape: tuple[int, ...]) -> Field:
    """Independent numbers, uniform on the 2**24 multiples of 2**-24 in [0, 1)."""
    out = empty((math.prod(shape),), np.float32)
    _fill_uniforms(new_key(rng), out)
    return out.reshape(shape)


def normals(rng: np.random.Generator, shape: tuple[int, ...]) -> Field:
    """Independent standard normal numbers, of absolute value below 6.7 (the tail beyond has probability 3e-11)."""
    count = math.prod(shape)
    out = empty((-(-count // BLOCK) * BLOCK,), np.float32)
    _fill_normals(new_key(rng), out)
    return out[:count].reshape(shape)


@inlined
def word_pair(key: np.uint64, index: int) -> np.uint64:
    """Word `index` of the stream `key`: 64 random bits."""
    z = key + np.uint64(index) * _GAMMA
    z = (z ^ (z >> _S30)) * _MIX_A
    z = (z ^ (z >> _S27)) * _MIX_B
    return z ^ (z >> _S31)


@compiled
def fill_words(key: np.uint64, first: int, out: NDArray[np.uint32]) -> None:
    """Words 2 * first, 2 * first + 1, ... of 32 bits of the stream `key`; `out` has an even length."""
    for i in range(out.size // 2):
        z = word_pair(key, first + i)
        out[2 * i] = np.uint32(z)
        out[2 * i + 1] = np.uint32(z >> _S32)


@compiled
def _fill_uniforms(key: np.uint64, out: Field) -> None:
    words = np.empty(BLOCK, np.uint32)
    for start in range(0, out.size, BLOCK):
        fill_uniform(key, start, words, out[start : start + BLOCK])


@compiled
def fill_uniform(key: np.uint64, first: int, words: NDArray[np.uint32], out: Field) -> None:
    """Numbers first, first + 1, ... of `uniforms`; `words`, of even size, has room for one more if `first` is odd."""
    fill_words(key, first // 2, words)
    # Slices from 0 on: an index that could be negative would keep the loop out of vectors.
    used, scale = words[first % 2 :], np.float32(2.0**-24)
    for i in range(out.size):
        out[i] = np.float32(np.int32(used[i] >> np.uint32(8))) * scale


@compiled
def _fill_normals(key: np.uint64, out: Field) -> None:
    words = np.empty(BLOCK, np.uint32)
    for start in range(0, out.size, BLOCK):
        fill_normal(key, start, words, out[start : start + BLOCK])


@compiled
def fill_normal(key: np.uint64, start: int, words: NDArray[np.uint32], out: Field) -> None:
    """Numbers start, start + 1, ... of `normals`, a block of them; `start` is a multiple of it, `words` room for it.

    Box-Muller: word i gives the radius and word i + half the angle of a pair.
    """
    half = BLOCK // 2
    fill_words(key, start // 2, words)
    first, second = out[:half], out[half:BLOCK]
    for i in range(half):
        # u in (0, 1]: 31 bits and a half, so that the logarithm is finite and small u keep their precision.
        u = (np.float32(np.int32(words[i] >> np.uint32(1))) + np.float32(0.5)) * np.float32(2.0**-31)
        bits = np.float32(u).view(np.int32)
        exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
        m = np.int32(bits - (exponent << np.int32(23))).view(np.float32)
        # log(u) = exponent * log 2 + 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172
        s = (m - np.float32(1)) / (m + np.float32(1))
        q = s * s
        series = np.float32(1 / 9)
        series = series * q + np.float32(1 / 7)
        series = series * q + np.float32(1 / 5)
        series = series * q + np.float32(1 / 3)
        series = series * q + np.float32(1)
        log_u = np.float32(exponent) * np.float32(0.6931471805599453) + np.float32(2) * s * series
        radius = np.sqrt(max(np.float32(-2) * log_u, np.float32(0)))
        # The angle: 30 bits inside an eighth turn either way of 0, and two bits that pick the quadrant.
        w = words[i + half]
        a = np.float32(np.int32(w) >> np.int32(2)) * np.float32(math.pi / 4 * 2.0**-29)
        t = a * a
        sine = np.float32(-1 / 5040)
        sine = sine * t + np.float32(1 / 120)
        sine = sine * t + np.float32(-1 / 6)
        sine = (sine * t + np.float32(1)) * a
        cosine = np.float32(1 / 40320)
        cosine = cosine * t + np.float32(-1 / 720)
        cosine = cosine * t + np.float32(1 / 24)
        cosine = cosine * t + np.float32(-1 / 2)
        cosine = cosine * t + np.float32(1)
        swapped = (w & np.uint32(1)) != np.uint32(0)
        sign = np.float32(1) - np.float32(np.int32(w & np.uint32(2)))
        first[i] = radius * sign * (sine if swapped else cosine)
        second[i] = radius * sign * (-cosine if swapped else sine)
