"""COCO average precision of boxes and masks at full precision, computed by pycocotools.

What differs from calling pycocotools with two files: annotations are renumbered, because it takes annotation id 0 for
"not matched" and merges annotations that share an id; only the named images count; no prediction at all is a score of
0; a statistic without ground truth is NaN instead of -1; and what it would crash on or skip silently is an error.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, DataError
from rtx.evaluation.coco_truth import CocoTruth, ImageId, Rle, image_size, to_rle

log = logging.getLogger(__name__)

KINDS = ("bbox", "segm")
ITEMS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class Detections:
    """What a detector says about one image.

    Attributes:
        image_id: the id of the image in the ground truth.
        boxes: (n, 4) left, top, right, bottom in pixels.
        scores: (n,).
        labels: (n,) indices into the classes.
        masks: n run-length masks of the image's size, or None from a detector without masks.
        mask_scores: (n,) scores of the masks where they differ from those of the boxes.
    """

    image_id: ImageId
    boxes: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]
    masks: Sequence[Rle] | None = None
    mask_scores: NDArray[np.floating[Any]] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together and numbers that cannot be ranked."""
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.labels.shape != (n,):
            raise BadValue(
                f"image {self.image_id!r}: {n} scores, boxes {self.boxes.shape} and labels {self.labels.shape} "
                "do not belong together; expected (n,), (n, 4) and (n,)"
            )
        for name, value in (("masks", self.masks), ("mask scores", self.mask_scores)):
            if value is not None and len(value) != n:
                raise BadValue(f"image {self.image_id!r}: {len(value)} {name} for {n} boxes")
        for name, array in (("boxes", self.boxes), ("scores", self.scores), ("mask scores", self.mask_scores)):
            if array is not None and not np.isfinite(array).all():
                raise BadValue(f"image {self.image_id!r}: the model's {name} hold NaN or infinity; it diverged")


def coco_ap(
    truth: CocoTruth,
    detections: Iterable[Detections],
    categories: Sequence[int],
    *,
    image_ids: Iterable[ImageId] | None = None,
    kinds: Sequence[str] = ("bbox",),
    max_detections: int = MAX_DETECTIONS,
) -> dict[str, float]:
    """Average precision over IoU .50:.05:.95, and its parts.

    Args:
        truth: the ground truth.
        detections: at most one entry for each evaluated image; images without one have no detections.
        categories: category id of each label, see `rtx.evaluation.coco_truth.category_ids`.
        image_ids: the evaluated images; every image of the ground truth when None.
        kinds: `bbox`, `segm` or both.
        max_detections: how many detections of a class in an image count, best first.

    Returns:
        `<kind>_<item>` for each item of `ITEMS`, fractions; NaN where no ground truth defines it.

    Raises:
        BadValue: detections of an image that is not evaluated, twice of one image, with an unknown label, without masks
            though `segm` is asked, or with masks of another size than the image.
        DataError: an evaluated image is not in the ground truth, or an annotation has no usable segmentation.
    """
    ids = sorted(truth.images if image_ids is None else set(image_ids), key=lambda i: (str(type(i)), i))
    absent = [i for i in ids if i not in truth.images]
    if absent:
        raise DataError(f"{truth.place}: lacks {len(absent)} of the evaluated images, the first is {absent[0]!r}")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise BadValue(f"COCO scores are of kind {' or '.join(KINDS)}, not {', '.join(unknown)}")
    evaluated = set(ids)
    found = list(detections)
    _check_detections(found, evaluated, len(categories))
    if not any(len(d.scores) for d in found):
        log.warning("no prediction in any of %d images: every score is 0", len(ids))
    annotations = [a for a in truth.annotations if a["image_id"] in evaluated]
    scores: dict[str, float] = {}
    for kind in kinds:
        if kind == "segm":
            for annotation in annotations:
                to_rle(annotation, truth)
        results = _results(found, kind, categories, truth)
        precision = _precision(truth, annotations, results, kind, ids, categories, max_detections)
        scores |= {f"{kind}_{name}": value for name, value in _items(precision).items()}
    return scores


def _items(precision: NDArray[np.float64]) -> dict[str, float]:
    """Means over (IoU, recall, class), leaving out -1: precision is (IoU, recall, class, area, max detections)."""

    def mean(part: NDArray[np.float64]) -> float:
        defined = part[part > -1]
        return float(np.mean(defined)) if defined.size else math.nan

    cube = precision[..., 0]
    parts = (cube[..., 0], cube[0, ..., 0], cube[5, ..., 0], cube[..., 1], cube[..., 2], cube[..., 3])
    return dict(zip(ITEMS, map(mean, parts), strict=True))


def _precision(
    truth: CocoTruth,
    annotations: list[dict[str, Any]],
    results: list[dict[str, Any]],
    kind: str,
    ids: list[ImageId],
    categories: Sequence[int],
    max_detections: int,
) -> NDArray[np.float64]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    head = {"images": [truth.images[i] for i in ids], "categories": [{"id": i} for i in categories]}
    with contextlib.redirect_stdout(io.StringIO()):  # it reports progress by print
        sides = []
        for entries in (annotations, results):
            side = COCO()
            side.dataset = {**head, "annotations": entries}
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, kind)
        evaluation.params.imgIds = ids
        evaluation.params.catIds = list(categories)
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"], np.float64)


def _results(found: list[Detections], kind: str, categories: Sequence[int], truth: CocoTruth) -> list[dict[str, Any]]:
    from pycocotools import mask as codec

    entries: list[dict[str, Any]] = []
    for image in found:
        scores = image.mask_scores if kind == "segm" and image.mask_scores is not None else image.scores
        if kind == "segm":
            _check_masks(image, truth)
        corners = image.boxes.astype(np.float64)  # widths from float32 corners, subtracted in float64 as mmdet does
        for n, label in enumerate(image.labels.tolist()):
            entry = {
                "id": len(entries) + 1,
                "image_id": image.image_id,
                "category_id": categories[label],
                "score": float(scores[n]),
                "iscrowd": 0,
            }
            if kind == "bbox":
                left, top, right, bottom = corners[n].tolist()
                entry["bbox"] = [left, top, right - left, bottom - top]
                entry["area"] = (right - left) * (bottom - top)
            else:
                assert image.masks is not None
                entry["segmentation"] = image.masks[n]
                entry["area"] = float(codec.area(image.masks[n]))
            entries.append(entry)
    return entries


def _check_detections(found: list[Detections], evaluated: set[ImageId], n_classes: int) -> None:
    seen: set[ImageId] = set()
    for image in found:
        if image.image_id not in evaluated:
            raise BadValue(f"detections of image {image.image_id!r}, which is not among the evaluated images")
        if image.image_id in seen:
            raise BadValue(f"image {image.image_id!r} was scored twice; a sampler that pads must be trimmed")
        seen.add(image.image_id)
        if len(image.labels) and not 0 <= image.labels.min() <= image.labels.max() < n_classes:
            raise BadValue(
                f"image {image.image_id!r}: labels {image.labels.min()} to {image.labels.max()} of {n_classes}; "
                "the head of the model has another number of classes than the data set"
            )


def _check_masks(image: Detections, truth: CocoTruth) -> None:
    if image.masks is None and len(image.scores):
        raise BadValue(f"image {image.image_id!r}: mask AP was asked for, but the model predicts no masks")
    size = image_size(truth, image.image_id)
    for mask in image.masks or ():
        if tuple(mask["size"]) != size:  # pycocotools would count it as a miss without a word
            raise BadValue(f"image {image.image_id!r}: a mask of {tuple(mask['size'])} for an image of {size} (H, W)")
