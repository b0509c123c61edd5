"""How far confidences are from how often they are right: expected calibration errors, from counts in bins.

With B bins of equal width over [0, 1], of n predictions in all n_b in bin b, with the sums c_b of their confidences and
r_b of what is right about them,

    ECE = sum over b of n_b / n * |c_b / n_b - r_b / n_b| = sum over b of |c_b - r_b| / n

    ECE      r counts the predictions whose class is right; B = 15       Guo et al. (2017), section 2 and 4
    D-ECE    r counts the detections that are hits at IoU 0.5; B = 20    Küppers et al. (2020), confidence only
    LaECE    r adds up the IoU of the hits at IoU 0.1; B = 25, each      Oksuz et al. (2023), section 5
             class alone, then the mean over classes

A bin holds its lower end and not its upper one, but for the last. Detections below a score of 0.3 are left out: a
detector gives hundreds of low ones an image, which would decide the number alone. Sums add up over images, so neither
their order nor how they were shared out changes more than the last bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.metrics.coco_match import Outcomes, match
from rtx.metrics.coco_pairs import Pairs

VERSION = "rtx.calibration/1"
BINS, DETECTION_BINS, LOCATED_BINS = 15, 20, 25
DETECTION_IOU, LOCATED_IOU = 0.5, 0.1
LEAST_SCORE = 0.3
OUTSIDE = "scores outside [0, 1] are no confidences"

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Bins:
    """Predictions by confidence, in bins of equal width.

    Attributes:
        count: (bins,) how many.
        confidence: (bins,) sum of their confidences.
        right: (bins,) sum of what is right about them.
    """

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]

    @classmethod
    def of(cls, confidence: Floats, right: NDArray[Any], n_bins: int) -> Bins:
        """Bins of (n,) confidences in [0, 1] and (n,) what is right about each, 0 to 1.

        Example:
            >>> Bins.of(np.array([0.5, 1.0]), np.array([True, False]), 2).count.tolist()
            [0, 2]
        """
        place = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
        sums: list[Any] = [np.bincount(place, np.asarray(row, np.float64), n_bins) for row in (confidence, right)]
        return cls(np.bincount(place, minlength=n_bins), *sums)

    def __add__(self, other: Bins) -> Bins:
        """Both together."""
        return Bins(self.count + other.count, self.confidence + other.confidence, self.right + other.right)

    @property
    def error(self) -> float:
        """The expected calibration error, a fraction; NaN where nothing is in the bins."""
        total = int(self.count.sum())
        return float(np.abs(self.confidence - self.right).sum()) / total if total else math.nan

    @property
    def gap(self) -> float:
        """Mean confidence minus how often they are right: above 0 where a model is too sure; NaN where empty."""
        total = int(self.count.sum())
        return float(self.confidence.sum() - self.right.sum()) / total if total else math.nan

    def to_dict(self) -> dict[str, list[Any]]:
        """The three sums as JSON values."""
        return {name: getattr(self, name).tolist() for name in ("count", "confidence", "right")}


def empty(n_bins: int = BINS) -> Bins:
    """Bins that hold nothing."""
    return Bins(np.zeros(n_bins, np.int64), np.zeros(n_bins), np.zeros(n_bins))


def probabilities(values: Floats) -> bool:
    """Whether all values can be confidences."""
    return not values.size or bool(values.min() >= 0 and values.max() <= 1 + 1e-6)


def of_classes(bins: Bins) -> dict[str, Any]:
    """What a cell says of the top-label confidences of a classifier or segmenter."""
    return {"version": VERSION, "ECE": bins.error, "gap": bins.gap, "n": int(bins.count.sum()), "bins": bins.to_dict()}


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
        return {"version": VERSION, "undefined": OUTSIDE}
    high = scores >= LEAST_SCORE
    there = high & (hits.ignored == 0)
    bins = Bins.of(scores[there], hits.hits[there] > 0, DETECTION_BINS)
    found = {"D-ECE": bins.error, "LaECE": _located(pairs, scores, high), "gap": bins.gap, "n": int(bins.count.sum())}
    return {"version": VERSION, **found, "bins": bins.to_dict()}


def _located(pairs: Pairs, scores: Floats, high: NDArray[np.bool_]) -> float:
    """LaECE over the classes that have objects and detections."""
    near = match(pairs, np.array([LOCATED_IOU]))
    rows = np.flatnonzero(high & (near.ignored == 0))
    many, n_classes = max(pairs.n_images, 1), len(pairs.categories)
    classes = pairs.det_keys[rows] // many
    right = np.where(near.hits[rows] > 0, near.shared[rows], 0.0)
    place = np.minimum((scores[rows] * LOCATED_BINS).astype(np.int64), LOCATED_BINS - 1)
    gaps = np.bincount(classes * LOCATED_BINS + place, scores[rows] - right, n_classes * LOCATED_BINS)
    counts = np.bincount(classes, minlength=n_classes)
    objects = np.bincount(pairs.gt_keys[near.objects] // many, minlength=n_classes)
    counted = (counts > 0) & (objects > 0)
    errors = np.abs(gaps).reshape(n_classes, LOCATED_BINS).sum(axis=1)[counted] / counts[counted]
    return float(errors.mean()) if len(errors) else math.nan
