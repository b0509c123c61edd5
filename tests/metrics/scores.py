"""Metrics of all images at once, where a test has them in a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rtx.metrics.coco import CocoAP, Detections
from rtx.metrics.coco_truth import CocoTruth, ImageId
from rtx.metrics.per_image import DetectionEvidence
from rtx.metrics.voc import VocAP
from rtx.metrics.voc_match import VocTruth


def by_image(
    truth: CocoTruth, found: Iterable[Detections], image_ids: Iterable[ImageId] | None = None
) -> dict[ImageId, Detections | None]:
    """The evaluated images (all when None) with their detections."""
    rows: dict[ImageId, Detections | None] = dict.fromkeys(truth.images if image_ids is None else image_ids)
    return rows | {d.image_id: d for d in found}


def coco_metric(
    truth: CocoTruth,
    found: Iterable[Detections],
    categories: Sequence[int],
    *,
    image_ids: Iterable[ImageId] | None = None,
    **options: Any,
) -> CocoAP:
    metric, rows = CocoAP(truth, categories, **options), list(found)
    for row in rows:
        metric.add(row.image_id, row)
    for image, there in by_image(truth, rows, image_ids).items():
        if there is None:
            metric.add(image, {})
    return metric


def coco_ap(*args: Any, **options: Any) -> dict[str, float]:
    return coco_metric(*args, **options).compute()


def coco_evidence(*args: Any, **options: Any) -> DetectionEvidence:
    return coco_metric(*args, **options).evidence()


def voc_metric(truths: Iterable[VocTruth], found: Iterable[Detections], n_classes: int) -> VocAP:
    truths, rows = list(truths), list(found)
    metric = VocAP(truths, [str(n) for n in range(n_classes)])
    for row in rows:
        metric.add(row.image_id, row)
    for truth in truths:
        if truth.image_id not in {row.image_id for row in rows}:
            metric.add(truth.image_id, None)
    return metric


def voc_ap(*args: Any, **options: Any) -> dict[str, float]:
    return voc_metric(*args, **options).compute()


def voc_evidence(*args: Any, **options: Any) -> DetectionEvidence:
    return voc_metric(*args, **options).evidence()
