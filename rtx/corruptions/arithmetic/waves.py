"""Gaussian weights as a sum of cosines, so that a smoothing costs the same however far it reaches.

    w[j] = a_0 + a_1 cos(t_1 j) + ... + a_4 cos(t_4 j)   for |j| <= radius, and 0 beyond

A window of cosines slides by a recursion of its own (Sugimoto & Kamata, 2015, give it for whole numbers of waves; these
four are those that fit a Gaussian cut at three standard deviations best). For S[m] = sum of a cos(t j) x[m + j]:

    S[m] = 2 cos(t) S[m - 1] - S[m - 2] + a cos(t radius) (x[m + radius] + x[m - radius - 2])
                                        - a cos(t (radius + 1)) (x[m + radius - 1] + x[m - radius - 1])

The weights are met within 1e-7 of their norm, half a last bit of float32. Sums are doubles: over 10,000 steps the
recursion loses less than 1e-10. `fused` is rounded once by the processor, and by a library where the processor cannot.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from rtx.compiled import compiled

Vector = NDArray[np.float32]
Doubles = NDArray[np.float64]
# Signals that are smoothed side by side, number i of all of them first, then number i + 1.
LANES = 64
# Angles in one standard deviation: least error over radii from 24 to 240, by Nelder & Mead's search.
_TURNS = np.array([0.9108733, 1.8470873, 2.8458759, 3.9936134])
LEAST_RADIUS = 16
# Of `slide`, for each lane: the plain sum, and the latest two values of each wave.
STATE = (1 + 2 * _TURNS.size) * LANES


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


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c` of doubles, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@compiled
def slide(
    tower: Vector,
    radius: int,
    count: int,
    begin: bool,
    state: Doubles,
    waves: Doubles,
    out: Vector,
    at: int,
    stride: int,
) -> None:
    """Smooth `LANES` signals side by side, `count` numbers of each; `state` goes on from one call to the next.

    Args:
        tower: a row of zeros, then the numbers from -radius - 2 on, before which a signal that begins is 0.
        radius: of the weights.
        count: even.
        begin: the first of the results is the first of the signal.
        state: `STATE` numbers.
        waves: of `as_waves`.
        out: takes the results.
        at: where the first row of results begins in `out`.
        stride: from there to the next row.
    """
    if begin:
        state[:] = 0.0
        for k in range(0, 2 * radius, 2):
            _two_steps(tower, (k + 2) * LANES, 0, state, waves, out, at, stride)
    for k in range(0, count, 2):
        _two_steps(tower, (k + 2 * radius + 2) * LANES, (k + 1) * LANES, state, waves, out, at + k * stride, stride)


@compiled
def _two_steps(
    tower: Vector, lead: int, behind: int, state: Doubles, waves: Doubles, out: Vector, at: int, stride: int
) -> None:
    """The next two sums of each lane; three rows from `lead` on enter, three from `behind` on leave."""
    a0, b0 = tower[lead : lead + LANES], tower[behind : behind + LANES]
    a1, b1 = tower[lead + LANES : lead + 2 * LANES], tower[behind + LANES : behind + 2 * LANES]
    a2, b2 = tower[lead + 2 * LANES : lead + 3 * LANES], tower[behind + 2 * LANES : behind + 3 * LANES]
    first, second = out[at : at + LANES], out[at + stride : at + stride + LANES]
    t0, i0, o0 = waves[0]
    t1, i1, o1 = waves[1]
    t2, i2, o2 = waves[2]
    t3, i3, o3 = waves[3]
    mean = waves[4, 0]
    # Written out: a loop over the waves would keep LLVM from the loop over the lanes.
    for i in range(LANES):
        edge, inner = np.float64(a1[i]) + np.float64(b0[i]), np.float64(a0[i]) + np.float64(b1[i])
        next_edge, next_inner = np.float64(a2[i]) + np.float64(b1[i]), np.float64(a1[i]) + np.float64(b2[i])
        plain = state[i] + (np.float64(a1[i]) - np.float64(b1[i]))
        next_plain = plain + (np.float64(a2[i]) - np.float64(b2[i]))
        state[i] = next_plain
        last, before = state[i + LANES], state[i + 2 * LANES]
        one = fused(i0, edge, fused(o0, inner, fused(t0, last, -before)))
        two = fused(i0, next_edge, fused(o0, next_inner, fused(t0, one, -last)))
        state[i + 2 * LANES], state[i + LANES] = one, two
        total, next_total = fused(mean, plain, one), fused(mean, next_plain, two)
        last, before = state[i + 3 * LANES], state[i + 4 * LANES]
        one = fused(i1, edge, fused(o1, inner, fused(t1, last, -before)))
        two = fused(i1, next_edge, fused(o1, next_inner, fused(t1, one, -last)))
        state[i + 4 * LANES], state[i + 3 * LANES] = one, two
        total, next_total = total + one, next_total + two
        last, before = state[i + 5 * LANES], state[i + 6 * LANES]
        one = fused(i2, edge, fused(o2, inner, fused(t2, last, -before)))
        two = fused(i2, next_edge, fused(o2, next_inner, fused(t2, one, -last)))
        state[i + 6 * LANES], state[i + 5 * LANES] = one, two
        total, next_total = total + one, next_total + two
        last, before = state[i + 7 * LANES], state[i + 8 * LANES]
        one = fused(i3, edge, fused(o3, inner, fused(t3, last, -before)))
        two = fused(i3, next_edge, fused(o3, next_inner, fused(t3, one, -last)))
        state[i + 8 * LANES], state[i + 7 * LANES] = one, two
        first[i], second[i] = np.float32(total + one), np.float32(next_total + two)
