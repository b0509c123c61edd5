"""The kernel of resampled average precision: one pass over the ranked detections serves many resamplings at once.

A resampling draws image i w_i times. At one IoU threshold, with the detections d of a class by descending score, image
i(d) and n_i objects in image i,

    hits_k = sum of w_i(d) over the hits d <= k,    found_k = sum of w_i(d) over all d <= k that are not ignored,
    objects = sum of w_i n_i,    recall_k = hits_k / objects,    precision_k = hits_k / (found_k + eps),
    best_k = max of precision_j over j >= k,
    AP = sum over hits k of best_k (recall_k - recall_{k-1})            area under the curve, or
    AP = sum over hits k of best_k (points(k) - points(k-1)) / points    points(k): recall points that recall_k reaches

and this file adds AP up over classes and IoU thresholds. Source: Everingham et al. (2010), section 4.2, and
pycocotools' `COCOeval.accumulate` (eps = 2**-52) for a data set in which drawn images are copies.

Detections are walked from the last to the first: best_k is then a running maximum, and nothing is kept for later. The
copies of one detection follow each other, and precision rises along them, so the last stands for all. Detections of one
image with equal scores (`tied`) stay together in a copy, so that they are walked once for each copy.

In the kernels b counts resamplings, t IoU thresholds, k classes; counts are doubles, which are exact up to 2**53, so
that vector units need not convert. Plain loops over neighbouring numbers become vector instructions.
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
    """Add AP up over classes and thresholds into `sums`, and classes with objects into `counted`.

    Args:
        weights: (images, resamplings) how often each image was drawn.
        images: (n,) image of each detection.
        hits: (n,) bit t where it is a hit at threshold t.
        ignored: (n,) bit t where it is neither hit nor mistake.
        tied: (n,) whether it belongs together with the one before it.
        starts: (classes + 1,) first detection of each class.
        objects: (m, 3) class, image, number of objects.
        n_thresholds: how many bits count.
        n_points: recall points; 0 for the area under the curve.
        step: their distance.
        eps: added to the number of detections.
        sums: (resamplings,) fractions.
        counted: (resamplings,).
    """
    width = weights.shape[1]
    n_classes = starts.size - 1
    totals = np.zeros((n_classes, width))
    for m in range(objects.shape[0]):
        drawn, into, times = weights[objects[m, 1]], totals[objects[m, 0]], float(objects[m, 2])
        for b in range(width):
            into[b] += times * drawn[b]
    rank = np.empty(width, np.int32)  # copies of detections up to the current one
    rank_float = np.empty(width)
    copies = np.empty(width)  # of the current detection
    hit_count = np.empty((n_thresholds, width))  # of these the hits,
    ignored_count = np.empty((n_thresholds, width))  # and the ignored
    reached = np.empty((n_thresholds, width))  # recall points at or below the current recall
    best = np.empty((n_thresholds, width))  # precision at or beyond it
    area = np.empty((n_thresholds, width))  # what was added up so far
    reached_before = np.empty(width)
    n_objects = np.empty(width)
    for k in range(n_classes):
        for b in range(width):
            counted[b] += totals[k, b] > 0
            n_objects[b] = totals[k, b] if totals[k, b] > 0 else 1.0
        last = starts[k + 1]  # behind the last hit, and what is tied with it, nothing counts
        while last > starts[k] and not hits[last - 1]:
            last -= 1
        while last < starts[k + 1] and tied[last]:
            last += 1
        if last == starts[k]:
            continue
        rank[:] = 0
        hit_count[:] = 0.0
        ignored_count[:] = 0.0
        best[:] = 0.0
        area[:] = 0.0
        for row in range(starts[k], last):
            drawn = weights[images[row]]
            for b in range(width):
                rank[b] += np.int32(drawn[b])
            if hits[row] | ignored[row]:
                for t in range(n_thresholds):
                    if (ignored[row] >> t) & 1:
                        for b in range(width):
                            ignored_count[t, b] += drawn[b]
                    elif (hits[row] >> t) & 1:
                        for b in range(width):
                            hit_count[t, b] += drawn[b]
        for t in range(n_thresholds):
            for b in range(width):
                reached[t, b] = _reached(hit_count[t, b], n_objects[b], n_points - 1.0, step)
        stop = last
        while stop > starts[k]:
            first = stop - 1
            while first > starts[k] and tied[first]:
                first -= 1
            drawn = weights[images[first]]
            alone = stop == first + 1
            if alone and not hits[first]:
                if ignored[first]:
                    for t in range(n_thresholds):
                        if (ignored[first] >> t) & 1:
                            for b in range(width):
                                ignored_count[t, b] -= drawn[b]
                for b in range(width):
                    rank[b] -= np.int32(drawn[b])
                stop = first
                continue
            turns = np.int64(1) if alone else np.int64(drawn.max())
            for turn in range(turns - 1, -1, -1):
                for b in range(width):
                    copies[b] = float(drawn[b]) if alone else (1.0 if drawn[b] > turn else 0.0)
                for row in range(stop - 1, first - 1, -1):
                    for b in range(width):
                        rank_float[b] = rank[b]
                    for t in range(n_thresholds):
                        if (hits[row] >> t) & 1:
                            at = (hit_count[t], ignored_count[t], best[t], area[t], reached[t])
                            _take_hit(*at, rank_float, copies, n_objects, reached_before, n_points, step, eps)
                        elif (ignored[row] >> t) & 1:
                            for b in range(width):
                                ignored_count[t, b] -= copies[b]
                    for b in range(width):
                        rank[b] -= np.int32(copies[b])
            stop = first
        for t in range(n_thresholds):
            for b in range(width):
                sums[b] += area[t, b] / n_points if n_points else area[t, b]


@inlined
def _reached(hits: float, n_objects: float, top: float, step: float) -> float:
    """How many recall points (0, step ... top * step) are at or below the recall; none without a hit."""
    recall = hits / n_objects
    low = np.floor(recall * top)
    # The product may round across a whole number, so the candidate and its neighbour are compared exactly.
    n = low + (1.0 if low * step <= recall else 0.0) + (1.0 if (low + 1.0) * step <= recall else 0.0)
    return n if hits > 0 else 0.0


@compiled
def _take_hit(
    hit_count: Floats,
    ignored_count: Floats,
    best: Floats,
    area: Floats,
    reached: Floats,
    rank: Floats,
    copies: Floats,
    n_objects: Floats,
    reached_before: Floats,
    n_points: int,
    step: float,
    eps: float,
) -> None:
    """Add what one hit holds of the integral, and take it away; every array is (resamplings,), as in `_walk`."""
    # Three short loops: the compiler proves that arrays do not overlap only where there are few of them.
    for b in range(hit_count.size):
        precision = hit_count[b] / (rank[b] - ignored_count[b] + eps)
        precision = precision if hit_count[b] > 0 else 0.0
        best[b] = precision if precision > best[b] else best[b]
    if n_points == 0:
        for b in range(hit_count.size):
            area[b] += best[b] * (copies[b] / n_objects[b])
            hit_count[b] -= copies[b]
        return
    top = n_points - 1.0
    for b in range(hit_count.size):
        before = hit_count[b] - copies[b]
        reached_before[b] = _reached(before, n_objects[b], top, step)
        hit_count[b] = before
    for b in range(hit_count.size):
        area[b] += best[b] * (reached[b] - reached_before[b])
        reached[b] = reached_before[b]
