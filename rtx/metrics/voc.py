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

All but COCO's are made of `rtx.metrics.voc_match.VocCounts`, which add up in any order; COCO's are computed by the
package that scores COCO.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, unknown_name
from rtx.metrics.coco import Detections, coco_ap
from rtx.metrics.coco_truth import read_truth
from rtx.metrics.voc_match import D2_THRESHOLDS, THRESHOLDS, VocCounts, VocTruth

__all__ = [
    "COUNTED",
    "DEFINITIONS",
    "VocTruth",
    "absent_classes",
    "as_coco",
    "count",
    "counted_ap",
    "voc_ap",
    "voc_scores",
]

DEFINITIONS = ("AP50_07", "AP50_area", "AP_d2", "AP50_d2", "AP75_d2", "AP_coco", "AP50_coco", "AP75_coco")
COUNTED = DEFINITIONS[:5]
"""The definitions that are made of `VocCounts`."""
_COCO = dict(zip(DEFINITIONS[5:], ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75"), strict=True))

Floats = NDArray[np.floating[Any]]


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
            raise unknown_name("AP definition", name, place="rtx.metrics.voc.DEFINITIONS", choices=DEFINITIONS)
    truths, detections = list(truths), list(detections)
    return voc_scores(
        count(truths, detections, n_classes), truths, detections, definitions=definitions, backend=backend
    )


def voc_scores(
    counts: VocCounts,
    truths: Iterable[VocTruth],
    detections: Iterable[Detections],
    *,
    definitions: Sequence[str] = DEFINITIONS,
    backend: str | None = None,
) -> dict[str, float]:
    """The same from images that are counted already; what they held serves COCO's definition alone."""
    wanted = set(definitions)
    scores = counted_ap(counts) if wanted & set(COUNTED) else {}
    if wanted & set(_COCO):
        images = sorted(truths, key=lambda t: str(t.image_id))
        truth = read_truth(as_coco(images, counts.n_classes), quiet=True)
        found = coco_ap(truth, list(detections), range(counts.n_classes), backend=backend)
        scores |= {name: found[theirs] for name, theirs in _COCO.items()}
    return {name: scores[name] for name in definitions}


def count(truths: Iterable[VocTruth], detections: Iterable[Detections], n_classes: int) -> VocCounts:
    """The counts of images, see `voc_ap`.

    Raises:
        BadValue: there is no image; an image comes twice or is not among the evaluated ones; a label is no class.
    """
    images, rows = list(truths), list(detections)
    found = {d.image_id: d for d in rows}
    if not images:
        raise BadValue("AP over no image: process at least one")
    if len(found) != len(rows):
        raise BadValue("an image was scored twice; a sampler that pads must be trimmed")
    absent = found.keys() - {t.image_id for t in images}
    if absent:
        raise BadValue(f"detections of image {min(absent, key=str)!r}, which is not among the evaluated images")
    return VocCounts.merged((VocCounts.of(t, found.get(t.image_id), n_classes) for t in images), n_classes)


def counted_ap(counts: VocCounts) -> dict[str, float]:
    """Each of `COUNTED` as a fraction, 0 where nothing was predicted or no object counts."""
    curves = [row[0] for row in _curves(counts, "mmdet") if row is not None]
    table = [row or [] for row in _curves(counts, "d2")]
    by_class = [[eleven_points(*curve) for curve in row] or [0.0] * len(D2_THRESHOLDS) for row in table]
    means = [_mean(list(column)) for column in zip(*by_class, strict=True)] or [0.0] * len(D2_THRESHOLDS)
    return {
        "AP50_07": _mean([eleven_points(*curve) for curve in curves]),
        "AP50_area": _mean([area(*curve) for curve in curves]),
        "AP_d2": _mean(means),
        "AP50_d2": means[0],
        "AP75_d2": means[5],
    }


def _curves(counts: VocCounts, way: str) -> list[list[tuple[Floats, Floats]] | None]:
    """For each class recall and precision after each detection, at each IoU threshold; None where no object counts."""
    ranked = counts.ranked(way)
    classes: list[list[tuple[Floats, Floats]] | None] = []
    for index, total in enumerate(ranked.totals.tolist()):
        if not total:
            classes.append(None)
            continue
        part = slice(ranked.starts[index], ranked.starts[index + 1])
        curves: list[tuple[Floats, Floats]] = []
        for t in range(len(THRESHOLDS[way])):
            true, ignored = (bits[part] >> t & 1 > 0 for bits in (ranked.matched.hits, ranked.matched.ignored))
            tp, fp = np.cumsum(true), np.cumsum(~ignored & ~true)
            curves.append((tp / total, tp / np.maximum(tp + fp, np.finfo(np.float64).eps)))
        classes.append(curves)
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
