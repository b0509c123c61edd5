"""Gaussian weights as a sum of cosines, so that a smoothing costs the same however far it reaches.

    w[j] = a_0 + a_1 cos(t_1 j) + ... + a_4 cos(t_4 j)   for |j| <= radius, and 0 beyond

A window of cosines slides by a recursion of its own (Sugimoto & Kamata, 2015, give it for whole numbers of waves; these
four are those that fit a Gaussian cut at three standard deviations best). For S[m] = sum of a cos(t j) x[m + j]:

    S[m] = 2 cos(t) S[m - 1] - S[m - 2] + a cos(t radius) (x[m + radius] + x[m - radius - 2])
                                        - a cos(t (radius + 1)) (x[m + radius - 1] + x[m - radius - 1])

The weights are met within 1e-7 of their norm, half a last bit of float32. Sums are doubles: over 10,000 steps the
recursion loses less than 1e-10. A product and a sum are rounded once, by the processor, or by a library where the
processor cannot.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.corruptions.arithmetic.blocks import load, pointer, store

Vector = NDArray[np.float32]
Doubles = NDArray[np.float64]
Places = NDArray[np.int64]
# Signals that are smoothed side by side: their state stays in the registers of a processor with 512 bits.
LANES = 16
# Angles in one standard deviation: least error over radii from 24 to 240, by Nelder & Mead's search.
_TURNS = np.array([0.9108733, 1.8470873, 2.8458759, 3.9936134])
# Of `slide`, for each lane: the plain sum, and the latest two values of each wave.
STATE = (1 + 2 * _TURNS.size) * LANES
_DOUBLES, _FLOATS = ir.VectorType(ir.DoubleType(), LANES), ir.VectorType(ir.FloatType(), LANES)
_LONG, _INDEX = ir.IntType(64), ir.IntType(32)


def as_waves(weights: Doubles, sigma: float, scale: float = 1.0) -> Doubles:
    """What `slide` needs for weights at distance 0, 1, ..., radius, of a Gaussian cut at three standard deviations.

    Returns:
        (5, 3): 2 cos(t), a cos(t radius) and -a cos(t (radius + 1)) of each wave, then a_0, all but the first of a row
        times `scale`.
    """
    radius = weights.size - 1
    # Rounded, and all else by basic arithmetic, since the last bits of a cosine depend on the machine.
    twice = np.rint(2 * np.cos(_TURNS / sigma) * 2.0**40) / 2.0**40
    cosines = np.ones((_TURNS.size + 1, radius + 2))
    cosines[:-1, 1] = twice / 2
    for j in range(2, radius + 2):
        cosines[:-1, j] = twice * cosines[:-1, j - 1] - cosines[:-1, j - 2]
    within = cosines[:, :-1]
    often = np.append(1.0, np.full(radius, 2.0))
    single = weights.astype(np.float32).astype(np.float64)
    products = [[math.fsum(one * other * often) for other in within] for one in within]
    amounts = scale * np.array(_solution(products, [math.fsum(one * single * often) for one in within]))
    waves = np.zeros((_TURNS.size + 1, 3))
    waves[:-1, 0] = twice
    waves[:-1, 1] = amounts[:-1] * cosines[:-1, radius]
    waves[:-1, 2] = -amounts[:-1] * cosines[:-1, radius + 1]
    waves[-1, 0] = amounts[-1]
    return waves


def _solution(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Of a symmetric positive definite system, by elimination: LAPACK's last bits depend on the machine."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k, pivot in enumerate(rows):
        for j in range(len(rows)):
            if j != k:
                factor = rows[j][k] / pivot[k]
                rows[j] = [a - factor * b for a, b in zip(rows[j], pivot, strict=True)]
    return [row[-1] / row[k] for k, row in enumerate(rows)]


@compiled
def places_of(size: int, radius: int, stride: int) -> Places:
    """Where a signal's numbers lie, for `slide`: -1 for what counts as 0, before the mirrored numbers that begin it."""
    places = np.full(size + 1 + 4 * radius + 3, -1, np.int64)
    for k in range(2 * radius + 2, places.size):
        places[k] = mirror(k - 3 * radius - 2, size) * stride
    return places


