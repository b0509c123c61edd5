"""One pixel of four floats as one vector register.

Numba leaves LLVM's pass that finds such vectors in straight code switched off, and a loop over the four is too short
for the pass that is on. So the two places that need it say it in LLVM's own words.

Both interpolate as `a + w * (b - a)`, which gives exactly `a` where `a` and `b` are equal: plain regions stay plain.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rtx.corruptions.arithmetic.blocks import load, pointer, store

_FOUR = ir.VectorType(ir.FloatType(), 4)
_TWO, _EIGHT = ir.VectorType(ir.FloatType(), 2), ir.VectorType(ir.FloatType(), 8)
_INDEX = ir.IntType(32)
_PAIR = ir.VectorType(ir.IntType(8), 8)


def _spread(builder: Any, number: Any) -> Any:
    single = builder.insert_element(ir.Constant(_FOUR, ir.Undefined), number, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(_INDEX, 4), [0] * 4))


def _between(builder: Any, a: Any, b: Any, weight: Any) -> Any:
    return builder.fadd(a, builder.fmul(weight, builder.fsub(b, a)))


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def add_between(typing_context: Any, total: Any, into: Any, row: Any, one: Any, other: Any, weight: Any) -> Any:
    """`total[into:into + 4] += row[one:one + 4]` moved by `weight` towards `row[other:other + 4]`.

    Floats are float32, indices int64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        target = pointer(context, builder, kinds[0], arguments[0], arguments[1], _FOUR)
        a = load(builder, pointer(context, builder, kinds[2], arguments[2], arguments[3], _FOUR))
        b = load(builder, pointer(context, builder, kinds[2], arguments[2], arguments[4], _FOUR))
        mixed = _between(builder, a, b, _spread(builder, arguments[5]))
        store(builder, builder.fadd(load(builder, target), mixed), target)
        return context.get_dummy_value()

    return types.none(total, into, row, one, other, weight), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def add_two_between(typing_context: Any, total: Any, into: Any, row: Any, first: Any, weights: Any, at: Any) -> Any:
    """`add_between` for two pixels side by side, of two pairs of neighbours: `row[first:first + 12]`.

    Their weights are `weights[at:at + 2]`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        target = pointer(context, builder, kinds[0], arguments[0], arguments[1], _EIGHT)
        a = load(builder, pointer(context, builder, kinds[2], arguments[2], arguments[3], _EIGHT))
        next_pixel = builder.add(arguments[3], ir.Constant(ir.IntType(64), 4))
        b = load(builder, pointer(context, builder, kinds[2], arguments[2], next_pixel, _EIGHT))
        two = load(builder, pointer(context, builder, kinds[4], arguments[4], arguments[5], _TWO))
        places = ir.Constant(ir.VectorType(_INDEX, 8), [0] * 4 + [1] * 4)
        mixed = _between(builder, a, b, builder.shuffle_vector(two, two, places))
        store(builder, builder.fadd(load(builder, target), mixed), target)
        return context.get_dummy_value()

    return types.none(total, into, row, first, weights, at), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def put_bilinear(
    typing_context: Any,
    out: Any,
    into: Any,
    image: Any,
    top: Any,
    bottom: Any,
    weight_x: Any,
    weight_y: Any,
    most: Any,
    rest: Any,
) -> Any:
    """`out[into:into + 4]` = a pixel between four, of which two begin at `top` and two at `bottom` of `image`.

    Pixels are three bytes; eight are read at either place. A grey level g counts as `g * most + g * rest`; interpolated
    is along x, then along y. What comes fourth means nothing.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        sixteen = ir.VectorType(ir.FloatType(), 16)

        def spread(number: Any, vector: Any) -> Any:
            single = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(_INDEX, 0))
            return pick(single, single, [0] * vector.count)

        def pick(one: Any, other: Any, places: list[int]) -> Any:
            return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INDEX, len(places)), places))

        upper, lower = (
            load(builder, pointer(context, builder, kinds[2], arguments[2], arguments[k], _PAIR)) for k in (3, 4)
        )
        # Left ones first, and of them the upper one.
        levels = pick(upper, lower, [0, 1, 2, 3, 8, 9, 10, 11, 3, 4, 5, 6, 11, 12, 13, 14])
        levels = builder.uitofp(builder.zext(levels, ir.VectorType(_INDEX, 16)), sixteen)
        most, rest = (builder.fmul(levels, spread(arguments[k], sixteen)) for k in (7, 8))
        fractions = builder.fadd(most, rest)
        left, right = pick(fractions, fractions, list(range(8))), pick(fractions, fractions, list(range(8, 16)))
        mixed = _between(builder, left, right, spread(arguments[5], _EIGHT))
        above, below = pick(mixed, mixed, [0, 1, 2, 3]), pick(mixed, mixed, [4, 5, 6, 7])
        target = pointer(context, builder, kinds[0], arguments[0], arguments[1], _FOUR)
        store(builder, _between(builder, above, below, _spread(builder, arguments[6])), target)
        return context.get_dummy_value()

    return types.none(out, into, image, top, bottom, weight_x, weight_y, most, rest), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def add_box(
    typing_context: Any, sums: Any, into: Any, levels: Any, first: Any, least: Any, more: Any, weight: Any, bits: Any
) -> Any:
    """`sums[into:into + 4] += min((half + weight * box) >> bits, 255)`, for the sums `box` over pixels of four bytes.

    The box has `least` pixels from byte `first` of `levels` on, and one more where `more` is -1 instead of 0. Whole
    numbers: `sums`, `more`, `weight` and `bits` of 32 bits, `into`, `first` and `least` of 64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        four, small = ir.VectorType(_INDEX, 4), ir.VectorType(ir.IntType(8), 4)

        def pixel(at: Any) -> Any:
            return builder.zext(load(builder, pointer(context, builder, kinds[2], arguments[2], at, small)), four)

        def spread(number: Any) -> Any:
            single = builder.insert_element(ir.Constant(four, ir.Undefined), number, ir.Constant(_INDEX, 0))
            return builder.shuffle_vector(single, single, ir.Constant(four, [0] * 4))

        long = ir.IntType(64)
        box = cgutils.alloca_once(builder, four)
        end = builder.add(arguments[3], builder.shl(arguments[4], ir.Constant(long, 2)))
        builder.store(builder.and_(pixel(end), spread(arguments[5])), box)
        with cgutils.for_range_slice(builder, arguments[3], end, ir.Constant(long, 4), long) as (at, _):
            builder.store(builder.add(builder.load(box), pixel(at)), box)
        shift = spread(arguments[7])
        half = spread(builder.shl(ir.Constant(_INDEX, 1), builder.sub(arguments[7], ir.Constant(_INDEX, 1))))
        value = builder.lshr(builder.add(builder.mul(builder.load(box), spread(arguments[6])), half), shift)
        most = ir.Constant(four, [255] * 4)
        value = builder.select(builder.icmp_unsigned("<", value, most), value, most)
        target = pointer(context, builder, kinds[0], arguments[0], arguments[1], four)
        store(builder, builder.add(load(builder, target), value), target)
        return context.get_dummy_value()

    return types.none(sums, into, levels, first, least, more, weight, bits), generate
