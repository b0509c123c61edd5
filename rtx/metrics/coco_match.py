"""COCO's matching of detections with annotations, and the average precision that follows from it.

In each image, for each class and IoU threshold t of .50:.05:.95, the detections go by descending score. Each takes

    g* = argmax of IoU(d, g) over the annotations g with IoU(d, g) >= t that no earlier detection took,

first among annotations that count, and only where there is none among the ignored ones: crowds, which are never used
up, and objects whose area is outside the range in question. A detection is a hit where g* counts; ignored where g* is
ignored, or where there is none and its own area is outside the range; and a mistake otherwise. Over all images by
descending score, with n objects that count in a class,

    recall_k = hits_k / n,    precision_k = hits_k / (hits_k + mistakes_k),
    AP = mean over t, over recalls r = 0, .01 ... 1 and over classes with objects of max {precision_k: recall_k >= r}

Source: pycocotools 2.0, `COCOeval.evaluateImg` and `accumulate`, followed to the last bit.

Arrays, for G annotations and D detections of one kind (boxes or masks): `gt_order` (G,) and `det_order` (D',) sort them
by class, then image, detections then by score, the best `max_detections` of a class in an image. `gt_ends` and
`det_ends` (groups, 2) are the first row and the one after the last of each class and image that both sides hold.
`overlaps` holds the IoU (a fraction; of a crowd, the share of the detection that lies in it) of each pair of a group,
one row a detection, group after group from `offsets` on. `hits` and `ignored` (D',) have bit t set for threshold t.
Boxes are left, top, width, height in pixels, areas in square pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.metrics.coco_truth import Rle
from rtx.metrics.per_image import Ranking, trimmed

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0.0, 1e5**2), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e5**2)}
"""Range of areas -> least and largest, both inside."""

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
    """

    images: Whole
    categories: Whole
    boxes: Floats
    areas: Floats
    crowds: Whole
    scores: Floats | None = None
    masks: Sequence[Rle] | None = None


