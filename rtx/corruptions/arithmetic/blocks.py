"""Blocks of 8 x 8 numbers, and 16 pixels of three channels, in LLVM's own words.

Eight blocks lie side by side in a buffer of int32: 8 rows of `LANES` numbers. A loop over the lanes then transforms the
columns of all eight, in vectors; to transform the rows, every block is turned first. LLVM finds neither the turning nor
the interleaving of three channels by itself.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 64
_SIDE, _PIXELS = 8, 16
_SMALL, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_ROW, _BYTES = ir.VectorType(_INT, _SIDE), ir.VectorType(_SMALL, _SIDE)
_MANY, _MANY_BYTES = ir.VectorType(_INT, _PIXELS), ir.VectorType(_SMALL, _PIXELS)
_MANY_SHORTS = ir.VectorType(ir.IntType(16), _PIXELS)
_NEXT_ROW = ir.Constant(_LONG, LANES)


def pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any) -> Any:
    """To the `vector` that begins at `index` of an array of Numba's type `kind`."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _pointers(context: Any, builder: Any, kind: Any, place: list[Any], vector: Any) -> list[Any]:
    """Of the eight rows of a block; its place is an array, the index of its first number, and from row to row."""
    array, index, stride = place
    steps = [builder.mul(stride, ir.Constant(_LONG, k)) for k in range(_SIDE)]
    return [pointer(context, builder, kind, array, builder.add(index, step), vector) for step in steps]


def load(builder: Any, place: Any) -> Any:
    """The vector at a pointer of `pointer`, wherever it lies in memory."""
    value = builder.load(place)
    value.align = 1
    return value


def store(builder: Any, value: Any, place: Any) -> None:
    """The reverse of `load`."""
    builder.store(value, place).align = 1


def _pick(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INT, len(places)), places))


