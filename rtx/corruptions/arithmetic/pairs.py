"""Symmetric weighted sums, `w[0] * centre + w[1] * (one + other) + ...`, kept in vector registers.

A loop over such a sum that adds one pair of rows after the other loads and stores its totals again and again; with many
rows that is most of the work, and with long rows all of it. Here `LANES` totals stay in registers until they are done.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rtx.corruptions.arithmetic.blocks import load, pointer, store

LANES = 32
_LONG, _INDEX = ir.IntType(64), ir.IntType(32)


def _pair_sums(flags: tuple[str, ...], two_by_two: bool = False) -> Any:
    def declare(typing_context: Any, out: Any, into: Any, source: Any, at: Any, places: Any, weights: Any) -> Any:
        number = ir.FloatType() if source.dtype == types.float32 else ir.DoubleType()
        vector = ir.VectorType(number, LANES)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            index = context.make_array(kinds[4])(context, builder, arguments[4]).data
            factors = context.make_array(kinds[5])(context, builder, arguments[5])
            one, zero, down = (ir.Constant(_LONG, k) for k in (1, 0, -1))

            def row(k: Any) -> Any:
                first = builder.add(arguments[3], builder.load(builder.gep(index, [k])))
                return load(builder, pointer(context, builder, kinds[2], arguments[2], first, vector))

            def times_weight(values: Any, k: Any) -> Any:
                weight = builder.load(builder.gep(factors.data, [k]))
                single = builder.insert_element(ir.Constant(vector, ir.Undefined), weight, ir.Constant(_INDEX, 0))
                spread = builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))
                return builder.fmul(values, spread, flags=flags)

            def pair(j: Any) -> Any:
                last = builder.shl(j, one)
                return times_weight(builder.fadd(row(builder.sub(last, one)), row(last)), j)

            def add(value: Any) -> None:
                builder.store(builder.fadd(builder.load(total), value, flags=flags), total)

            total = cgutils.alloca_once(builder, vector)
            builder.store(times_weight(row(zero), zero), total)
            radius = builder.sub(builder.extract_value(factors.shape, 0), one)
            if two_by_two:
                step = ir.Constant(_LONG, -2)
                with cgutils.for_range_slice(builder, radius, one, step, _LONG, inc=False) as (j, _):
                    outer = pair(j)
                    add(builder.fadd(outer, pair(builder.sub(j, one)), flags=flags))
                with builder.if_then(builder.icmp_signed("==", builder.and_(radius, one), one)):
                    add(pair(one))
            else:
                with cgutils.for_range_slice(builder, radius, zero, down, _LONG, inc=False) as (j, _):
                    add(pair(j))
            place = pointer(context, builder, kinds[0], arguments[0], arguments[1], vector)
            store(builder, builder.load(total), place)
            return context.get_dummy_value()

        return types.none(out, into, source, at, places, weights), generate

    declare.__doc__ = """`out[into:into + LANES]` = sums over rows of `source`, added from the outermost pair inwards.

    Row k begins at `source[at + places[k]]`: the centre is row 0, pair j the rows 2 j - 1 and 2 j. `out`, `source` and
    `weights` (radius + 1,) are float32 or all float64, `places` (2 radius + 1,) and the indices int64.
    """
    return intrinsic(declare)


pair_sums = _pair_sums(())
# The sum of two neighbouring pairs is added, then that of the next two; an odd one is last.
pair_sums_by_two = _pair_sums((), two_by_two=True)
# Multiplication and addition may be one instruction where the processor has it, so that last bits depend on it.
pair_sums_nearly = _pair_sums(("contract",))


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def put_block(typing_context: Any, out: Any, into: Any, source: Any, at: Any) -> Any:
    """`out[into:into + LANES] = source[at:at + LANES]`, both float32 or both float64, the indices int64."""
    number = ir.FloatType() if source.dtype == types.float32 else ir.DoubleType()

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(number, LANES)
        target, origin = (
            pointer(context, builder, signature.args[k], arguments[k], arguments[k + 1], vector) for k in (0, 2)
        )
        store(builder, load(builder, origin), target)
        return context.get_dummy_value()

    return types.none(out, into, source, at), generate
