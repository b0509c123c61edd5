"""What detections on PASCAL VOC did, image by image: counts that add up, in whatever parts and order they come.

Matching happens inside an image, so an image can be counted alone: each detection of it with its class, its score and
what it was at each IoU threshold, and how many objects of each class count. Counts of different images are put together
by `+` or `merged`, which only collects; the one order that AP needs is made at the end, by class, score, name of the
image and the detector's list. So neither how images were shared out nor who came first can change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, DataError
from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import ImageId

D2_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
THRESHOLDS: dict[str, tuple[float, ...]] = {"mmdet": (0.5,), "d2": D2_THRESHOLDS}
"""Way of matching -> its IoU thresholds."""

Floats = NDArray[np.floating[Any]]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class VocTruth:
    """The objects of one image.

    Attributes:
        image_id: name of the image.
        boxes: (n, 4) left, top, right, bottom; a box of zero area (left = right) still covers one pixel.
        labels: (n,) class indices.
        difficult: (n,) True for objects that are neither hit nor miss.
    """

    image_id: ImageId
    boxes: Floats
    labels: NDArray[np.integer[Any]]
    difficult: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        n = len(self.labels)
        if self.boxes.shape != (n, 4) or self.difficult.shape != (n,) or not np.isfinite(self.boxes).all():
            raise DataError(f"ground truth of image {self.image_id!r}: {n} labels need {n} finite boxes and flags")


@dataclass(frozen=True)
class Matched:
    """Detections under one way of matching.

    Attributes:
        labels: (n,) class of each.
        scores: (n,).
        hits: (n,) bit t is set where the detection is a hit at IoU threshold t.
        ignored: (n,) bit t is set where it is neither hit nor mistake; any other detection is a mistake.
    """

    labels: Whole
    scores: Floats
    hits: Whole
    ignored: Whole


@dataclass(frozen=True)
class ImageCounts:
    """One image.

    Attributes:
        matched: way of matching -> its detections, best first; equal scores keep the detector's order.
        objects: (classes, 2) class and number of objects that count, for those that the image holds.
    """

    matched: dict[str, Matched]
    objects: Whole


@dataclass(frozen=True)
class Ranked:
    """Detections of all images class by class, best first: by score, name of the image, and the detector's list.

    Attributes:
        images: (n,) index of the image, in order of names.
        matched: what they are.
        starts: (classes + 1,) where each class begins.
        totals: (classes,) objects that count.
    """

    images: Whole
    matched: Matched
    starts: Whole
    totals: Whole


@dataclass(frozen=True)
class VocCounts:
    """Images and what was found in them; `a + b` holds the images of both.

    Attributes:
        n_classes: how many classes the labels count.
        images: name of the image -> what it adds.
    """

    n_classes: int
    images: dict[str, ImageCounts] = field(default_factory=dict)

    @classmethod
    def of(cls, truth: VocTruth, found: Detections | None, n_classes: int) -> VocCounts:
        """Count one image.

        Args:
            truth: its objects.
            found: its detections; nothing was detected when None.
            n_classes: how many classes the labels count.

        Raises:
            BadValue: a label is no class.
        """
        for labels in (truth.labels, *([] if found is None else [found.labels])):
            if len(labels) and not 0 <= labels.min() <= labels.max() < n_classes:
                raise BadValue(
                    f"image {truth.image_id!r}: labels {labels.min()} to {labels.max()} of {n_classes} classes"
                )
        counted = np.bincount(truth.labels[~truth.difficult].astype(np.int64), minlength=0)
        there = np.flatnonzero(counted)
        matched = {"mmdet": _as_mmdet(truth, found), "d2": _as_d2(truth, found)}
        return cls(n_classes, {str(truth.image_id): ImageCounts(matched, np.stack([there, counted[there]], axis=1))})

    @classmethod
    def merged(cls, parts: Iterable[VocCounts], n_classes: int) -> VocCounts:
        """All images of the parts.

        Raises:
            BadValue: an image is in two of them, or they are over other classes.
        """
        images: dict[str, ImageCounts] = {}
        for part in parts:
            if part.n_classes != n_classes:
                raise BadValue(f"counts over {part.n_classes} and over {n_classes} classes cannot be added up")
            twice = images.keys() & part.images.keys()
            if twice:
                raise BadValue(f"image {min(twice)!r} was scored twice; a sampler that pads must be trimmed")
            images.update(part.images)
        return cls(n_classes, images)

    def __add__(self, other: VocCounts) -> VocCounts:
        """The counts of two disjoint sets of images together."""
        return VocCounts.merged((self, other), self.n_classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The images, in the order that numbers them."""
        return tuple(sorted(self.images))

    def objects(self) -> Whole:
        """(m, 3) class, image and number of objects that count, for those that hold any."""
        rows = [self.images[name].objects for name in self.names]
        place = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        joined = np.concatenate([np.zeros((0, 2), np.int64), *rows])
        table = np.stack([joined[:, 0], place, joined[:, 1]], axis=1)
        ordered: Whole = table[np.lexsort((table[:, 1], table[:, 0]))]
        return ordered

    def ranked(self, way: str) -> Ranked:
        """The detections of all images in order.

        Args:
            way: how they were matched, a key of `THRESHOLDS`.
        """
        rows = [self.images[name].matched[way] for name in self.names]
        none = np.zeros(0, np.int64)
        nothing = Matched(none, none.astype(np.float64), none, none)
        labels, scores, hits, ignored = (
            np.concatenate([getattr(row, part) for row in rows or [nothing]])
            for part in ("labels", "scores", "hits", "ignored")
        )
        images = np.repeat(np.arange(len(rows)), [len(row.labels) for row in rows])
        order = np.lexsort((-scores, labels))  # stable: equal ones stay in order of images and of their lists
        starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=self.n_classes))])
        objects = self.objects()
        totals = np.zeros(self.n_classes, np.int64)
        np.add.at(totals, objects[:, 0], objects[:, 2])
        matched = Matched(labels[order], scores[order], hits[order], ignored[order])
        return Ranked(images[order], matched, starts.astype(np.int64), totals)


