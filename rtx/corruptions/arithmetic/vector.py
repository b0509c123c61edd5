"""One pixel of four floats as one vector register.

Numba leaves LLVM's pass that finds such vectors in straight code switched off, and a loop over the four is too short
for the pass that is on. So the two places that need it say it in LLVM's own words.

Both interpolate as `a + w * (b - a)`, which gives exactly `a` where `a` and `b` are equal: plain regions stay plain.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_FOUR = ir.VectorType(ir.FloatType(), 4)
_INDEX = ir.IntType(32)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FOUR.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4
    return value


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, pointer).align = 4


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
        target = _address(context, builder, kinds[0], arguments[0], arguments[1])
        a = _load(builder, _address(context, builder, kinds[2], arguments[2], arguments[3]))
        b = _load(builder, _address(context, builder, kinds[2], arguments[2], arguments[4]))
        mixed = _between(builder, a, b, _spread(builder, arguments[5]))
        _store(builder, builder.fadd(_load(builder, target), mixed), target)
        return context.get_dummy_value()

    return types.none(total, into, row, one, other, weight), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def put_bilinear(
    typing_context: Any,
    out: Any,
    into: Any,
    source: Any,
    top_left: Any,
    top_right: Any,
    bottom_left: Any,
    bottom_right: Any,
    weight_x: Any,
    weight_y: Any,
) -> Any:
    """`out[into:into + 4]` = the four pixels of `source` at the given indices, interpolated along x, then along y."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        corners = [
            _load(builder, _address(context, builder, kinds[2], arguments[2], arguments[k])) for k in (3, 4, 5, 6)
        ]
        along_x, along_y = _spread(builder, arguments[7]), _spread(builder, arguments[8])
        top = _between(builder, corners[0], corners[1], along_x)
        bottom = _between(builder, corners[2], corners[3], along_x)
        target = _address(context, builder, kinds[0], arguments[0], arguments[1])
        _store(builder, _between(builder, top, bottom, along_y), target)
        return context.get_dummy_value()

    signature = types.none(out, into, source, top_left, top_right, bottom_left, bottom_right, weight_x, weight_y)
    return signature, generate
