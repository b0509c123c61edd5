"""COCO average precision of boxes and masks at full precision, as pycocotools defines it.

What differs from calling pycocotools with two files: images and annotations are renumbered, because it takes annotation
id 0 for "not matched" and merges annotations that share an id; only the named images count; no prediction at all is a
score of 0; a statistic without ground truth is NaN instead of -1; and what it would crash on or skip silently is an
error. rtx matches and scores itself, once for numbers and evidence, to the last bit of pycocotools: see
`rtx.metrics.coco_match`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, DataError
from rtx.files import json_ready
from rtx.metrics.coco_match import THRESHOLDS, Outcomes, precisions, rank
from rtx.metrics.coco_pairs import Floats, Pairs, Side, pair
from rtx.metrics.coco_truth import CocoTruth, ImageId, Rle, image_size, rle
from rtx.metrics.detection_calibration import of_detections
from rtx.metrics.errors import error_types
from rtx.metrics.mask_overlaps import Stretches, stretches
from rtx.metrics.metric import Metric
from rtx.metrics.per_image import DetectionEvidence, Measure, Ranking

log = logging.getLogger(__name__)

KINDS = ("bbox", "segm")
ITEMS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
MAX_DETECTIONS = 100
VERSION = "rtx.coco/1"

_Matched = tuple[list[Floats], Ranking, Pairs, Outcomes]


@dataclass(frozen=True)
class Detections:
    """The predictions of a detector for one image.

    Attributes:
        image_id: the id of the image in the ground truth.
        boxes: (n, 4) left, top, right, bottom in pixels.
        scores: (n,).
        labels: (n,) indices into the classes.
        masks: n run-length masks of the image's size, or None from a detector without masks.
        mask_scores: (n,) scores of the masks where they differ from those of the boxes.
        broken: whether some were lost because they were NaN or infinite.
    """

    image_id: ImageId
    boxes: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]
    masks: Sequence[Rle] | None = None
    mask_scores: NDArray[np.floating[Any]] | None = None
    broken: bool = False

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


class CocoAP(Metric):
    """COCO AP of boxes, of masks, or of both: over IoU .50:.05:.95, and its parts.

    Attributes:
        label_order: how labels number the categories where it is not by their order in the file; stated on the card.

    Args:
        truth: the ground truth.
        categories: category id of each label, see `rtx.metrics.coco_truth.category_ids`.
        kinds: `bbox`, `segm` or both.
        max_detections: how many detections of a class in an image count, best first.
        headline: metric that P, mPC and rPC are made of; AP of the first kind when None.

    Raises:
        UnknownName: no such metric.
    """

    label_order: str | None = None

    def __init__(
        self,
        truth: CocoTruth,
        categories: Sequence[int],
        *,
        kinds: Sequence[str] = ("bbox",),
        max_detections: int = MAX_DETECTIONS,
        headline: str | None = None,
    ) -> None:
        if not kinds or set(kinds) - set(KINDS):
            raise BadValue(f"COCO scores are of kind {' or '.join(KINDS)}, not {', '.join(kinds) or 'none'}")
        super().__init__((f"{kind}_{item}" for kind in kinds for item in ITEMS), headline or f"{kinds[0]}_mAP")
        self.truth, self.categories, self.kinds = truth, tuple(categories), tuple(kinds)
        self.max_detections = max_detections
        # Evidence numbers classes by category id, whatever the order of the file and of the config.
        self.class_names = tuple(truth.categories[i] for i in sorted(self.categories))
        self.label_names = tuple(truth.categories[i] for i in self.categories)

    def add(self, image: ImageId, found: Detections | Mapping[str, Detections]) -> None:
        """Take the detections of an evaluated image.

        Args:
            image: its id.
            found: its detections; those of each kind where boxes and masks are not of the same ones.

        Raises:
            BadValue: the image comes a second time, or a label is no class.
        """
        by_kind = found if isinstance(found, Mapping) else dict.fromkeys(self.kinds, found)
        for row in by_kind.values():
            check_labels(row, len(self.categories))
        self._add(image, by_kind, broken=any(row.broken for row in by_kind.values()))

    def truth_rows(self, images: Iterable[ImageId]) -> Iterable[tuple[str, Any]]:
        """Name of each image, and the annotations of it that count, for `rtx.metrics.metric.truth_sha256`."""
        rows: dict[ImageId, list[list[Any]]] = {i: [] for i in images if i in self.truth.images}
        counted = set(self.categories)
        for a in self.truth.annotations:
            if a["image_id"] in rows and a["category_id"] in counted:
                name = self.truth.categories[a["category_id"]]
                rows[a["image_id"]].append([name, *(a[key] for key in ("bbox", "area", "iscrowd", "segmentation"))])
        return [(str(self.truth.images[i].get("file_name", i)), found) for i, found in rows.items()]

    def flags(self) -> list[str]:
        """Whether nothing was predicted, and how many images had boxes or scores that are no numbers."""
        rows = (row for by_kind in self._images.values() for row in by_kind.values())
        return [*([] if any(len(row.scores) for row in rows) else ["no predictions"]), *super().flags()]

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "coco",
            "scorer_version": VERSION,
            "ap": "mean over classes and IoU .50:.05:.95, 101 recall points",
            "kinds": sorted(self.kinds),
            "max_detections": self.max_detections,
            "n_classes": len(self.categories),
            **({} if self.label_order is None else {"labels": self.label_order}),
        }

    def evidence(self) -> DetectionEvidence:
        """Evidence of AP, AP50 and AP75 of boxes and masks.

        Raises:
            BadValue: masks are missing, or of another size than the image.
            DataError: an image is not in the ground truth, or an annotation has no usable segmentation.
        """
        rankings: dict[str, Ranking] = {}
        measures: dict[str, Measure] = {}
        for kind, (_, ranking, *_) in self._cell().items():
            rankings[f"coco_{kind}"] = ranking
            for item, levels in zip(ITEMS, (range(len(THRESHOLDS)), (0,), (5,)), strict=False):
                measures[f"{kind}_{item}"] = Measure(f"coco_{kind}", "101 points", tuple(levels))
        return DetectionEvidence(tuple(map(str, _in_order(self._images))), rankings, measures)

    def diagnosis(self) -> dict[str, Any]:
        """Error types and calibration of boxes and masks, see `rtx.metrics.errors` and `rtx.metrics.calibration`."""
        found: dict[str, Any] = {"errors": {}, "calibration": {}}
        for kind, (*_, pairs, hits) in self._cell().items():
            found["errors"][kind] = error_types(pairs, hits)
            found["calibration"][kind] = of_detections(pairs, hits)
        ready: dict[str, Any] = json_ready(found)
        return ready

    def _scores(self) -> dict[str, float]:
        found = {kind: _items(cube) for kind, (cube, *_) in self._cell().items()}
        return {f"{kind}_{item}": value for kind, row in found.items() for item, value in row.items()}

    def _cell(self) -> dict[str, _Matched]:
        """Precision for each range of areas, ranking over all, pairs and matches, of each kind; once for all uses."""
        if self._matched is None:
            self._matched = {kind: self._match(kind) for kind in self.kinds}
        cell: dict[str, _Matched] = self._matched
        return cell

    def _match(self, kind: str) -> _Matched:
        found = {image: by_kind.get(kind) for image, by_kind in self._images.items()}
        sides = coco_columns(self.truth, found, self.categories, kind)
        pairs = pair(*sides, len(found), self.categories, self.max_detections)
        rankings, hits = rank(pairs)
        return [precisions(ranking) for ranking in rankings.values()], rankings["all"], pairs, hits


def _items(cubes: Sequence[Floats]) -> dict[str, float]:
    """Means over (IoU threshold, recall, class) of the precisions for objects of each range of areas."""
    whole, *sizes = cubes
    parts = (whole, whole[0], whole[5], *sizes)
    defined = [part[part > -1] for part in parts]
    return dict(zip(ITEMS, (float(np.mean(part)) if part.size else math.nan for part in defined), strict=True))


def _in_order(image_ids: Iterable[ImageId]) -> list[ImageId]:
    """The order in which equal scores of two images rank."""
    return sorted(image_ids, key=lambda i: (str(type(i)), i))


def coco_columns(
    truth: CocoTruth, found: Mapping[ImageId, Detections | None], categories: Sequence[int], kind: str
) -> tuple[Side, Side]:
    """Check ground truth and detections of one kind against each other and turn them into columns.

    Args:
        truth: the ground truth.
        found: the evaluated images with their detections; None where nothing was detected.
        categories: category id of each label.
        kind: `bbox` or `segm`.

    Returns:
        The annotations and the detections, images numbered in the order in which equal scores of two of them rank.

    Raises:
        BadValue: masks are missing, or of another size than the image.
        DataError: an evaluated image is not in the ground truth, or an annotation has no usable segmentation.
    """
    ids = _in_order(found)
    absent = [i for i in ids if i not in truth.images]
    if absent:
        raise DataError(f"{truth.place}: lacks {len(absent)} of the evaluated images, the first is {absent[0]!r}")
    index = {image_id: n for n, image_id in enumerate(ids)}
    rows = [row for row in found.values() if row is not None]
    if not any(len(d.scores) for d in rows):
        log.warning("no prediction in any of %d images: every score is 0", len(ids))
    wanted = set(categories)
    annotations = [a for a in truth.annotations if a["image_id"] in index and a["category_id"] in wanted]
    masks: list[Rle] | None = None
    if kind == "segm":
        masks = [rle(annotation, truth) for annotation in annotations]
        for image in rows:
            _check_masks(image, truth)
    return _annotated(annotations, index, masks), _found(rows, index, kind, categories)


def _annotated(annotations: list[dict[str, Any]], index: Mapping[ImageId, int], masks: list[Rle] | None) -> Side:
    return Side(
        images=np.array([index[a["image_id"]] for a in annotations], np.int64),
        categories=np.array([a["category_id"] for a in annotations], np.int64),
        boxes=np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4),
        areas=np.array([a["area"] for a in annotations], np.float64),
        crowds=np.array([a["iscrowd"] for a in annotations], np.int64),
        masks=masks,
        stretches=None if masks is None else stretches(masks),
    )


def _found(found: list[Detections], index: Mapping[ImageId, int], kind: str, categories: Sequence[int]) -> Side:
    images = np.repeat(np.array([index[d.image_id] for d in found], np.int64), [len(d.scores) for d in found])
    labels = _joined([d.labels for d in found], np.int64)
    # Widths from float32 corners, subtracted in float64 as mmdet does.
    corners: Floats = _joined([d.boxes for d in found], np.float64).reshape(-1, 4)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    masks: list[Rle] | None = None
    shapes: Stretches | None = None
    if kind == "segm":
        scores = _joined([d.scores if d.mask_scores is None else d.mask_scores for d in found], np.float64)
        masks = [mask for d in found for mask in d.masks or ()]
        shapes = stretches(masks)
        areas = shapes.areas.astype(np.float64)
    else:
        scores = _joined([d.scores for d in found], np.float64)
        areas = boxes[:, 2] * boxes[:, 3]
    ids = np.array(categories, np.int64)[labels] if len(labels) else labels
    return Side(images, ids, boxes, areas, np.zeros(len(labels), np.int64), scores, masks, shapes)


def _joined(parts: Sequence[Any], dtype: Any) -> Any:
    return np.concatenate([np.asarray(part, dtype) for part in parts]) if parts else np.zeros(0, dtype)


def check_labels(found: Detections, n_classes: int) -> None:
    """Refuse labels that are no class.

    Raises:
        BadValue: the image and its labels are named.
    """
    if len(found.labels) and not 0 <= found.labels.min() <= found.labels.max() < n_classes:
        raise BadValue(
            f"image {found.image_id!r}: labels {found.labels.min()} to {found.labels.max()} of {n_classes}; "
            "the head of the model has another number of classes than the data set"
        )


def _check_masks(image: Detections, truth: CocoTruth) -> None:
    if image.masks is None and len(image.scores):
        raise BadValue(f"image {image.image_id!r}: mask AP was asked for, but the model predicts no masks")
    size = image_size(truth, image.image_id)
    for mask in image.masks or ():
        if tuple(mask["size"]) != size:  # pycocotools would count it as a miss without a word
            raise BadValue(f"image {image.image_id!r}: a mask of {tuple(mask['size'])} for an image of {size} (H, W)")
