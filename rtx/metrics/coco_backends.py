"""Packages that score COCO behind one switch: the same columns in, the same precisions out.

rtx scores COCO itself, see `rtx.metrics.coco_match`. These packages are the check of that, and a choice (`--scorer`).
`tests/metrics/test_coco_backends.py` pins that pycocotools (the reference) and hotcoco give rtx's numbers to the last
bit on generated and on real data, and faster-coco-eval to 1e-9; the one that runs is in the protocol card.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import MissingDependency, unknown_name
from rtx.metrics.coco_truth import Rle

Floats = NDArray[np.float64]

OWN = "rtx"
REFERENCE = "pycocotools"


@dataclass(frozen=True)
class Side:
    """Annotations or detections of one kind, as columns.

    Attributes:
        images: (n,) index of the image.
        categories: (n,) category id.
        boxes: (n, 4) left, top, width, height.
        areas: (n,) in pixels; they decide which of small, medium and large a row is.
        crowds: (n,) 1 for regions of many objects; all 0 for detections.
        scores: (n,), None for annotations.
        masks: n run-length masks, None where boxes are scored.
    """

    images: NDArray[np.int64]
    categories: NDArray[np.int64]
    boxes: Floats
    areas: Floats
    crowds: NDArray[np.int64]
    scores: Floats | None = None
    masks: Sequence[Rle] | None = None

    def rows(self) -> list[dict[str, Any]]:
        """The same as COCO entries, images and rows numbered from 1."""
        columns = (self.images + 1, self.categories, self.boxes, self.areas, self.crowds)
        names = ("image_id", "category_id", "bbox", "area", "iscrowd")
        rows = [dict(zip(names, row, strict=True)) for row in zip(*(c.tolist() for c in columns), strict=True)]
        scores = None if self.scores is None else self.scores.tolist()
        for n, row in enumerate(rows):
            row["id"] = n + 1  # 0 would read as "not matched"
            if scores is not None:
                row["score"] = scores[n]
            if self.masks is not None:
                row["segmentation"] = self.masks[n]
        return rows


def defined_mean(part: Floats) -> float:
    """Mean over the entries other than -1; NaN if there are none."""
    defined = part[part > -1]
    return float(np.mean(defined)) if defined.size else math.nan


def choose_backend(name: str | None = None) -> str:
    """The COCO scorer to use: rtx's own, or the package that was asked for.

    Raises:
        UnknownName: no such scorer.
        MissingDependency: the package is not installed.
    """
    if name is None or name == OWN:
        return OWN
    if name not in BACKENDS:
        raise unknown_name("COCO scorer", name, place="rtx.metrics.coco_backends", choices=[OWN, *BACKENDS])
    if util.find_spec(name.replace("-", "_")) is None:
        raise MissingDependency(f"COCO scorer {name!r} is not installed; pip install {name}, or choose another")
    return name


def version(name: str) -> str:
    """Name and version of a scorer, as in the protocol card."""
    return "rtx.coco/1" if name == OWN else f"{name} {metadata.version(name)}"


def evaluate(
    backend: str,
    kind: str,
    sizes: Sequence[tuple[int, int] | None],
    categories: Sequence[int],
    truth: Side,
    found: Side,
    max_detections: int,
) -> Floats:
    """Match detections with annotations and accumulate precision.

    Args:
        backend: a key of `BACKENDS`.
        kind: `bbox` or `segm`.
        sizes: (height, width) of each image, None where it is not known (boxes need none).
        categories: the category ids that count.
        truth: the annotations.
        found: the detections, those of one image in the detector's order, which decides between equal scores.
        max_detections: how many detections of a class in an image count.

    Returns:
        Precision (10 IoU thresholds, 101 recall points, classes, 4 area ranges); -1 where no object defines it.
    """
    images: list[dict[str, Any]] = [{"id": n + 1} for n in range(len(sizes))]
    for image, size in zip(images, sizes, strict=True):
        image["height"], image["width"] = size or (0, 0)
    head = {"images": images, "categories": [{"id": i, "name": str(i)} for i in sorted(categories)]}
    evaluation = BACKENDS[backend](kind, head, truth, found)
    evaluation.params.maxDets = [max_detections]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports progress by print
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"], np.float64)[..., 0]


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
        coco.dataset = {**head, "annotations": side.rows()}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        made.append(coco)
    return made


def _hotcoco(kind: str, head: dict[str, Any], truth: Side, found: Side) -> Any:
    from hotcoco import COCO, COCOeval

    assert found.scores is not None
    annotations = COCO({**head, "annotations": truth.rows()})
    # One array instead of a dict for each detection; the area of a row is its box's until the mask's is set.
    table = np.column_stack([found.images + 1, found.boxes, found.scores, found.categories])
    detections = annotations.load_res(table, segmentation=None if found.masks is None else list(found.masks))
    detections.update_anns(ids=np.arange(1, len(table) + 1), area=found.areas)
    return COCOeval(annotations, detections, kind)


BACKENDS: dict[str, Callable[[str, dict[str, Any], Side, Side], Any]] = {
    "pycocotools": _pycocotools,
    "faster-coco-eval": _faster_coco_eval,
    "hotcoco": _hotcoco,
}
"""Name of the package -> what makes its evaluation of two sides."""
