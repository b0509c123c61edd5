"""Annotations and detections of one kind in the order in which COCO matches them, and how far they overlap.

Which arrays there are, and what a row of each is, stands at the head of `rtx.metrics.coco_match`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.metrics.coco_truth import Rle
from rtx.metrics.mask_overlaps import Stretches, mask_overlaps

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Side:
    """Annotations or detections of one kind, as columns.

    Attributes:
        images: (n,) index of the image.
        categories: (n,) category id.
        boxes: (n, 4) left, top, width, height.
        areas: (n,) in pixels; they decide which of small, medium and large a row is.
        crowds: (n,) 1 for annotations of crowds, else 0.
        scores: (n,) of detections; None for annotations.
        masks: n run-length masks; None when boxes are matched.
        stretches: the same masks unpacked.
    """

    images: Whole
    categories: Whole
    boxes: Floats
    areas: Floats
    crowds: Whole
    scores: Floats | None = None
    masks: Sequence[Rle] | None = None
    stretches: Stretches | None = None


@dataclass(frozen=True)
class Pairs:
    """Annotations and detections of one kind in order, with the overlaps of those that can match.

    Attributes:
        truth: the annotations.
        found: the detections.
        n_images: how many images are evaluated.
        categories: the category ids that count, ascending; classes are numbered by their places.
        gt_order, det_order, gt_ends, det_ends, offsets, overlaps: see the head of this file.
        gt_keys, det_keys: class * n_images + image of each row, in these orders.
        crowds: whether an annotation is a crowd, in order.
        det_boxes: (D', 4) in order.
        by_score: (D',) rows of `det_order` by class, then descending score; equal scores in the order of images.
    """

    truth: Side
    found: Side
    n_images: int
    categories: Whole
    gt_order: Whole
    det_order: Whole
    gt_keys: Whole
    det_keys: Whole
    gt_ends: Whole
    det_ends: Whole
    offsets: Whole
    overlaps: Floats
    crowds: Flags
    det_boxes: Floats
    by_score: Whole

    @cached_property
    def scores(self) -> Floats:
        """(D',) in order."""
        assert self.found.scores is not None
        return self.found.scores[self.det_order]

    @cached_property
    def sorted_scores(self) -> Floats:
        """(D',) by class and score."""
        return self.scores[self.by_score]

    @cached_property
    def det_classes(self) -> Whole:
        """(D',) class of each detection, in order and by score alike, as both are by class first."""
        return self.det_keys // max(self.n_images, 1)

    @cached_property
    def gt_classes(self) -> Whole:
        """(G,) class of each annotation, in order."""
        return self.gt_keys // max(self.n_images, 1)

    @cached_property
    def gt_areas(self) -> Floats:
        """(G,) in order."""
        return self.truth.areas[self.gt_order]

    @cached_property
    def det_areas(self) -> Floats:
        """(D',) in order."""
        return self.found.areas[self.det_order]


def pair(truth: Side, found: Side, n_images: int, categories: Sequence[int], max_detections: int) -> Pairs:
    """Put both sides of one kind in order and compute the overlaps.

    Args:
        truth: the annotations.
        found: the detections.
        n_images: how many images are evaluated.
        categories: the category ids that count; classes are numbered by ascending id.
        max_detections: how many detections of a class in an image count.
    """
    assert found.scores is not None
    kept = np.array(sorted(set(categories)), np.int64)
    gt_keys, det_keys = (np.searchsorted(kept, side.categories) * n_images + side.images for side in (truth, found))
    gt_order = np.argsort(gt_keys, kind="stable")
    det_order = np.lexsort((-found.scores, det_keys))  # of equal scores the detector's order
    det_order = det_order[_position(det_keys[det_order]) < max_detections]
    gt_keys, det_keys = gt_keys[gt_order], det_keys[det_order]
    gt_ends, det_ends = _groups(gt_keys, det_keys)
    crowds = truth.crowds[gt_order] > 0
    sizes = np.diff(gt_ends, axis=1)[:, 0] * np.diff(det_ends, axis=1)[:, 0]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    overlaps = np.zeros(int(offsets[-1]))
    det_boxes = found.boxes[det_order]
    if truth.masks is None:
        _box_overlaps(truth.boxes[gt_order], crowds, det_boxes, gt_ends, det_ends, offsets, overlaps)
    else:
        assert truth.stretches is not None and found.stretches is not None
        orders = (gt_order, det_order, gt_ends, det_ends, offsets)
        mask_overlaps(truth.stretches, crowds, found.stretches, *orders, overlaps)
    by_score = _by_score(-found.scores[det_order], det_keys, n_images, len(kept))
    whole = (gt_order, det_order, gt_keys, det_keys, gt_ends, det_ends, offsets, overlaps, crowds, det_boxes, by_score)
    return Pairs(truth, found, n_images, kept, *whole)


def _by_score(negated: Floats, keys: Whole, n_images: int, n_classes: int) -> Whole:
    """Rows by class, then score; keys are sorted, so that each class is sorted alone, which is faster."""
    starts = np.searchsorted(keys, np.arange(n_classes + 1) * n_images)
    parts = [a + np.argsort(negated[a:b], kind="stable") for a, b in itertools.pairwise(starts.tolist())]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _position(keys: Whole) -> Whole:
    """Place of each element among those with its key; equal keys lie together."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return np.arange(len(keys)) - np.repeat(first, np.diff(np.concatenate([first, [len(keys)]])))


def _groups(gt_keys: Whole, det_keys: Whole) -> tuple[Whole, Whole]:
    """Where each key that both sides hold lies (start, end) on either side."""
    both = np.intersect1d(gt_keys, det_keys)
    gt_ends, det_ends = (
        np.stack([np.searchsorted(keys, both, "left"), np.searchsorted(keys, both, "right")], axis=1)
        for keys in (gt_keys, det_keys)
    )
    return gt_ends.astype(np.int64), det_ends.astype(np.int64)


@compiled
def _box_overlaps(
    gt_boxes: Floats, crowds: Flags, det_boxes: Floats, gt_ends: Whole, det_ends: Whole, offsets: Whole, out: Floats
) -> None:
    """IoU of the boxes of each group; of a crowd, the share of the detection that lies in it."""
    for n in range(gt_ends.shape[0]):
        at = offsets[n]
        for d in range(det_ends[n, 0], det_ends[n, 1]):
            det = det_boxes[d]
            for g in range(gt_ends[n, 0], gt_ends[n, 1]):
                gt = gt_boxes[g]
                width = min(det[2] + det[0], gt[2] + gt[0]) - max(det[0], gt[0])
                height = min(det[3] + det[1], gt[3] + gt[1]) - max(det[1], gt[1])
                if width > 0 and height > 0:
                    det_area = det[2] * det[3]
                    common = width * height
                    union = det_area if crowds[g] else det_area + gt[2] * gt[3] - common
                    out[at] = common / union
                at += 1
