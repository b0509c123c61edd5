"""Pixels of three bytes as words of four, which vectors and single loads can hold, and back; in LLVM's own words.

LLVM does not find by itself how three channels by turns become vectors, and a loop over them takes one value at a time.
On words, each channel is a mask and a shift. Words are read as bytes too: this is for little-endian machines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.corruptions.arithmetic.blocks import load, pointer, store

Words = NDArray[np.uint32]
Bytes = NDArray[np.uint8]

_MANY = 16
_BYTES = ir.VectorType(ir.IntType(8), 16)
_LONG, _INDEX = ir.IntType(64), ir.IntType(32)


def _shuffled(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INDEX, 16), places))


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def _widen(typing_context: Any, image: Any, index: Any, wide: Any) -> Any:
    """Sixteen pixels from number `index` on; `image` holds three bytes each, `wide` four, the last of them 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def at(array: int, step: int, offset: int) -> Any:
            first = builder.add(builder.mul(arguments[1], ir.Constant(_LONG, step)), ir.Constant(_LONG, offset))
            return pointer(context, builder, signature.args[array], arguments[array], first, _BYTES)

        nothing = ir.Constant(_BYTES, [0] * 16)
        for k in range(4):
            # The last one begins earlier, so that nothing behind the pixels is read.
            start = min(12 * k, 32)
            value = load(builder, at(0, 3, start))
            places = [16 if i % 4 == 3 else 12 * k - start + 3 * (i // 4) + i % 4 for i in range(16)]
            store(builder, _shuffled(builder, value, nothing, places), at(2, 4, 16 * k))
        return context.get_dummy_value()

    return types.none(image, index, wide), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def _narrow(typing_context: Any, wide: Any, index: Any, image: Any) -> Any:
    """The reverse of `_widen`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def at(array: int, step: int, offset: int) -> Any:
            first = builder.add(builder.mul(arguments[1], ir.Constant(_LONG, step)), ir.Constant(_LONG, offset))
            return pointer(context, builder, signature.args[array], arguments[array], first, _BYTES)

        values = [load(builder, at(0, 4, 16 * k)) for k in range(4)]
        for k in range(3):
            # Bytes 16 k ... 16 k + 15 of the result lie in two neighbours.
            places = [4 * (i // 3) + i % 3 - 16 * k for i in range(16 * k, 16 * k + 16)]
            store(builder, _shuffled(builder, values[k], values[k + 1], places), at(2, 3, 16 * k))
        return context.get_dummy_value()

    return types.none(wide, index, image), generate


@inlined
def channel(word: np.uint32, shift: int) -> np.int32:
    """Red of a word at `shift` 0, green at 8, blue at 16."""
    return np.int32(np.uint32(word >> np.uint32(shift)) & np.uint32(255))


@inlined
def word_of(red: np.int32, green: np.int32, blue: np.int32) -> np.uint32:
    """The reverse, of numbers from 0 to 255."""
    return np.uint32(np.int32(red | np.int32(green << np.int32(8))) | np.int32(blue << np.int32(16)))


@inlined
def level_of(value: np.float32) -> np.int32:
    """A number from 0 on, cut to a whole grey level."""
    return np.int32(value if value < np.float32(255) else np.float32(255))


@compiled
def to_words(image: Bytes, words: Words) -> None:
    """RGB, three bytes a pixel, to one word a pixel, red in the lowest byte, and 0 in the highest."""
    wide, count = words.view(np.uint8), words.size
    whole = count // _MANY * _MANY
    for i in range(0, whole, _MANY):
        _widen(image, i, wide)
    for i in range(whole, count):
        for channel in range(3):
            wide[4 * i + channel] = image[3 * i + channel]
        wide[4 * i + 3] = 0


@compiled
def to_bytes(words: Words, image: Bytes) -> None:
    """The reverse of `to_words`."""
    wide, count = words.view(np.uint8), words.size
    whole = count // _MANY * _MANY
    for i in range(0, whole, _MANY):
        _narrow(wide, i, image)
    for i in range(whole, count):
        for channel in range(3):
            image[3 * i + channel] = wide[4 * i + channel]
