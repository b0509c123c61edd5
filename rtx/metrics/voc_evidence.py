"""The evidence behind every VOC average precision."""

from __future__ import annotations

from collections.abc import Iterable

from rtx.metrics.coco import Detections
from rtx.metrics.coco_match import coco_evidence, ordered
from rtx.metrics.coco_truth import read_truth
from rtx.metrics.per_image import DetectionEvidence, Measure, Ranking
from rtx.metrics.voc import as_coco, count
from rtx.metrics.voc_match import D2_THRESHOLDS, THRESHOLDS, VocCounts, VocTruth

MEASURES = {
    "AP50_07": Measure("mmdet", "11 points", (0,)),
    "AP50_area": Measure("mmdet", "area", (0,)),
    "AP_d2": Measure("d2", "11 points", tuple(range(len(D2_THRESHOLDS))), "zero"),
    "AP50_d2": Measure("d2", "11 points", (0,), "zero"),
    "AP75_d2": Measure("d2", "11 points", (5,), "zero"),
}


def voc_evidence(
    truths: Iterable[VocTruth],
    detections: Iterable[Detections],
    n_classes: int,
    *,
    counts: VocCounts | None = None,
) -> DetectionEvidence:
    """What AP under every definition of `rtx.metrics.voc` is made of.

    Args:
        truths: one entry for each evaluated image.
        detections: at most one entry for each evaluated image, already accepted by `voc_ap`.
        n_classes: how many classes the labels count.
        counts: the counts of these images, where they are there already.
    """
    images = sorted(truths, key=lambda t: str(t.image_id))
    rows = list(detections)
    counts = counts or count(images, rows, n_classes)
    names = {"bbox": ("AP_coco", "AP50_coco", "AP75_coco")}
    coco = coco_evidence(read_truth(as_coco(images, n_classes), quiet=True), rows, range(n_classes), names=names)
    assert counts.names == coco.image_ids
    rankings = {way: _ranking(counts, way) for way in THRESHOLDS}
    return DetectionEvidence(counts.names, rankings | coco.rankings, MEASURES | coco.measures)


def _ranking(counts: VocCounts, way: str) -> Ranking:
    ranked = counts.ranked(way)
    found = ranked.matched
    columns = (found.labels, ranked.images, found.scores, found.hits, found.ignored)
    return ordered(*columns, counts.objects(), counts.n_classes, len(THRESHOLDS[way]))