def _as_mmdet(truth: VocTruth, found: Detections | None) -> Matched:
    """IoU in float32 that reaches the threshold."""
    order = np.argsort(truth.difficult, kind="stable")  # where two overlap alike, the one that counts is first
    objects = (truth.boxes[order].astype(np.float32), truth.labels[order], truth.difficult[order])
    return _match(*objects, *_of(found), THRESHOLDS["mmdet"], strict=False)


def _as_d2(truth: VocTruth, found: Detections | None) -> Matched:
    """IoU of what detectron2 writes to text files of VOC's 1-based boxes and reads back, beyond the threshold."""
    boxes, labels, scores = _of(found)
    # Adding 1 stays in float32, as there.
    text: Floats = np.array([float(f"{v:.1f}") for v in (boxes + np.float32(1)).ravel().tolist()]).reshape(-1, 4)
    kept: Floats = np.array([float(f"{v:.3f}") for v in scores.tolist()])
    objects = (truth.boxes.astype(np.float64) + 1, truth.labels, truth.difficult)
    return _match(*objects, text, labels, kept, THRESHOLDS["d2"], strict=True)


def _of(found: Detections | None) -> tuple[Floats, Whole, Floats]:
    if found is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    return found.boxes.astype(np.float32), found.labels.astype(np.int64), found.scores.astype(np.float32)


def _match(
    objects: Floats,
    owners: NDArray[np.integer[Any]],
    difficult: NDArray[np.bool_],
    boxes: Floats,
    labels: Whole,
    scores: Floats,
    thresholds: tuple[float, ...],
    *,
    strict: bool,
) -> Matched:
    """Give each detection the object of its class that it overlaps most; the best of an object's is its hit."""
    order = np.argsort(-scores, kind="stable")
    boxes, labels, scores = boxes[order], labels[order], scores[order]
    if not len(objects) or not len(boxes):
        nothing = np.zeros(len(boxes), np.int64)
        return Matched(labels, scores, nothing, nothing)
    ious = np.where(labels[:, None] == owners[None, :], overlap(boxes, objects), -1.0)
    target = ious.argmax(axis=1)
    best, levels = ious.max(axis=1)[None, :], np.array(thresholds)[:, None]
    near = best > levels if strict else best >= levels
    ignored = near & difficult[target]
    hit = near & ~ignored
    for row in hit:  # the best detection of an object is its hit, every later one a mistake
        rows = np.flatnonzero(row)
        first = rows[np.unique(target[rows], return_index=True)[1]]
        row[:] = False
        row[first] = True
    bits = 1 << np.arange(len(thresholds), dtype=np.int64)
    return Matched(labels, scores, bits @ hit, bits @ ignored)


def overlap(boxes: Floats, objects: Floats) -> Floats:
    """IoU (n, m) of (n, 4) and (m, 4) boxes of inclusive pixel indices: a width is right - left + 1.

    Example:
        >>> overlap(np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([[0.0, 0.0, 9.0, 4.0]]))
        array([[0.5]])
    """
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], objects[None, :, 2:])
    common = np.prod(np.maximum(high - low + 1, 0), axis=2)
    mine = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    theirs = np.prod(objects[:, 2:] - objects[:, :2] + 1, axis=1)
    union = mine[:, None] + theirs[None, :] - common
    return np.asarray(common / np.maximum(union, 1e-6))
