"""The evidence behind every VOC average precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rtx.evaluation.coco import Detections
from rtx.evaluation.coco_match import coco_evidence, ordered
from rtx.evaluation.coco_truth import read_truth
from rtx.evaluation.evidence import DetectionEvidence, Measure, Ranking
from rtx.evaluation.voc import D2_THRESHOLDS, Matches, VocTruth, as_coco, match_d2, match_mmdet, outcomes

MEASURES = {
    "AP50_07": Measure("mmdet", "11 points", (0,)),
    "AP50_area": Measure("mmdet", "area", (0,)),
    "AP_d2": Measure("d2", "11 points", tuple(range(len(D2_THRESHOLDS))), "zero"),
    "AP50_d2": Measure("d2", "11 points", (0,), "zero"),
    "AP75_d2": Measure("d2", "11 points", (5,), "zero"),
}


def voc_evidence(truths: Iterable[VocTruth], detections: Iterable[Detections], n_classes: int) -> DetectionEvidence:
    """What AP under every definition of `rtx.evaluation.voc` is made of.

    Args:
        truths: one entry for each evaluated image.
        detections: at most one entry for each evaluated image, already accepted by `voc_ap`.
        n_classes: how many classes the labels count.
    """
    images = sorted(truths, key=lambda t: str(t.image_id))
    rows = list(detections)
    found = {d.image_id: d for d in rows}
    names = {"bbox": ("AP_coco", "AP50_coco", "AP75_coco")}
    coco = coco_evidence(read_truth(as_coco(images, n_classes), quiet=True), rows, range(n_classes), names=names)
    rankings = {
        "mmdet": _ranking([match_mmdet(images, found, c) for c in range(n_classes)], images, [0.5], strict=False),
        "d2": _ranking([match_d2(images, found, c) for c in range(n_classes)], images, D2_THRESHOLDS, strict=True),
    }
    ids = tuple(str(t.image_id) for t in images)
    assert ids == coco.image_ids
    return DetectionEvidence(ids, rankings | coco.rankings, MEASURES | coco.measures)


def _ranking(
    matches: Sequence[Matches], images: Sequence[VocTruth], thresholds: Sequence[float], *, strict: bool
) -> Ranking:
    parts, objects = [], []
    for label, row in enumerate(matches):
        hits, ignored = np.zeros(len(row.overlap), np.int64), np.zeros(len(row.overlap), np.int64)
        for t, threshold in enumerate(thresholds):
            true, aside = outcomes(row, threshold, strict=strict)
            hits |= true.astype(np.int64) << t
            ignored |= aside.astype(np.int64) << t
        parts.append((np.full(len(hits), label, np.int64), row.images, row.scores, hits, ignored))
        for n, truth in enumerate(images):
            counted = int(np.sum((truth.labels == label) & ~truth.difficult))
            if counted:
                objects.append((label, n, counted))
    classes, places, scores, hits, ignored = (np.concatenate(column) for column in zip(*parts, strict=True))
    table = np.array(objects, np.int64).reshape(-1, 3)
    return ordered(classes, places, scores, hits, ignored, table, len(matches), len(thresholds))