def _clamped(builder: Any, values: Any, vector: Any, narrow: Any) -> Any:
    """0 ... 255, as bytes."""
    low, high = ir.Constant(vector, [0] * vector.count), ir.Constant(vector, [255] * vector.count)
    values = builder.select(builder.icmp_signed(">", values, low), values, low)
    values = builder.select(builder.icmp_signed("<", values, high), values, high)
    return builder.trunc(values, narrow)


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Rows become columns: pairs of numbers, then of pairs, then of fours change places."""
    pairs, fours = [], []
    for k in range(0, 8, 2):
        pairs.append(_pick(builder, rows[k], rows[k + 1], [0, 8, 1, 9, 4, 12, 5, 13]))
        pairs.append(_pick(builder, rows[k], rows[k + 1], [2, 10, 3, 11, 6, 14, 7, 15]))
    for k in (0, 1, 4, 5):
        fours.append(_pick(builder, pairs[k], pairs[k + 2], [0, 1, 8, 9, 4, 5, 12, 13]))
        fours.append(_pick(builder, pairs[k], pairs[k + 2], [2, 3, 10, 11, 6, 7, 14, 15]))
    first = [_pick(builder, fours[k], fours[k + 4], [0, 1, 2, 3, 8, 9, 10, 11]) for k in range(4)]
    return first + [_pick(builder, fours[k], fours[k + 4], [4, 5, 6, 7, 12, 13, 14, 15]) for k in range(4)]


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def turn_block(typing_context: Any, buffer: Any, lane: Any) -> Any:
    """Turn the block of `buffer` that begins at `lane`, in place."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _pointers(context, builder, signature.args[0], [*arguments, _NEXT_ROW], _ROW)
        turned = _turned(builder, [load(builder, row) for row in rows])
        for value, row in zip(turned, rows, strict=True):
            store(builder, value, row)
        return context.get_dummy_value()

    return types.none(buffer, lane), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def put_turned(typing_context: Any, source: Any, at: Any, stride: Any, out: Any, into: Any, stride_out: Any) -> Any:
    """Eight rows of eight float32 of `source`, `stride` apart from `at` on, become eight columns of `out`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _pointers(context, builder, signature.args[0], arguments[:3], _ROW)
        target = _pointers(context, builder, signature.args[3], arguments[3:], _ROW)
        for value, row in zip(_turned(builder, [load(builder, row) for row in rows]), target, strict=True):
            store(builder, value, row)
        return context.get_dummy_value()

    return types.none(source, at, stride, out, into, stride_out), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def read_block(typing_context: Any, plane: Any, index: Any, stride: Any, buffer: Any, lane: Any) -> Any:
    """Eight rows of eight bytes of `plane`, `stride` apart from `index` on, less 128, turned, into `buffer`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        source = _pointers(context, builder, kinds[0], arguments[:3], _BYTES)
        target = _pointers(context, builder, kinds[3], [*arguments[3:], _NEXT_ROW], _ROW)
        middle = ir.Constant(_ROW, [128] * _SIDE)
        rows = [builder.sub(builder.zext(load(builder, row), _ROW), middle) for row in source]
        for value, row in zip(_turned(builder, rows), target, strict=True):
            store(builder, value, row)
        return context.get_dummy_value()

    return types.none(plane, index, stride, buffer, lane), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def write_block(typing_context: Any, buffer: Any, lane: Any, plane: Any, index: Any, stride: Any) -> Any:
    """The reverse of `read_block`; numbers beyond a byte are cut to 0 or 255."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        source = _pointers(context, builder, kinds[0], [*arguments[:2], _NEXT_ROW], _ROW)
        target = _pointers(context, builder, kinds[2], arguments[2:], _BYTES)
        middle = ir.Constant(_ROW, [128] * _SIDE)
        for value, row in zip(_turned(builder, [load(builder, row) for row in source]), target, strict=True):
            store(builder, _clamped(builder, builder.add(value, middle), _ROW, _BYTES), row)
        return context.get_dummy_value()

    return types.none(buffer, lane, plane, index, stride), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def put_rgb(typing_context: Any, luma: Any, blue: Any, red: Any, index: Any, out: Any) -> Any:
    """Sixteen pixels from `index` on, from YCbCr to RGB, in libjpeg's whole numbers of 16 bits after the point.

    `luma` is uint8; `blue` and `red` are int16, less 128; `out` holds three bytes a pixel.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        at = arguments[3]

        def constant(value: int) -> Any:
            return ir.Constant(_MANY, [value] * _PIXELS)

        def channel(*terms: tuple[Any, int]) -> Any:
            total = constant(1 << 15)
            for values, weight in terms:
                total = builder.add(total, builder.mul(values, constant(weight)))
            return _clamped(builder, builder.add(y, builder.ashr(total, constant(16))), _MANY, _MANY_BYTES)

        y = builder.zext(load(builder, pointer(context, builder, kinds[0], arguments[0], at, _MANY_BYTES)), _MANY)
        cb, cr = (
            builder.sext(load(builder, pointer(context, builder, kinds[k], arguments[k], at, _MANY_SHORTS)), _MANY)
            for k in (1, 2)
        )
        r, g, b = channel((cr, 91881)), channel((cb, -22554), (cr, -46802)), channel((cb, 116130))
        red_green, twice_blue = _pick(builder, r, g, list(range(32))), _pick(builder, b, b, list(range(32)))
        first = builder.mul(at, ir.Constant(_LONG, 3))
        for k in range(3):
            places = [i // 3 + (0, 16, 32)[i % 3] for i in range(16 * k, 16 * k + 16)]
            value = _pick(builder, red_green, twice_blue, places)
            into = builder.add(first, ir.Constant(_LONG, 16 * k))
            store(builder, value, pointer(context, builder, kinds[4], arguments[4], into, _MANY_BYTES))
        return context.get_dummy_value()

    return types.none(luma, blue, red, index, out), generate