def rank(truth: Side, found: Side, n_images: int, categories: Sequence[int], max_detections: int) -> dict[str, Ranking]:
    """Match the detections of one kind and put them in order, for each range of `AREAS`.

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
    crowds, gt_areas, det_areas = truth.crowds[gt_order] > 0, truth.areas[gt_order], found.areas[det_order]
    pairs = np.diff(gt_ends, axis=1)[:, 0] * np.diff(det_ends, axis=1)[:, 0]
    offsets = np.concatenate([[0], np.cumsum(pairs)]).astype(np.int64)
    overlaps = np.zeros(int(offsets[-1]))
    if truth.masks is None:
        _box_overlaps(truth.boxes[gt_order], crowds, found.boxes[det_order], gt_ends, det_ends, offsets, overlaps)
    else:
        _mask_overlaps(truth, found, gt_order, det_order, crowds, gt_ends, det_ends, offsets, overlaps)
    rankings: dict[str, Ranking] = {}
    for name, (least, largest) in AREAS.items():
        gt_ignored = crowds | (gt_areas < least) | (gt_areas > largest)
        det_ignored = (det_areas < least) | (det_areas > largest)
        hits = np.zeros(len(det_order), np.int64)
        ignored = np.where(det_ignored, (1 << len(THRESHOLDS)) - 1, 0)
        levels = np.minimum(THRESHOLDS, 1 - 1e-10)
        _match(levels, overlaps, offsets, gt_ends, det_ends, gt_ignored, crowds, hits, ignored)
        counted = np.bincount(gt_keys[~gt_ignored], minlength=0)
        groups = np.flatnonzero(counted)
        objects = np.stack([groups // max(n_images, 1), groups % max(n_images, 1), counted[groups]], axis=1)
        classes, images = det_keys // max(n_images, 1), det_keys % max(n_images, 1)
        columns = (classes, images, found.scores[det_order], hits, ignored, objects.astype(np.int64))
        rankings[name] = trimmed(ordered(*columns, len(kept)), len(THRESHOLDS))
    return rankings


def ordered(
    classes: Whole,
    images: Whole,
    scores: NDArray[np.floating[Any]],
    hits: Whole,
    ignored: Whole,
    objects: Whole,
    n_classes: int,
) -> Ranking:
    """Make a ranking of detections that come image by image, those of one image in the order that breaks ties.

    Args:
        classes: (n,) class of each detection.
        images: (n,) index of its image.
        scores: (n,).
        hits: (n,) bits, as in `Ranking`.
        ignored: (n,) bits.
        objects: (m, 3) class, image, number of objects.
        n_classes: how many classes there are.
    """
    order = np.lexsort((-scores, classes))
    classes, images, scores = classes[order], images[order], scores[order]
    tied = np.zeros(len(order), bool)
    tied[1:] = (classes[1:] == classes[:-1]) & (images[1:] == images[:-1]) & (scores[1:] == scores[:-1])
    starts = np.concatenate([[0], np.cumsum(np.bincount(classes, minlength=n_classes))]).astype(np.int64)
    return Ranking(images, hits[order], ignored[order], tied, starts, objects)


def precisions(ranking: Ranking) -> Floats:
    """(IoU thresholds, recalls, classes) best precision at or beyond each recall; -1 for a class without objects."""
    n_classes = len(ranking.starts) - 1
    totals = np.bincount(ranking.objects[:, 0], ranking.objects[:, 2], n_classes)
    table = np.full((len(THRESHOLDS), len(RECALLS), n_classes), -1.0)
    levels = np.arange(len(THRESHOLDS))[:, None]
    for k in np.flatnonzero(totals).tolist():
        rows = slice(ranking.starts[k], ranking.starts[k + 1])
        hit, ignored = ((bits[rows] >> levels & 1).astype(bool) for bits in (ranking.hits, ranking.ignored))
        hits = np.cumsum(hit, axis=1, dtype=np.float64)
        mistakes = np.cumsum(~hit & ~ignored, axis=1, dtype=np.float64)
        recall, precision = hits / totals[k], hits / (mistakes + hits + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for t in range(len(THRESHOLDS)):
            place = np.searchsorted(recall[t], RECALLS)
            table[t, :, k] = np.append(best[t], 0.0)[place]  # 0 where that recall is never reached
    return table


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


def _mask_overlaps(
    truth: Side,
    found: Side,
    gt_order: Whole,
    det_order: Whole,
    crowds: Flags,
    gt_ends: Whole,
    det_ends: Whole,
    offsets: Whole,
    out: Floats,
) -> None:
    from pycocotools import mask as codec

    assert truth.masks is not None and found.masks is not None
    for n in range(len(gt_ends)):
        gt_rows, det_rows = slice(*gt_ends[n].tolist()), slice(*det_ends[n].tolist())
        gt_masks = [truth.masks[i] for i in gt_order[gt_rows].tolist()]
        det_masks = [found.masks[i] for i in det_order[det_rows].tolist()]
        out[offsets[n] : offsets[n + 1]] = codec.iou(det_masks, gt_masks, crowds[gt_rows].tolist()).reshape(-1)


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


@compiled
def _match(
    levels: Floats,
    overlaps: Floats,
    offsets: Whole,
    gt_ends: Whole,
    det_ends: Whole,
    gt_ignored: Flags,
    crowds: Flags,
    hits: Whole,
    ignored: Whole,
) -> None:
    """Give each detection its annotation, as the head of this file says; `hits` and `ignored` are updated in place."""
    for n in range(gt_ends.shape[0]):
        first, n_objects = gt_ends[n, 0], gt_ends[n, 1] - gt_ends[n, 0]
        taken = np.empty(n_objects, np.bool_)
        for t in range(levels.size):
            taken[:] = False
            for d in range(det_ends[n, 0], det_ends[n, 1]):
                row = offsets[n] + (d - det_ends[n, 0]) * n_objects
                best, match = levels[t], -1
                for of_ignored in range(2):  # annotations that count, then ignored ones
                    for g in range(n_objects):
                        if gt_ignored[first + g] != (of_ignored == 1) or (taken[g] and not crowds[first + g]):
                            continue
                        if overlaps[row + g] >= best:  # of equal overlaps the last
                            best, match = overlaps[row + g], g
                    if match >= 0:
                        break
                if match < 0:
                    continue
                taken[match] = True
                if gt_ignored[first + match]:
                    ignored[d] |= 1 << t
                else:
                    hits[d] |= 1 << t
                    ignored[d] &= ~(1 << t)
