"""Average precision on PASCAL VOC, under each of the definitions that published numbers use.

`AP50_07`: IoU 0.5, precision averaged at 11 recall points (the VOC2007 protocol). `AP50_area`: IoU 0.5, area under the
precision envelope (VOC2010 and later). Both match as mmdet does: IoU >= 0.5 in float32, widths + 1, difficult objects
ignored, classes without a countable object left out of the mean.

`AP_d2`: what detectron2 prints as AP for VOC2007: the mean over IoU .50:.05:.95 of the 11-point AP, IoU strictly
greater, scores kept to 3 decimals and boxes to 1, and a class without a countable object counts as 0. `AP50_d2` and
`AP75_d2` are its parts.

`AP_coco`, `AP50_coco`, `AP75_coco`: COCO's definition on VOC boxes; difficult objects become crowds, as mmdet does it.

Boxes are mmdet's: VOC's 1-based pixel indices minus 1 on all four sides, and detections in the same frame. Equal scores
keep the order of image ids and of the detector's list; both references leave that to an unstable sort.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, DataError, unknown_name
from rtx.evaluation.coco import Detections, coco_ap
from rtx.evaluation.coco_truth import ImageId, read_truth

DEFINITIONS = ("AP50_07", "AP50_area", "AP_d2", "AP50_d2", "AP75_d2", "AP_coco", "AP50_coco", "AP75_coco")
D2_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))

Floats = NDArray[np.floating[Any]]


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


def voc_ap(
    truths: Iterable[VocTruth],
    detections: Iterable[Detections],
    n_classes: int,
    *,
    definitions: Sequence[str] = DEFINITIONS,
    backend: str | None = None,
) -> dict[str, float]:
    """Mean average precision over classes.

    Args:
        truths: one entry for each evaluated image.
        detections: at most one entry for each evaluated image; images without one have no detections.
        n_classes: how many classes the labels count.
        definitions: which of `DEFINITIONS`.
        backend: which package scores COCO's definition; the fastest that is there when None.

    Returns:
        Definition -> fraction, 0 where nothing was predicted or no object counts (NaN for COCO's, without objects).

    Raises:
        BadValue: there is no image; an image comes twice or is not among the evaluated ones; a label is no class.
        UnknownName: no such definition.
    """
    for name in definitions:
        if name not in DEFINITIONS:
            raise unknown_name("AP definition", name, place="rtx.evaluation.voc.DEFINITIONS", choices=DEFINITIONS)
    images = sorted(truths, key=lambda t: str(t.image_id))
    rows = list(detections)
    found = {d.image_id: d for d in rows}
    ids = {t.image_id for t in images}
    if not images:
        raise BadValue("AP over no image: process at least one")
    if len(ids) != len(images) or len(found) != len(rows):
        raise BadValue("an image was scored twice; a sampler that pads must be trimmed")
    for image_id, labels in [(d.image_id, d.labels) for d in rows] + [(t.image_id, t.labels) for t in images]:
        if image_id not in ids:
            raise BadValue(f"detections of image {image_id!r}, which is not among the evaluated images")
        if len(labels) and not 0 <= labels.min() <= labels.max() < n_classes:
            raise BadValue(f"image {image_id!r}: labels {labels.min()} to {labels.max()} of {n_classes} classes")
    scores: dict[str, float] = {}
    if {"AP50_07", "AP50_area"} & set(definitions):
        curves = [_curves(match_mmdet(images, found, c), [0.5], strict=False)[0] for c in range(n_classes)]
        counted = [curve for curve in curves if curve is not None]
        scores["AP50_07"] = _mean([eleven_points(*curve) for curve in counted])
        scores["AP50_area"] = _mean([area(*curve) for curve in counted])
    if {"AP_d2", "AP50_d2", "AP75_d2"} & set(definitions):
        table = [_curves(match_d2(images, found, c), D2_THRESHOLDS, strict=True) for c in range(n_classes)]
        by_class = [[0.0 if curve is None else eleven_points(*curve) for curve in row] for row in table]
        means = [_mean(list(column)) for column in zip(*by_class, strict=True)]
        scores |= {"AP_d2": _mean(means), "AP50_d2": means[0], "AP75_d2": means[5]}
    if {"AP_coco", "AP50_coco", "AP75_coco"} & set(definitions):
        truth = read_truth(as_coco(images, n_classes), quiet=True)
        coco = coco_ap(truth, rows, range(n_classes), backend=backend)
        scores |= {"AP_coco": coco["bbox_mAP"], "AP50_coco": coco["bbox_mAP_50"], "AP75_coco": coco["bbox_mAP_75"]}
    return {name: scores[name] for name in definitions}


def absent_classes(truths: Iterable[VocTruth], n_classes: int) -> list[int]:
    """Classes without an object that counts: left out of the mean by mmdet's and COCO's AP, a zero in detectron2's."""
    present = {int(label) for truth in truths for label in truth.labels[~truth.difficult]}
    return [c for c in range(n_classes) if c not in present]


def eleven_points(recall: Floats, precision: Floats) -> float:
    """Mean of the best precision at recall 0, 0.1 ... 1 and beyond.

    Example:
        >>> eleven_points(np.array([0.5]), np.array([1.0])) == 6 / 11
        True
    """
    # np.arange's 0.30000000000000004 decides whether 3 of 10 reach the fourth point; both references use it.
    best = [precision[recall >= point].max(initial=0.0) for point in np.arange(0, 1 + 1e-3, 0.1)]
    return math.fsum(best) / 11


def area(recall: Floats, precision: Floats) -> float:
    """Area under the curve after making precision non-increasing in recall.

    Example:
        >>> area(np.array([0.5, 0.5]), np.array([1.0, 0.5]))
        0.5
    """
    edges = np.concatenate([[0.0], recall])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(edges) * envelope))


