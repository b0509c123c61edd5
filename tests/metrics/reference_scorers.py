"""The packages that score COCO, for tests and benchmarks: the same annotations and detections in, the same numbers out.

pycocotools is the reference. rtx gives its numbers to the last bit, and so does hotcoco; faster-coco-eval to 1e-9.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from rtx.metrics.coco import ITEMS, MAX_DETECTIONS, Detections, coco_columns
from rtx.metrics.coco_pairs import Side
from rtx.metrics.coco_truth import CocoTruth, ImageId
from tests.metrics.scores import by_image

REFERENCE = "pycocotools"


def reference_ap(
    package: str,
    truth: CocoTruth,
    found: Iterable[Detections],
    categories: Sequence[int],
    *,
    kinds: Sequence[str] = ("bbox",),
    image_ids: Iterable[ImageId] | None = None,
) -> dict[str, float]:
    """What `CocoAP.compute` gives, by a package: a key of `PACKAGES`."""
    images = by_image(truth, found, image_ids)
    scores: dict[str, float] = {}
    for kind in kinds:
        sides = coco_columns(truth, images, categories, kind)
        names = {"height": 0, "width": 0}
        order = sorted(images, key=lambda i: (str(type(i)), i))
        sizes = [{**names, **{k: truth.images[i][k] for k in names if k in truth.images[i]}} for i in order]
        head = {
            "images": [{"id": n + 1, **size} for n, size in enumerate(sizes)],
            "categories": [{"id": i, "name": str(i)} for i in sorted(categories)],
        }
        evaluation = PACKAGES[package](kind, head, *sides)
        evaluation.params.maxDets = [MAX_DETECTIONS]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports progress by print
            evaluation.evaluate()
            evaluation.accumulate()
        precision = np.asarray(evaluation.eval["precision"], np.float64)[..., 0]  # IoU, recall, class, range of areas
        parts = [precision[..., 0], precision[0, ..., 0], precision[5, ..., 0], *(precision[..., n] for n in (1, 2, 3))]
        defined = [part[part > -1] for part in parts]
        values = [float(np.mean(part)) if part.size else math.nan for part in defined]
        scores |= dict(zip((f"{kind}_{item}" for item in ITEMS), values, strict=True))
    return scores


def _rows(side: Side) -> list[dict[str, Any]]:
    """COCO entries, images and rows numbered from 1."""
    columns = (side.images + 1, side.categories, side.boxes, side.areas, side.crowds)
    names = ("image_id", "category_id", "bbox", "area", "iscrowd")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(c.tolist() for c in columns), strict=True)]
    for n, row in enumerate(rows):
        row["id"] = n + 1  # 0 would read as "not matched"
        if side.scores is not None:
            row["score"] = float(side.scores[n])
        if side.masks is not None:
            row["segmentation"] = side.masks[n]
    return rows


def _pycocotools(kind: str, head: dict[str, Any], truth: Side, found: Side) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCOeval(*_indexed(COCO, head, truth, found), kind)


def _faster_coco_eval(kind: str, head: dict[str, Any], truth: Side, found: Side) -> Any:
    from faster_coco_eval import COCO, COCOeval_faster

    return COCOeval_faster(*_indexed(COCO, head, truth, found), kind)


def _indexed(make: Callable[[], Any], head: dict[str, Any], *sides: Side) -> list[Any]:
    """The package's own form of each side."""
    made = []
    for side in sides:
        coco = make()
        coco.dataset = {**head, "annotations": _rows(side)}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        made.append(coco)
    return made


def _hotcoco(kind: str, head: dict[str, Any], truth: Side, found: Side) -> Any:
    from hotcoco import COCO, COCOeval

    assert found.scores is not None
    annotations = COCO({**head, "annotations": _rows(truth)})
    # One array instead of a dict for each detection; the area of a row is its box's until it is told the mask's.
    table = np.column_stack([found.images + 1, found.boxes, found.scores, found.categories])
    detections = annotations.load_res(table, segmentation=None if found.masks is None else list(found.masks))
    detections.update_anns(ids=np.arange(1, len(table) + 1), area=found.areas)
    return COCOeval(annotations, detections, kind)


PACKAGES: dict[str, Callable[[str, dict[str, Any], Side, Side], Any]] = {
    "pycocotools": _pycocotools,
    "faster-coco-eval": _faster_coco_eval,
    "hotcoco": _hotcoco,
}
"""Name of the package -> what makes its evaluation of two sides."""
