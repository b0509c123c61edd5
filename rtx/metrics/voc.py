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

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue
from rtx.metrics.coco import MAX_DETECTIONS, VERSION, CocoAP, Detections, check_labels
from rtx.metrics.coco_match import ordered
from rtx.metrics.coco_truth import ImageId, read_truth
from rtx.metrics.metric import Metric
from rtx.metrics.per_image import DetectionEvidence, Measure, Ranking, trimmed
from rtx.metrics.voc_match import D2_THRESHOLDS, THRESHOLDS, VocTruth, match

__all__ = ["DEFINITIONS", "VocAP", "VocTruth", "absent_classes", "area", "as_coco", "eleven_points"]

log = logging.getLogger(__name__)

_ALL = tuple(range(len(D2_THRESHOLDS)))
MEASURES = {
    "AP50_07": Measure("mmdet", "11 points", (0,)),
    "AP50_area": Measure("mmdet", "area", (0,)),
    "AP_d2": Measure("d2", "11 points", _ALL, "zero"),
    "AP50_d2": Measure("d2", "11 points", (0,), "zero"),
    "AP75_d2": Measure("d2", "11 points", (5,), "zero"),
    "AP_coco": Measure("coco_bbox", "101 points", _ALL),
    "AP50_coco": Measure("coco_bbox", "101 points", (0,)),
    "AP75_coco": Measure("coco_bbox", "101 points", (5,)),
}
DEFINITIONS = tuple(MEASURES)
_COCO = dict(zip(DEFINITIONS[5:], ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75"), strict=True))

Floats = NDArray[np.floating[Any]]


class VocAP(Metric):
    """Mean average precision over classes, under every definition; 0 where nothing was predicted or no object counts.

    Args:
        truths: the objects of each image that may be evaluated.
        classes: class names in the order of the labels.
        headline: the definition that P, mPC and rPC are made of.

    Raises:
        UnknownName: no such definition.
        BadValue: an image is there twice, or a label is no class.
    """

    def __init__(self, truths: Iterable[VocTruth], classes: Sequence[str], *, headline: str = "AP50_07") -> None:
        super().__init__(DEFINITIONS, headline)
        images = sorted(truths, key=lambda t: str(t.image_id))
        self.truth = {t.image_id: t for t in images}
        if len(self.truth) != len(images):
            raise BadValue("an image of the ground truth is there twice; list each once")
        self.class_names = tuple(map(str, classes))
        if any(label >= len(self.class_names) for t in images for label in t.labels.tolist()):
            raise BadValue(f"ground truth has labels beyond its {len(self.class_names)} classes; name every class")
        self._coco_truth = read_truth(as_coco(images, len(self.class_names)), quiet=True)
        self._warned = False

    def add(self, image: ImageId, found: Detections | None) -> None:
        """Take the detections of an evaluated image.

        Args:
            image: its name.
            found: its detections; nothing was detected when None.

        Raises:
            BadValue: the image is not in the ground truth or comes a second time, or a label is no class.
        """
        if image not in self.truth:
            raise BadValue(f"detections of image {image!r}, which is not among the images of the ground truth")
        if found is not None:
            check_labels(found, len(self.class_names))
        self._add(image, found, broken=found is not None and found.broken)

    def truth_rows(self, images: Iterable[ImageId]) -> Iterable[tuple[str, Any]]:
        """Name and objects of each image, for `rtx.metrics.metric.truth_sha256`."""
        for t in (self.truth[image] for image in images if image in self.truth):
            columns = zip(t.labels.tolist(), t.boxes.tolist(), t.difficult.tolist(), strict=True)
            yield str(t.image_id), [(self.class_names[label], *row) for label, *row in columns]

    def flags(self) -> list[str]:
        """Whether nothing was predicted, and how many images had boxes or scores that are no numbers."""
        empty = not any(row is not None and len(row.scores) for row in self._images.values())
        return [*(["no predictions"] if empty else []), *super().flags()]

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "voc",
            "scorer_version": "rtx.voc/1",
            "ap": "AP50_07 and AP50_area as mmdet, AP_d2 as detectron2 on VOC2007, AP_coco as pycocotools",
            "coco_scorer": VERSION,
            "max_detections": MAX_DETECTIONS,  # of AP_coco; the others count every detection
            "n_classes": len(self.class_names),
        }

    def evidence(self) -> DetectionEvidence:
        """Evidence of AP, under every definition."""
        rankings, coco = self._cell()
        kept = {way: trimmed(ranking, len(THRESHOLDS[way])) for way, ranking in rankings.items()}
        return DetectionEvidence(tuple(map(str, self._in_order())), kept | coco.evidence().rankings, MEASURES)

    def diagnosis(self) -> dict[str, Any]:
        """Error types and calibration under COCO's definition, whose AP50 is `AP50_coco`; see `Metric.diagnosis`."""
        return self._cell()[1].diagnosis()

    def _scores(self) -> dict[str, float]:
        rankings, coco = self._cell()
        absent = len(absent_classes((self.truth[i] for i in self._images), len(self.class_names)))
        if absent and not self._warned:  # a property of the images, so once and not beside each of 76 cells
            log.warning("AP_d2 counts %d of %d classes without objects as 0", absent, len(self.class_names))
            self._warned = True
        found = coco.compute()
        return _average_precisions(rankings) | {name: found[theirs] for name, theirs in _COCO.items()}

    def _in_order(self) -> list[ImageId]:
        return sorted(self._images, key=str)

    def _cell(self) -> tuple[dict[str, Ranking], CocoAP]:
        """Every detection in order, for each way of matching, and COCO's part; matched once for scores and evidence."""
        if self._matched is None:
            coco = CocoAP(self._coco_truth, range(len(self.class_names)))
            for image, found in self._images.items():
                coco.add(image, {} if found is None else found)
            self._matched = {way: self._ranking(way) for way in THRESHOLDS}, coco
        cell: tuple[dict[str, Ranking], CocoAP] = self._matched
        return cell

    def _ranking(self, way: str) -> Ranking:
        ids, n_classes = self._in_order(), len(self.class_names)
        rows = [match(self.truth[i], self._images[i], way) for i in ids]
        labels, scores, hits, ignored = (
            np.concatenate([getattr(row, part) for row in rows]) for part in ("labels", "scores", "hits", "ignored")
        )
        images = np.repeat(np.arange(len(rows)), [len(row.labels) for row in rows])
        counted = np.zeros((n_classes, len(ids)), np.int64)
        for n, image in enumerate(ids):
            truth = self.truth[image]
            np.add.at(counted[:, n], truth.labels[~truth.difficult], 1)
        objects = np.column_stack([*np.nonzero(counted), counted[counted > 0]])
        return ordered(labels, images, scores, hits, ignored, objects, n_classes)


def _average_precisions(rankings: Mapping[str, Ranking]) -> dict[str, float]:
    """Each definition but COCO's as a fraction, 0 where nothing was predicted or no object counts."""
    curves = [row[0] for row in _curves(rankings["mmdet"], 1) if row]
    points = [[eleven_points(*curve) for curve in row] for row in _curves(rankings["d2"], len(D2_THRESHOLDS))]
    means = [_mean([row[t] if row else 0.0 for row in points]) for t in range(len(D2_THRESHOLDS))]
    return {
        "AP50_07": _mean([eleven_points(*curve) for curve in curves]),
        "AP50_area": _mean([area(*curve) for curve in curves]),
        "AP_d2": _mean(means),
        "AP50_d2": means[0],
        "AP75_d2": means[5],
    }


def _curves(ranking: Ranking, n_thresholds: int) -> list[list[tuple[Floats, Floats]]]:
    """For each class recall and precision after each detection, at each IoU threshold; none where no object counts."""
    n_classes = len(ranking.starts) - 1
    totals = np.bincount(ranking.objects[:, 0], ranking.objects[:, 2], n_classes)
    classes: list[list[tuple[Floats, Floats]]] = [[] for _ in range(n_classes)]
    for k in np.flatnonzero(totals).tolist():
        part = slice(ranking.starts[k], ranking.starts[k + 1])
        for t in range(n_thresholds):
            hit, ignored = (bits[part] >> t & 1 > 0 for bits in (ranking.hits, ranking.ignored))
            hits, mistakes = np.cumsum(hit), np.cumsum(~ignored & ~hit)
            classes[k].append((hits / totals[k], hits / np.maximum(hits + mistakes, np.finfo(np.float64).eps)))
    return classes


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
