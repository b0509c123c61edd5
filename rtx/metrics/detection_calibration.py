"""D-ECE and LaECE of a detector's boxes or masks, from COCO's matching; see `rtx.metrics.calibration`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rtx.metrics.calibration import (
    DETECTION_BINS,
    LEAST_SCORE,
    LOCATED_BINS,
    LOCATED_IOU,
    OUTSIDE,
    VERSION,
    Bins,
    Floats,
    probabilities,
    undefined,
)
from rtx.metrics.coco_match import Outcomes, match
from rtx.metrics.coco_pairs import Pairs, Whole


def of_detections(pairs: Pairs, hits: Outcomes) -> dict[str, Any]:
    """What a cell says of the scores of a detector's boxes or masks.

    Args:
        pairs: both sides.
        hits: the matches at `DETECTION_IOU` alone.

    Returns:
        `D-ECE`, `LaECE`, `gap` (mean score minus precision), `n` detections and the `bins` of D-ECE; or `undefined`,
        the reason.
    """
    scores = pairs.scores
    if not probabilities(scores):
        return undefined(OUTSIDE)
    high = np.flatnonzero(scores >= LEAST_SCORE)
    there = high[hits.ignored[high] == 0]
    bins = Bins.of(scores[there], hits.hits[there] > 0, DETECTION_BINS)
    found = {"D-ECE": bins.error, "LaECE": _located(pairs, scores, high), "gap": bins.gap, "n": int(bins.count.sum())}
    return {"version": VERSION, **found, "bins": bins.to_dict()}


def _located(pairs: Pairs, scores: Floats, high: Whole) -> float:
    """LaECE over the classes that have objects and detections."""
    near = match(pairs, np.array([LOCATED_IOU]), least_score=LEAST_SCORE)
    rows = high[near.ignored[high] == 0]
    n_classes = len(pairs.categories)
    classes = pairs.det_classes[rows]
    right = np.where(near.hits[rows] > 0, near.shared[rows], 0.0)
    place = np.minimum((scores[rows] * LOCATED_BINS).astype(np.int64), LOCATED_BINS - 1)
    gaps = np.bincount(classes * LOCATED_BINS + place, scores[rows] - right, n_classes * LOCATED_BINS)
    counts = np.bincount(classes, minlength=n_classes)
    objects = np.bincount(pairs.gt_classes[near.objects], minlength=n_classes)
    counted = (counts > 0) & (objects > 0)
    errors = np.abs(gaps).reshape(n_classes, LOCATED_BINS).sum(axis=1)[counted] / counts[counted]
    return float(errors.mean()) if len(errors) else math.nan