@dataclass(frozen=True)
class Matches:
    """Detections of one class over all images, best score first.

    Attributes:
        overlap: (n,) IoU with the nearest object of the class in the image, -1 where there is none.
        target: (n,) which object that is, numbered over all images.
        difficult: flags of those objects.
        images: (n,) which image the detection is of, numbered in order of image ids.
        scores: (n,) its score.
    """

    overlap: Floats
    target: NDArray[np.intp]
    difficult: NDArray[np.bool_]
    images: NDArray[np.intp]
    scores: Floats


def _curves(matches: Matches, thresholds: Sequence[float], *, strict: bool) -> list[tuple[Floats, Floats] | None]:
    """Recall and precision after each detection, for each IoU threshold; None where no object counts."""
    n_objects = int(np.sum(~matches.difficult))
    if not n_objects:
        return [None] * len(thresholds)
    curves: list[tuple[Floats, Floats] | None] = []
    for threshold in thresholds:
        true, ignored = outcomes(matches, threshold, strict=strict)
        tp, fp = np.cumsum(true), np.cumsum(~ignored & ~true)
        curves.append((tp / n_objects, tp / np.maximum(tp + fp, np.finfo(np.float64).eps)))
    return curves


def outcomes(matches: Matches, threshold: float, *, strict: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections are hits at an IoU threshold, and which are neither hit nor mistake."""
    near = matches.overlap > threshold if strict else matches.overlap >= threshold
    ignored = near & _at(matches.difficult, matches.target)
    hits = np.flatnonzero(near & ~ignored)
    # The best-scored detection of an object is its hit, every later one a mistake.
    first = hits[np.unique(matches.target[hits], return_index=True)[1]]
    true = np.zeros(len(near), bool)
    true[first] = True
    return true, ignored


def _at(flags: NDArray[np.bool_], index: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.where(index >= 0, flags[np.maximum(index, 0)], False)


def match_mmdet(images: list[VocTruth], found: Mapping[ImageId, Detections], label: int) -> Matches:
    """Detections of one class against the objects of their image, as mmdet matches."""
    parts = []
    for truth in images:
        keep = truth.labels == label
        order = np.argsort(
            truth.difficult[keep], kind="stable"
        )  # where two overlap alike, the one that counts is first
        parts.append(
            (truth.boxes[keep][order].astype(np.float32), truth.difficult[keep][order], *_of(found, truth, label))
        )
    return _nearest(parts)


def match_d2(images: list[VocTruth], found: Mapping[ImageId, Detections], label: int) -> Matches:
    """Detections of one class against the objects of their image, as detectron2 matches."""
    parts = []
    for truth in images:
        keep = truth.labels == label
        boxes, scores = _of(found, truth, label)
        # It writes text files of VOC's 1-based boxes and reads them back; adding 1 stays in float32, as there.
        text: Floats = np.array([[float(f"{v:.1f}") for v in box] for box in boxes + np.float32(1)]).reshape(-1, 4)
        kept: Floats = np.array([float(f"{v:.3f}") for v in scores.tolist()])
        parts.append((truth.boxes[keep].astype(np.float64) + 1, truth.difficult[keep], text, kept))
    return _nearest(parts)


def _of(found: Mapping[ImageId, Detections], truth: VocTruth, label: int) -> tuple[Floats, Floats]:
    image = found.get(truth.image_id)
    if image is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    keep = image.labels == label
    return image.boxes[keep].astype(np.float32), image.scores[keep].astype(np.float32)


def _nearest(parts: Sequence[tuple[Floats, NDArray[np.bool_], Floats, Floats]]) -> Matches:
    overlaps, targets, n_objects = [], [], 0
    for objects, _, boxes, _ in parts:
        if len(objects):
            ious = overlap(boxes, objects)
            overlaps.append(ious.max(axis=1, initial=-1))
            targets.append(ious.argmax(axis=1) + n_objects)
        else:
            overlaps.append(np.full(len(boxes), -1.0))
            targets.append(np.full(len(boxes), -1))
        n_objects += len(objects)
    scores = np.concatenate([scores for *_, scores in parts])
    order = np.argsort(-scores, kind="stable")
    return Matches(
        np.concatenate(overlaps)[order],
        np.concatenate(targets).astype(np.intp)[order],
        np.concatenate([difficult for _, difficult, _, _ in parts]),
        np.repeat(np.arange(len(parts)), [len(boxes) for _, _, boxes, _ in parts])[order],
        scores[order],
    )


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


def as_coco(images: Sequence[VocTruth], n_classes: int) -> dict[str, Any]:
    """The objects as a COCO annotation file; difficult ones become crowds, as mmdet does it."""
    annotations = []
    for truth in images:
        for box, label, difficult in zip(truth.boxes.tolist(), truth.labels, truth.difficult, strict=True):
            left, top, right, bottom = box
            row = {"image_id": truth.image_id, "category_id": int(label), "iscrowd": int(difficult), "id": None}
            annotations.append({**row, "bbox": [left, top, right - left, bottom - top]})
    return {
        "images": [{"id": truth.image_id} for truth in images],
        "categories": [{"id": c, "name": str(c)} for c in range(n_classes)],
        "annotations": annotations,
    }


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
