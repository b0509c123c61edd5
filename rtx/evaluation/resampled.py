"""Average precision and mean IoU of resampled images, from the evidence of one cell."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions.compiled import compiled
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.classification import resampled_accuracy
from rtx.evaluation.evidence import DetectionEvidence, Evidence, Measure, PixelEvidence, RankEvidence, Ranking

Floats = NDArray[np.float64]
Weights = NDArray[np.uint16]
Array = NDArray[Any]

COCO_POINTS = np.linspace(0, 1, 101).astype(np.float64)
VOC_POINTS = np.arange(0, 1 + 1e-3, 0.1).astype(np.float64)  # with the rounding errors that both references have
_N_BITS = 16


def scores(evidence: Evidence, weights: Weights, metric: str) -> Floats:
    """One metric for each resampling.

    Args:
        evidence: of one cell.
        weights: (resamplings, images) how often each image was drawn; a row of ones is the data set itself.
        metric: its name.

    Returns:
        (resamplings,) fractions; NaN where a resampling holds nothing that defines the metric.

    Raises:
        BadValue: the weights are for another number of images.
        UnknownName: the evidence does not hold that metric.
    """
    if weights.ndim != 2 or weights.shape[1] != len(evidence.image_ids):
        raise BadValue(f"weights of shape {weights.shape} for {len(evidence.image_ids)} images")
    if metric not in evidence.metrics:
        raise unknown_name("metric", metric, place="the evidence of this cell", choices=evidence.metrics)
    if isinstance(evidence, PixelEvidence):
        return _pixel_scores(evidence, weights, metric)
    if isinstance(evidence, RankEvidence):
        return resampled_accuracy(evidence, weights, metric)
    measure = evidence.measures[metric]
    return _precision_scores(evidence, measure, weights)


def _precision_scores(evidence: DetectionEvidence, measure: Measure, weights: Weights) -> Floats:
    ranking = evidence.rankings[measure.ranking]
    points = {"101 points": COCO_POINTS, "11 points": VOC_POINTS, "area": np.zeros(0)}[measure.rule]
    sums = np.zeros((len(weights), _N_BITS))
    counted = np.zeros(len(weights), np.int64)
    # COCO's precision is tp / (tp + fp + eps), which makes a perfect score 1 - 2e-16.
    eps = float(np.spacing(1)) if measure.rule == "101 points" else 0.0
    wanted = sum(1 << t for t in measure.thresholds)
    workers = max(1, min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8))
    columns = _columns(ranking)

    def block(part: slice) -> None:
        _ap(np.ascontiguousarray(weights[part]), *columns, points, eps, wanted, sums[part], counted[part])

    edges = np.linspace(0, len(weights), workers + 1).astype(int).tolist()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(block, [slice(a, b) for a, b in pairwise(edges) if b > a]))
    n_classes = len(ranking.starts) - 1
    total: Floats = sums[:, list(measure.thresholds)].mean(axis=1)
    if measure.absent == "zero":
        ratio: Floats = total / n_classes
        return ratio
    # Without any object, VOC's means are 0 and COCO's undefined.
    empty = np.nan if measure.rule == "101 points" else 0.0
    return _ratio(total, counted, empty)


def _columns(ranking: Ranking) -> tuple[Array, Array, Array, Array, Array, Array]:
    return (
        ranking.images.astype(np.int32),
        ranking.hits.astype(np.int32),
        ranking.ignored.astype(np.int32),
        ranking.tied.astype(np.uint8),
        ranking.starts.astype(np.int64),
        ranking.objects.astype(np.int64),
    )


@compiled
def _ap(
    weights: Weights,
    images: Array,
    hits: Array,
    ignored: Array,
    tied: Array,
    starts: Array,
    objects: Array,
    points: Floats,
    eps: float,
    wanted: int,
    sums: Floats,
    counted: Array,
) -> None:
    """Add up AP over classes: sums (resamplings, 16 thresholds), counted (resamplings,) classes with objects."""
    n_classes = starts.size - 1
    n_hits, spread = 0, 0
    for i in range(images.size):
        if hits[i]:
            n_hits += 1
        if tied[i]:
            spread += 2
    room = n_hits + spread * (np.int64(weights.max()) if weights.size else 0) + 1
    at = np.empty((16, room), np.int64)
    precision = np.empty((16, room))
    for b in range(weights.shape[0]):
        totals = np.zeros(n_classes, np.int64)
        for m in range(objects.shape[0]):
            totals[objects[m, 0]] += objects[m, 2] * np.int64(weights[b, objects[m, 1]])
        for k in range(n_classes):
            if totals[k] == 0:
                continue
            counted[b] += 1
            seen = np.int64(0)
            true = np.zeros(16, np.int64)
            out = np.zeros(16, np.int64)
            n = np.zeros(16, np.int64)
            i = starts[k]
            while i < starts[k + 1]:
                stop = i + 1
                while stop < starts[k + 1] and tied[stop]:
                    stop += 1
                w = np.int64(weights[b, images[i]])
                # Copies of one detection follow each other, and precision only rises along them, so the last one stands
                # for all. Tied detections come again in their own order for every copy of the image.
                step = w if stop == i + 1 else np.int64(1)
                for _ in range(w // step if w else 0):
                    for row in range(i, stop):
                        seen += step
                        if hits[row] | ignored[row]:
                            for t in range(16):
                                if not (wanted >> t) & 1:
                                    continue
                                if (ignored[row] >> t) & 1:
                                    out[t] += step
                                elif (hits[row] >> t) & 1:
                                    true[t] += step
                                    at[t, n[t]] = true[t]
                                    precision[t, n[t]] = true[t] / (seen - out[t] + eps)
                                    n[t] += 1
                i = stop
            for t in range(16):
                if (wanted >> t) & 1 and n[t]:
                    sums[b, t] += _integral(at[t], precision[t], n[t], totals[k], points)


@compiled
def _integral(at: Array, precision: Floats, n: int, total: int, points: Floats) -> float:
    """Mean precision over recall points (area where there are none), precision made non-increasing in recall."""
    best, found = 0.0, 0.0
    above = _reached(at[n - 1] / total, points)
    for j in range(n - 1, -1, -1):
        best = max(best, precision[j])
        before = at[j - 1] if j else 0
        if points.size == 0:
            found += best * ((at[j] - before) / total)
        else:
            below = _reached(before / total, points) if j else 0
            found += best * (above - below)
            above = below
    return found / points.size if points.size else found


@compiled
def _reached(recall: float, points: Floats) -> int:
    """How many recall points are at or below a recall."""
    if points.size == 0:
        return 0
    n = int(min(recall * (points.size - 1), points.size - 1.0))
    while n < points.size and points[n] <= recall:
        n += 1
    while n > 0 and points[n - 1] > recall:
        n -= 1
    return n


def _pixel_scores(evidence: PixelEvidence, weights: Weights, metric: str) -> Floats:
    n = evidence.n_classes
    table = np.zeros((len(evidence.image_ids), 3, n))
    image, label = evidence.rows[:, 0], evidence.rows[:, 1]
    for part in range(3):
        np.add.at(table[:, part], (image, label), evidence.rows[:, 2 + part])
    # Whole numbers below 2**53, so the sums are exact in any order.
    counts = (weights.astype(np.float64) @ table.reshape(len(table), -1)).reshape(-1, 3, n)
    both, predicted, labelled = counts[:, 0], counts[:, 1], counts[:, 2]
    if metric == "aAcc":
        return _ratio(both.sum(axis=1), labelled.sum(axis=1), np.nan)
    whole = predicted + labelled - both if metric == "mIoU" else labelled
    return _ratio(_ratio(both, whole, 0.0).sum(axis=1), (whole > 0).sum(axis=1), np.nan)


def _ratio(part: Floats, whole: Array, otherwise: float) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)
    return ratio
