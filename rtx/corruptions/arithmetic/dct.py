"""JPEG's cosine transform, quantisation, and back: libjpeg's "islow" method, to the last bit.

The method (Loeffler, Ligtenberg & Moschytz, 1989) works in whole numbers with 13 bits after the point, so that every
decoder and encoder built on libjpeg or libjpeg-turbo agrees. Between transform and back lies nothing but the rounding
to multiples of the table: the entropy coding of a file loses nothing, and is left out.

Every sum says `np.int32`: Numba would widen to 64 bits, which vectors of the processor cannot multiply.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.corruptions.arithmetic.blocks import LANES, read_block, turn_block, write_block

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
_ONE, _TWO, _THREE, _FOUR, _FIVE, _SIX, _SEVEN = (k * LANES for k in range(1, 8))


def _fixed(value: float) -> np.int32:
    return np.int32(round(value * (1 << 13)))


_0_298, _0_541, _0_765, _1_175 = _fixed(0.298631336), _fixed(0.541196100), _fixed(0.765366865), _fixed(1.175875602)
_1_501, _2_053, _3_072 = _fixed(1.501321110), _fixed(2.053119869), _fixed(3.072711026)
_M0_390, _M0_899, _M1_847 = _fixed(-0.390180644), _fixed(-0.899976223), _fixed(-1.847759065)
_M1_961, _M2_562 = _fixed(-1.961570560), _fixed(-2.562915447)


@inlined
def _plus(a: np.int32, b: np.int32) -> np.int32:
    return np.int32(a + b)


@inlined
def _less(a: np.int32, b: np.int32) -> np.int32:
    return np.int32(a - b)


@inlined
def _times(a: np.int32, b: np.int32) -> np.int32:
    return np.int32(a * b)


@inlined
def _scaled(value: np.int32, bits: int) -> np.int32:
    """Divide by 2**bits, rounded to nearest, halves up."""
    return np.int32(np.int32(value + np.int32(1 << (bits - 1))) >> np.int32(bits))


@inlined
def _odd_part(a: np.int32, b: np.int32, c: np.int32, d: np.int32) -> tuple[np.int32, np.int32, np.int32, np.int32]:
    """The rotations of the odd half, the same both ways."""
    z5 = _times(_plus(_plus(a, c), _plus(b, d)), _1_175)
    z1, z2 = _times(_plus(a, d), _M0_899), _times(_plus(b, c), _M2_562)
    z3, z4 = _plus(_times(_plus(a, c), _M1_961), z5), _plus(_times(_plus(b, d), _M0_390), z5)
    return (
        _plus(_times(a, _0_298), _plus(z1, z3)),
        _plus(_times(b, _2_053), _plus(z2, z4)),
        _plus(_times(c, _3_072), _plus(z2, z3)),
        _plus(_times(d, _1_501), _plus(z1, z4)),
    )


@inlined
def _forward(buffer: Ints, bits: int, shift: int) -> None:
    """Transform every column of the buffer; the result has `bits` more after the point than the input."""
    for i in range(LANES):
        a0, a7 = buffer[i], buffer[_SEVEN + i]
        a1, a6 = buffer[_ONE + i], buffer[_SIX + i]
        a2, a5 = buffer[_TWO + i], buffer[_FIVE + i]
        a3, a4 = buffer[_THREE + i], buffer[_FOUR + i]
        t0, t1, t2, t3 = _plus(a0, a7), _plus(a1, a6), _plus(a2, a5), _plus(a3, a4)
        t10, t11, t12, t13 = _plus(t0, t3), _plus(t1, t2), _less(t1, t2), _less(t0, t3)
        if bits > 0:
            buffer[i] = _times(_plus(t10, t11), np.int32(4))
            buffer[_FOUR + i] = _times(_less(t10, t11), np.int32(4))
        else:
            buffer[i] = _scaled(_plus(t10, t11), 2)
            buffer[_FOUR + i] = _scaled(_less(t10, t11), 2)
        z1 = _times(_plus(t12, t13), _0_541)
        buffer[_TWO + i] = _scaled(_plus(z1, _times(t13, _0_765)), shift)
        buffer[_SIX + i] = _scaled(_plus(z1, _times(t12, _M1_847)), shift)
        b7, b5, b3, b1 = _odd_part(_less(a3, a4), _less(a2, a5), _less(a1, a6), _less(a0, a7))
        buffer[_SEVEN + i] = _scaled(b7, shift)
        buffer[_FIVE + i] = _scaled(b5, shift)
        buffer[_THREE + i] = _scaled(b3, shift)
        buffer[_ONE + i] = _scaled(b1, shift)


@inlined
def _backward(buffer: Ints, shift: int) -> None:
    """Transform every column of the buffer back."""
    for i in range(LANES):
        a0, a4 = buffer[i], buffer[_FOUR + i]
        a2, a6 = buffer[_TWO + i], buffer[_SIX + i]
        z1 = _times(_plus(a2, a6), _0_541)
        t2, t3 = _plus(z1, _times(a6, _M1_847)), _plus(z1, _times(a2, _0_765))
        t0, t1 = _times(_plus(a0, a4), np.int32(1 << 13)), _times(_less(a0, a4), np.int32(1 << 13))
        t10, t11, t12, t13 = _plus(t0, t3), _plus(t1, t2), _less(t1, t2), _less(t0, t3)
        b0, b1, b2, b3 = _odd_part(buffer[_SEVEN + i], buffer[_FIVE + i], buffer[_THREE + i], buffer[_ONE + i])
        buffer[i] = _scaled(_plus(t10, b3), shift)
        buffer[_SEVEN + i] = _scaled(_less(t10, b3), shift)
        buffer[_ONE + i] = _scaled(_plus(t11, b2), shift)
        buffer[_SIX + i] = _scaled(_less(t11, b2), shift)
        buffer[_TWO + i] = _scaled(_plus(t12, b1), shift)
        buffer[_FIVE + i] = _scaled(_less(t12, b1), shift)
        buffer[_THREE + i] = _scaled(_plus(t13, b0), shift)
        buffer[_FOUR + i] = _scaled(_less(t13, b0), shift)


def quantisation(table: NDArray[np.integer]) -> tuple[Floats, Ints]:
    """A table of 8 x 8 steps in the form of `quantise`: what to multiply with, and the steps, for all lanes."""
    lanes = np.tile(table, (1, LANES // 8)).reshape(-1)
    # The transform is scaled by 8. Libjpeg rounds halves away from zero: a hair more than 1 / step puts a half beyond
    # the middle, and 2**-20 is too little for any other coefficient below 2**15 to get there.
    return ((1 + 2.0**-20) / (8.0 * lanes)).astype(np.float32), lanes.astype(np.int32)


@compiled
def quantise(buffer: Ints, inverse: Floats, steps: Ints) -> None:
    """Round each number to a multiple of its step, 8 times smaller than before."""
    # Added to a float32 of less than 2**22, this leaves the nearest whole number in the lowest bits.
    magic, magic_bits = np.float32(1.5 * 2**23), np.int32(0x4B400000)
    for i in range(8 * LANES):
        shifted = np.float32(np.float32(buffer[i]) * inverse[i]) + magic
        buffer[i] = _times(_less(np.float32(shifted).view(np.int32), magic_bits), steps[i])


@compiled
def through_blocks(
    plane: NDArray[np.uint8], height: int, width: int, inverse: Floats, steps: Ints, buffer: Ints
) -> None:
    """Transform, quantise and transform back, in place.

    Args:
        plane: height * width bytes.
        height: a multiple of 8.
        width: a multiple of `LANES`.
        inverse: of `quantisation`.
        steps: of `quantisation`.
        buffer: room for 8 * LANES numbers.
    """
    for top in range(0, height, 8):
        for left in range(0, width, LANES):
            first = top * width + left
            for lane in range(0, LANES, 8):
                read_block(plane, first + lane, width, buffer, lane)
            _forward(buffer, 2, 11)
            for lane in range(0, LANES, 8):
                turn_block(buffer, lane)
            _forward(buffer, 0, 15)
            quantise(buffer, inverse, steps)
            _backward(buffer, 11)
            for lane in range(0, LANES, 8):
                turn_block(buffer, lane)
            _backward(buffer, 18)
            for lane in range(0, LANES, 8):
                write_block(buffer, lane, plane, first + lane, width)
