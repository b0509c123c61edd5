"""COCO average precision of boxes and masks at full precision, as pycocotools defines it.

What differs from calling pycocotools with two files: images and annotations are renumbered, because it takes annotation
id 0 for "not matched" and merges annotations that share an id; only the named images count; no prediction at all is a
score of 0; a statistic without ground truth is NaN instead of -1; and what it would crash on or skip silently is an
error. Which package does the work is one switch, see `rtx.metrics.coco_backends`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, DataError
from rtx.metrics.coco_backends import Floats, Side, Tables, choose_backend, defined_mean, evaluate
from rtx.metrics.coco_truth import CocoTruth, ImageId, Rle, image_size, to_rle

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


@dataclass(frozen=True)
class Columns:
    """Ground truth and detections of one kind as the scorers take them.

    Attributes:
        ids: the evaluated images, in the order in which equal scores of two images rank.
        sizes: (height, width) of each, None where it is not known.
        truth: the annotations.
        found: the detections.
    """

    ids: list[ImageId]
    sizes: list[tuple[int, int] | None]
    truth: Side
    found: Side


def coco_ap(
    truth: CocoTruth,
    detections: Iterable[Detections],
    categories: Sequence[int],
    *,
    image_ids: Iterable[ImageId] | None = None,
    kinds: Sequence[str] = ("bbox",),
    max_detections: int = MAX_DETECTIONS,
    backend: str | None = None,
) -> dict[str, float]:
    """Average precision over IoU .50:.05:.95, and its parts.

    Args:
        truth: the ground truth.
        detections: at most one entry for each evaluated image; images without one have no detections.
        categories: category id of each label, see `rtx.metrics.coco_truth.category_ids`.
        image_ids: the evaluated images; every image of the ground truth when None.
        kinds: `bbox`, `segm` or both.
        max_detections: how many detections of a class in an image count, best first.
        backend: which package does it; the fastest that is there when None.

    Returns:
        `<kind>_<item>` for each item of `ITEMS`, fractions; NaN where no ground truth defines it.

    Raises:
        BadValue: detections of an image that is not evaluated, twice of one image, with an unknown label, without masks
            though `segm` is asked, or with masks of another size than the image.
        DataError: an evaluated image is not in the ground truth, or an annotation has no usable segmentation.
    """
    backend = choose_backend(backend)
    scores: dict[str, float] = {}
    for kind, table in coco_columns(truth, detections, categories, image_ids=image_ids, kinds=kinds).items():
        tables = evaluate(backend, kind, table.sizes, categories, table.truth, table.found, [max_detections])
        scores |= {f"{kind}_{name}": value for name, value in _items(tables).items()}
    return scores


def coco_columns(
    truth: CocoTruth,
    detections: Iterable[Detections],
    categories: Sequence[int],
    *,
    image_ids: Iterable[ImageId] | None = None,
    kinds: Sequence[str] = ("bbox",),
) -> dict[str, Columns]:
    """Check ground truth and detections against each other and turn them into columns, for each kind.

    Raises:
        BadValue: as `coco_ap`.
        DataError: as `coco_ap`.
    """
    ids = sorted(truth.images if image_ids is None else set(image_ids), key=lambda i: (str(type(i)), i))
    absent = [i for i in ids if i not in truth.images]
    if absent:
        raise DataError(f"{truth.place}: lacks {len(absent)} of the evaluated images, the first is {absent[0]!r}")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise BadValue(f"COCO scores are of kind {' or '.join(KINDS)}, not {', '.join(unknown)}")
    index = {image_id: n for n, image_id in enumerate(ids)}
    found = list(detections)
    _check_detections(found, set(index), len(categories))
    if not any(len(d.scores) for d in found):
        log.warning("no prediction in any of %d images: every score is 0", len(ids))
    wanted = set(categories)
    annotations = [a for a in truth.annotations if a["image_id"] in index and a["category_id"] in wanted]
    tables: dict[str, Columns] = {}
    for kind in kinds:
        sizes: list[tuple[int, int] | None] = [None] * len(ids)
        if kind == "segm":
            sizes = [image_size(truth, i) for i in ids]
            for annotation in annotations:
                to_rle(annotation, truth)
            for image in found:
                _check_masks(image, truth)
        tables[kind] = Columns(ids, sizes, _annotated(annotations, index, kind), _found(found, index, kind, categories))
    return tables


def _items(tables: Tables) -> dict[str, float]:
    """Means over (IoU, recall, class): precision is (IoU, recall, class, area, max detections)."""
    cube = tables.precision[..., 0]
    parts = (cube[..., 0], cube[0, ..., 0], cube[5, ..., 0], cube[..., 1], cube[..., 2], cube[..., 3])
    return dict(zip(ITEMS, map(defined_mean, parts), strict=True))


def _annotated(annotations: list[dict[str, Any]], index: Mapping[ImageId, int], kind: str) -> Side:
    return Side(
        images=np.array([index[a["image_id"]] for a in annotations], np.int64),
        categories=np.array([a["category_id"] for a in annotations], np.int64),
        boxes=np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4),
        areas=np.array([a["area"] for a in annotations], np.float64),
        crowds=np.array([a["iscrowd"] for a in annotations], np.int64),
        masks=[a["segmentation"] for a in annotations] if kind == "segm" else None,
    )


def _found(found: list[Detections], index: Mapping[ImageId, int], kind: str, categories: Sequence[int]) -> Side:
    from pycocotools import mask as codec

    images = np.repeat(np.array([index[d.image_id] for d in found], np.int64), [len(d.scores) for d in found])
    labels = _joined([d.labels for d in found], np.int64)
    # Widths from float32 corners, subtracted in float64 as mmdet does.
    corners: Floats = _joined([d.boxes for d in found], np.float64).reshape(-1, 4)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    masks: list[Rle] | None = None
    if kind == "segm":
        scores = _joined([d.scores if d.mask_scores is None else d.mask_scores for d in found], np.float64)
        masks = [mask for d in found for mask in d.masks or ()]
        # Its area of a whole list overflows beyond 255 masks.
        parts = [codec.area(masks[n : n + 255]) for n in range(0, len(masks), 255)]
        areas = _joined(parts, np.float64)
    else:
        scores = _joined([d.scores for d in found], np.float64)
        areas = boxes[:, 2] * boxes[:, 3]
    ids = np.array(categories, np.int64)[labels] if len(labels) else labels
    return Side(images, ids, boxes, areas, np.zeros(len(labels), np.int64), scores, masks)


def _joined(parts: Sequence[Any], dtype: Any) -> Any:
    return np.concatenate([np.asarray(part, dtype) for part in parts]) if parts else np.zeros(0, dtype)


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
