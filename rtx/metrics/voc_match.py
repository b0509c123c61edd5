"""Matching detections with the objects of one image on PASCAL VOC, as mmdet and as detectron2 do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import DataError
from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import ImageId

D2_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
THRESHOLDS: dict[str, tuple[float, ...]] = {"mmdet": (0.5,), "d2": D2_THRESHOLDS}
"""Way of matching -> its IoU thresholds."""

Floats = NDArray[np.floating[Any]]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class VocTruth:
    """The objects of one image.

    Attributes:
        image_id: name of the image.
        boxes: (n, 4) left, top, right, bottom; a box of zero area (left = right) still covers one pixel.
        labels: (n,) class indices.
        difficult: (n,) True for objects that are neither hit nor miss.
    """

    image_id: ImageId
    boxes: Floats
    labels: NDArray[np.integer[Any]]
    difficult: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        n = len(self.labels)
        if self.boxes.shape != (n, 4) or self.difficult.shape != (n,) or not np.isfinite(self.boxes).all():
            raise DataError(f"ground truth of image {self.image_id!r}: {n} labels need {n} finite boxes and flags")


@dataclass(frozen=True)
class Matched:
    """Detections under one way of matching.

    Attributes:
        labels: (n,) class of each.
        scores: (n,).
        hits: (n,) bit t is set where the detection is a hit at IoU threshold t.
        ignored: (n,) bit t is set where it is neither hit nor mistake; any other detection is a mistake.
    """

    labels: Whole
    scores: Floats
    hits: Whole
    ignored: Whole


def match(truth: VocTruth, found: Detections | None, way: str) -> Matched:
    """Match the detections of one image, best first; equal scores keep the detector's order.

    Args:
        truth: its objects.
        found: its detections; nothing was detected when None.
        way: a key of `THRESHOLDS`.
    """
    return {"mmdet": _as_mmdet, "d2": _as_d2}[way](truth, found)


def _as_mmdet(truth: VocTruth, found: Detections | None) -> Matched:
    """IoU in float32 that reaches the threshold."""
    order = np.argsort(truth.difficult, kind="stable")  # where two overlap alike, the one that counts is first
    objects = (truth.boxes[order].astype(np.float32), truth.labels[order], truth.difficult[order])
    return _match(*objects, *_of(found), THRESHOLDS["mmdet"], strict=False)


def _as_d2(truth: VocTruth, found: Detections | None) -> Matched:
    """IoU of what detectron2 writes to text files of VOC's 1-based boxes and reads back, beyond the threshold."""
    boxes, labels, scores = _of(found)
    # Adding 1 stays in float32, as there.
    text: Floats = np.array([float(f"{v:.1f}") for v in (boxes + np.float32(1)).ravel().tolist()]).reshape(-1, 4)
    kept: Floats = np.array([float(f"{v:.3f}") for v in scores.tolist()])
    objects = (truth.boxes.astype(np.float64) + 1, truth.labels, truth.difficult)
    return _match(*objects, text, labels, kept, THRESHOLDS["d2"], strict=True)


def _of(found: Detections | None) -> tuple[Floats, Whole, Floats]:
    if found is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    return found.boxes.astype(np.float32), found.labels.astype(np.int64), found.scores.astype(np.float32)


def _match(
    objects: Floats,
    owners: NDArray[np.integer[Any]],
    difficult: NDArray[np.bool_],
    boxes: Floats,
    labels: Whole,
    scores: Floats,
    thresholds: tuple[float, ...],
    *,
    strict: bool,
) -> Matched:
    """Give each detection the object of its class that it overlaps most; the best of an object's is its hit."""
    order = np.argsort(-scores, kind="stable")
    boxes, labels, scores = boxes[order], labels[order], scores[order]
    if not len(objects) or not len(boxes):
        nothing = np.zeros(len(boxes), np.int64)
        return Matched(labels, scores, nothing, nothing)
    ious = np.where(labels[:, None] == owners[None, :], overlap(boxes, objects), -1.0)
    target = ious.argmax(axis=1)
    best, levels = ious.max(axis=1)[None, :], np.array(thresholds)[:, None]
    near = best > levels if strict else best >= levels
    ignored = near & difficult[target]
    hit = near & ~ignored
    for row in hit:  # the best detection of an object is its hit, every later one a mistake
        rows = np.flatnonzero(row)
        first = rows[np.unique(target[rows], return_index=True)[1]]
        row[:] = False
        row[first] = True
    bits = 1 << np.arange(len(thresholds), dtype=np.int64)
    return Matched(labels, scores, bits @ hit, bits @ ignored)


def overlap(boxes: Floats, objects: Floats) -> Floats:
    """IoU (n, m) of (n, 4) and (m, 4) boxes of inclusive pixel indices: a width is right - left + 1.

    Example:
        >>> overlap(np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([[0.0, 0.0, 9.0, 4.0]]))
        array([[0.5]])
    """
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], objects[None, :, 2:])
    common = np.prod(np.maximum(high - low + 1, 0), axis=2)
    mine = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    theirs = np.prod(objects[:, 2:] - objects[:, :2] + 1, axis=1)
    union = mine[:, None] + theirs[None, :] - common
    return np.asarray(common / np.maximum(union, 1e-6))
