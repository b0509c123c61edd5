"""The kernel of resampled average precision: one pass over the ranked detections serves many resamplings at once.

Detections are walked from the last to the first. Precision made non-increasing in recall is then a running maximum, so
nothing has to be kept for later, and everything at one detection is the same arithmetic for every resampling: plain
loops over neighbouring numbers, which the compiler turns into vector instructions.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.metrics.per_image import Ranking

Floats = NDArray[np.float64]
Array = NDArray[Any]

BLOCK = 128
"""Resamplings walked together: their running numbers fit the first-level cache, their draws the second."""


def class_sums(
    ranking: Ranking, thresholds: tuple[int, ...], weights: NDArray[np.uint16], points: Floats, eps: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Average precision of each resampling, added up over classes and averaged over IoU thresholds.

    Args:
        ranking: the detections.
        thresholds: which IoU thresholds are averaged.
        weights: (resamplings, images) how often each image was drawn.
        points: recall points, equally spaced from 0 to 1; empty for the area under the curve.
        eps: added to the number of detections, as COCO's reference does.

    Returns:
        The sums (resamplings,), and how many classes have objects in each resampling.
    """
    rows = _rows(ranking, thresholds)
    # Half the memory traffic where draws are small, and they always are in plain resampling.
    weights = weights.astype(np.uint8) if weights.size and weights.max() < 256 else weights
    sums, counted = np.zeros(len(weights)), np.zeros(len(weights), np.int64)
    step = float(points[1]) if points.size else 0.0

    def block(start: int) -> None:
        part = slice(start, start + BLOCK)
        turned = np.ascontiguousarray(weights[part].T)
        _walk(turned, *rows, len(thresholds), points.size, step, eps, sums[part], counted[part])

    starts = range(0, len(weights), BLOCK)
    threads = min(len(starts), processors())
    if threads < 2:
        for start in starts:
            block(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(block, starts))
    return sums / len(thresholds), counted