@inlined
def mirror(index: Any, size: int) -> Any:
    """Index of the number that a position beyond the edge shows: d c b a | a b c d | d c b a."""
    index = index % (2 * size)
    return index if index < size else 2 * size - 1 - index


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def slide(
    typing_context: Any,
    source: Any,
    left: Any,
    places: Any,
    first: Any,
    radius: Any,
    count: Any,
    state: Any,
    state_at: Any,
    waves: Any,
    out: Any,
    at: Any,
    stride: Any,
) -> Any:
    """Smooth `LANES` signals side by side, `count` numbers of each; `state` goes on from one call to the next.

    Number i of the signals lies side by side at `left` + `places[k]` of `source`, with `places` of `places_of`. The
    results begin with number `first` of the signal, after `2 * radius` that mean nothing, and an even `count` of them
    is written to `out`, a row of `LANES` from `at` on, the next one `stride` further. `state` has `STATE` numbers from
    `state_at` on, zeros where a signal begins; `waves` are of `as_waves`. Whole numbers are int64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        source, left, places, first, radius, count, state, state_at, waves, out, at, stride = arguments
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_DOUBLES, [_DOUBLES] * 3), f"llvm.fma.v{LANES}f64"
        )
        index = context.make_array(kinds[2])(context, builder, places).data
        nothing = cgutils.alloca_once_value(builder, ir.Constant(_FLOATS, [0.0] * LANES))

        def whole(number: int) -> Any:
            return ir.Constant(_LONG, number)

        def constant(row: int, column: int) -> Any:
            data = context.make_array(kinds[8])(context, builder, waves).data
            number = builder.load(builder.gep(data, [whole(3 * row + column)]))
            single = builder.insert_element(ir.Constant(_DOUBLES, ir.Undefined), number, ir.Constant(_INDEX, 0))
            return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))

        def numbers(k: Any) -> Any:
            place = builder.load(builder.gep(index, [k]))
            lies = pointer(context, builder, kinds[0], source, builder.add(left, place), _FLOATS)
            lies = builder.select(builder.icmp_signed("<", place, whole(0)), nothing, lies)
            return builder.fpext(load(builder, lies), _DOUBLES)

        def kept(k: int) -> Any:
            return pointer(context, builder, kinds[6], state, builder.add(state_at, whole(k * LANES)), _DOUBLES)

        turns = range(_TURNS.size)
        twice, inner_by, outer_by = ([constant(k, column) for k in turns] for column in range(3))
        mean = constant(_TURNS.size, 0)
        variables = [cgutils.alloca_once_value(builder, load(builder, kept(k))) for k in range(2 * _TURNS.size + 1)]
        with cgutils.for_range_slice(builder, whole(0), count, whole(2), _LONG) as (k, _):
            leaving = builder.add(first, k)
            entering = builder.add(leaving, builder.add(builder.shl(radius, whole(1)), whole(1)))
            a0, a1, a2 = (numbers(builder.add(entering, whole(step))) for step in range(3))
            b0, b1, b2 = (numbers(builder.add(leaving, whole(step))) for step in range(3))
            plain = builder.fadd(builder.load(variables[0]), builder.fsub(a1, b1))
            next_plain = builder.fadd(plain, builder.fsub(a2, b2))
            builder.store(next_plain, variables[0])
            edge, inner = builder.fadd(a1, b0), builder.fadd(a0, b1)
            next_edge, next_inner = builder.fadd(a2, b1), builder.fadd(a1, b2)
            total, next_total = None, None
            for wave in turns:
                last, before = (builder.load(variables[2 * wave + n]) for n in (1, 2))

                def step(edge: Any, inner: Any, last: Any, before: Any, wave: int = wave) -> Any:
                    turned = builder.call(fma, [twice[wave], last, builder.fneg(before)])
                    turned = builder.call(fma, [outer_by[wave], inner, turned])
                    return builder.call(fma, [inner_by[wave], edge, turned])

                one = step(edge, inner, last, before)
                two = step(next_edge, next_inner, one, last)
                builder.store(two, variables[2 * wave + 1])
                builder.store(one, variables[2 * wave + 2])
                if total is None:
                    total, next_total = (
                        builder.call(fma, [mean, plain, one]),
                        builder.call(fma, [mean, next_plain, two]),
                    )
                else:
                    total, next_total = builder.fadd(total, one), builder.fadd(next_total, two)
            for result, row in ((total, k), (next_total, builder.add(k, whole(1)))):
                into = builder.add(at, builder.mul(row, stride))
                narrow = builder.fptrunc(result, _FLOATS)
                store(builder, narrow, pointer(context, builder, kinds[9], out, into, _FLOATS))
        for k, variable in enumerate(variables):
            store(builder, builder.load(variable), kept(k))
        return context.get_dummy_value()

    long = types.int64
    return (
        types.none(source, long, places, long, long, long, state, long, waves, out, long, long),
        generate,
    )
