"""Average precision and mean IoU of resampled images, from the evidence of one cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, unknown_name
from rtx.evaluation.classification import resampled_accuracy
from rtx.evaluation.evidence import DetectionEvidence, Evidence, Measure, PixelEvidence, RankEvidence
from rtx.evaluation.resampled_ap import class_sums

Floats = NDArray[np.float64]
Weights = NDArray[np.uint16]
Array = NDArray[Any]

COCO_POINTS = np.linspace(0, 1, 101).astype(np.float64)
VOC_POINTS = np.arange(0, 1 + 1e-3, 0.1).astype(np.float64)  # with the rounding errors that both references have


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
    # COCO's precision is tp / (tp + fp + eps), which makes a perfect score 1 - 2e-16.
    eps = float(np.spacing(1)) if measure.rule == "101 points" else 0.0
    total, counted = class_sums(ranking, measure.thresholds, weights, points, eps)
    if measure.absent == "zero":
        ratio: Floats = total / (len(ranking.starts) - 1)
        return ratio
    # Without any object, VOC's means are 0 and COCO's undefined.
    return _ratio(total, counted, np.nan if measure.rule == "101 points" else 0.0)


def _pixel_scores(evidence: PixelEvidence, weights: Weights, metric: str) -> Floats:
    n = evidence.n_classes
    table = np.zeros((len(evidence.image_ids), 3, n))
    place = evidence.rows[:, 0] * n + evidence.rows[:, 1]
    for part in range(3):
        sums = np.bincount(place, evidence.rows[:, 2 + part], minlength=len(table) * n)
        table[:, part] = sums.reshape(-1, n)
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