def processors() -> int:
    """How many processors this process may use, at most 8: more share one memory bus."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(there, 8))


def _rows(ranking: Ranking, thresholds: tuple[int, ...]) -> tuple[Array, Array, Array, Array, Array, Array]:
    """The ranking as the kernel reads it: bit t belongs to the t-th asked threshold."""
    hits, ignored = (np.zeros(len(ranking.images), np.int32) for _ in range(2))
    for new, old in enumerate(thresholds):
        hits |= ((ranking.hits.astype(np.int64) >> old & 1) << new).astype(np.int32)
        ignored |= ((ranking.ignored.astype(np.int64) >> old & 1) << new).astype(np.int32)
    hits &= ~ignored
    return (
        ranking.images.astype(np.int32),
        hits,
        ignored,
        _entangled(ranking.tied, hits, ignored).astype(np.uint8),
        ranking.starts.astype(np.int64),
        ranking.objects.astype(np.int64),
    )


def _entangled(tied: NDArray[np.bool_], hits: Array, ignored: Array) -> NDArray[np.bool_]:
    """Ties that matter: those of a hit with something else. In all others the order of copies changes nothing."""
    if not len(tied):
        return tied
    run = np.cumsum(~tied) - int(not tied[0])
    same = np.r_[True, (hits[1:] == hits[:-1]) & (ignored[1:] == ignored[:-1])] | ~tied
    mixed = np.zeros(int(run[-1]) + 1, bool)
    np.logical_or.at(mixed, run, ~same)
    some = np.zeros(len(mixed), bool)
    np.logical_or.at(some, run, hits > 0)
    found: NDArray[np.bool_] = tied & (mixed & some)[run]
    return found


@compiled
def _walk(
    weights: Array,
    images: Array,
    hits: Array,
    ignored: Array,
    tied: Array,
    starts: Array,
    objects: Array,
    n_thresholds: int,
    n_points: int,
    step: float,
    eps: float,
    sums: Floats,
    counted: Array,
) -> None:
    """Add up AP over classes and thresholds; `weights` is (images, resamplings), the two results (resamplings,).

    Counts that take part in a division are kept as doubles, exact up to 2**53, so that vector units need not convert.
    """
    width = weights.shape[1]
    n_classes = starts.size - 1
    totals = np.zeros((n_classes, width))
    for m in range(objects.shape[0]):
        drawn, into, times = weights[objects[m, 1]], totals[objects[m, 0]], float(objects[m, 2])
        for b in range(width):
            into[b] += times * drawn[b]
    seen = np.empty(width, np.int32)
    rank = np.empty(width)
    now = np.empty(width)
    true = np.empty((n_thresholds, width))
    out = np.empty((n_thresholds, width))
    above = np.empty((n_thresholds, width))
    best = np.empty((n_thresholds, width))
    found = np.empty((n_thresholds, width))
    below = np.empty(width)
    size = np.empty(width)
    for k in range(n_classes):
        for b in range(width):
            counted[b] += totals[k, b] > 0
            size[b] = totals[k, b] if totals[k, b] > 0 else 1.0
        last = starts[k + 1]
        while last > starts[k] and not hits[last - 1]:
            last -= 1
        while last < starts[k + 1] and tied[last]:
            last += 1
        if last == starts[k]:
            continue
        seen[:] = 0
        true[:] = 0.0
        out[:] = 0.0
        best[:] = 0.0
        found[:] = 0.0
        for row in range(starts[k], last):
            drawn = weights[images[row]]
            for b in range(width):
                seen[b] += np.int32(drawn[b])
            if hits[row] | ignored[row]:
                for t in range(n_thresholds):
                    if (ignored[row] >> t) & 1:
                        for b in range(width):
                            out[t, b] += drawn[b]
                    elif (hits[row] >> t) & 1:
                        for b in range(width):
                            true[t, b] += drawn[b]
        for t in range(n_thresholds):
            for b in range(width):
                above[t, b] = _reached(true[t, b], size[b], n_points - 1.0, step)
        stop = last
        while stop > starts[k]:
            first = stop - 1
            while first > starts[k] and tied[first]:
                first -= 1
            drawn = weights[images[first]]
            if stop == first + 1 and not hits[first]:
                if ignored[first]:
                    for t in range(n_thresholds):
                        if (ignored[first] >> t) & 1:
                            for b in range(width):
                                out[t, b] -= drawn[b]
                for b in range(width):
                    seen[b] -= np.int32(drawn[b])
                stop = first
                continue
            # Copies of one detection follow each other, and precision only rises along them, so the last one stands
            # for all. Tied detections come again in their own order for every copy of the image.
            copies = np.int64(1)
            if stop > first + 1:
                copies = np.int64(drawn.max())
            for turn in range(copies - 1, -1, -1):
                for b in range(width):
                    now[b] = float(drawn[b]) if stop == first + 1 else (1.0 if drawn[b] > turn else 0.0)
                for row in range(stop - 1, first - 1, -1):
                    for b in range(width):
                        rank[b] = seen[b]
                    for t in range(n_thresholds):
                        if (hits[row] >> t) & 1:
                            at = (true[t], out[t], best[t], found[t], above[t])
                            _count(*at, rank, now, size, below, n_points, step, eps)
                        elif (ignored[row] >> t) & 1:
                            for b in range(width):
                                out[t, b] -= now[b]
                    for b in range(width):
                        seen[b] -= np.int32(now[b])
            stop = first
        for t in range(n_thresholds):
            for b in range(width):
                sums[b] += found[t, b] / n_points if n_points else found[t, b]


@inlined
def _reached(true: float, size: float, top: float, step: float) -> float:
    """How many recall points are at or below the recall; none without a hit."""
    recall = true / size
    low = np.floor(recall * top)
    # The product may round across a whole number, so the candidate and its neighbour are compared exactly.
    n = low + (1.0 if low * step <= recall else 0.0) + (1.0 if (low + 1.0) * step <= recall else 0.0)
    return n if true > 0 else 0.0


@compiled
def _count(
    true: Floats,
    out: Floats,
    best: Floats,
    found: Floats,
    above: Floats,
    rank: Floats,
    now: Floats,
    size: Floats,
    below: Floats,
    n_points: int,
    step: float,
    eps: float,
) -> None:
    """Take one hit away, and add what it holds of the integral."""
    # Three short loops: the compiler proves that arrays do not overlap only where there are few of them.
    for b in range(true.size):
        precision = true[b] / (rank[b] - out[b] + eps)
        precision = precision if true[b] > 0 else 0.0
        best[b] = precision if precision > best[b] else best[b]
    if n_points == 0:
        for b in range(true.size):
            found[b] += best[b] * (now[b] / size[b])
            true[b] -= now[b]
        return
    top = n_points - 1.0
    for b in range(true.size):
        before = true[b] - now[b]
        below[b] = _reached(before, size[b], top, step)
        true[b] = before
    for b in range(true.size):
        found[b] += best[b] * (above[b] - below[b])
        above[b] = below[b]
