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

from rtx.files import json_ready

VERSION = "rtx.calibration/1"
BINS, DETECTION_BINS, LOCATED_BINS = 15, 20, 25
DETECTION_IOU, LOCATED_IOU = 0.5, 0.1
LEAST_SCORE = 0.3
OUTSIDE = "scores outside [0, 1] are no confidences"
UNKNOWN = "the predictions hold no scores"
NO_LOGITS = "the model hands over no logits of the classes"

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
    """What a cell says of the top-label confidences of a classifier or segmenter, as JSON values."""
    found = {"ECE": bins.error, "gap": bins.gap, "n": int(bins.count.sum()), "bins": bins.to_dict()}
    return {"version": VERSION, **json_ready(found)}


def of_top_labels(confidence: Floats, right: NDArray[np.bool_]) -> dict[str, Any]:
    """What a cell says of a classifier.

    Args:
        confidence: (n,) the highest score of each image, NaN where it is unknown.
        right: (n,) whether its class is right.
    """
    if np.isnan(confidence).any():
        return undefined(UNKNOWN)
    return of_classes(Bins.of(confidence, right, BINS)) if probabilities(confidence) else undefined(OUTSIDE)


def undefined(reason: str) -> dict[str, Any]:
    """What a cell says where no calibration error is defined."""
    return {"version": VERSION, "undefined": reason}
