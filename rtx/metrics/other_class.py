"""How far detections lie on objects of other classes than their own, which COCO's matching never asks."""

from __future__ import annotations

from typing import Any

import numpy as np

from rtx.compiled import compiled
from rtx.metrics.coco_pairs import Flags, Floats, Pairs, Whole
from rtx.metrics.mask_overlaps import most_shared, shared_pixels


def other_class(
    pairs: Pairs, objects: Flags, asked: Flags, same: Floats, target: Whole, *, least: float, enough: float
) -> Floats:
    """The largest IoU of detections and the objects of other classes in their image.

    Args:
        pairs: both sides.
        objects: (G,) which annotations count.
        asked: (D',) of which detections.
        same: (D',) the IoU of each with objects of its own class; from `enough` on, nothing below that matters here.
        target: (D',) updated in place: the row of the object of each that was asked for, of equal ones the first in the
            file, -1 for none.
        least: an IoU below which nothing matters.
        enough: an IoU from which the largest is wanted; below it, whether there is one of `least` or more.

    Returns:
        (D',) IoU: the largest where it is `enough`, else any between, or one below what matters.
    """
    many, n = max(pairs.n_images, 1), len(pairs.det_order)
    in_file: Whole = np.empty(len(objects), np.int64)  # the row of each annotation, as they come in the file
    in_file[pairs.gt_order] = np.arange(len(objects))
    in_file = in_file[objects[in_file]]
    images = pairs.truth.images[pairs.gt_order[in_file]]
    order = np.argsort(images, kind="stable")
    gt_rows, starts = in_file[order], np.searchsorted(images[order], np.arange(many + 1))
    best = np.zeros(n)
    truth, found, gt_order = pairs.truth, pairs.found, pairs.gt_order[gt_rows]
    if truth.stretches is None or found.stretches is None:
        places = np.full(len(found.images), -1, np.int64)
        places[pairs.det_order] = np.where(asked, np.arange(n), -1)
        gt = (*_edges(truth.boxes[gt_order]), truth.categories[gt_order], gt_rows, starts)
        both: Any = (*gt, *_edges(found.boxes), found.categories, found.images, places, best, target)
        _of_boxes(*both)
    else:
        rows = np.flatnonzero(asked)
        shapes = (truth.stretches, found.stretches, gt_order, pairs.det_order)
        where: Any = (gt_rows, starts, rows, same, least, enough, best, target)
        _of_masks(*shapes, pairs.gt_classes[gt_rows], pairs.det_keys, many, *where)
    return best


def _edges(boxes: Floats) -> list[Floats]:
    """Left, top, right, bottom and area of (n, 4) boxes, each a column of its own."""
    left, top, width, height = boxes.T
    return [np.ascontiguousarray(part) for part in (left, top, width + left, height + top, width * height)]


@compiled
def _of_boxes(
    gt_lefts: Floats,
    gt_tops: Floats,
    gt_rights: Floats,
    gt_bottoms: Floats,
    gt_areas: Floats,
    gt_classes: Whole,
    gt_rows: Whole,
    starts: Whole,
    lefts: Floats,
    tops: Floats,
    rights: Floats,
    bottoms: Floats,
    areas: Floats,
    classes: Whole,
    images: Whole,
    places: Whole,
    best: Floats,
    target: Whole,
) -> None:
    """Detections as they came, image after image, all of an image against an object at a time, in vectors."""
    most, row = np.empty(places.size), np.empty(places.size, np.int64)
    low = 0
    while low < places.size:
        high = low + 1
        while high < places.size and images[high] == images[low]:
            high += 1
        best_here, row_here, classes_here = most[low:high], row[low:high], classes[low:high]
        lefts_here, rights_here = lefts[low:high], rights[low:high]
        tops_here, bottoms_here, areas_here = tops[low:high], bottoms[low:high], areas[low:high]
        best_here[:], row_here[:] = 0.0, -1
        for g in range(starts[images[low]], starts[images[low] + 1]):
            left, top, right, bottom, area = gt_lefts[g], gt_tops[g], gt_rights[g], gt_bottoms[g], gt_areas[g]
            own, gt_row = gt_classes[g], gt_rows[g]
            for k in range(high - low):  # choices instead of branches, so that the compiler makes vectors
                across = (rights_here[k] if rights_here[k] < right else right) - (
                    lefts_here[k] if lefts_here[k] > left else left
                )
                down = (bottoms_here[k] if bottoms_here[k] < bottom else bottom) - (
                    tops_here[k] if tops_here[k] > top else top
                )
                common = (across if across > 0 else 0.0) * (down if down > 0 else 0.0)
                overlap = common / (areas_here[k] + area - common)
                better = overlap > best_here[k] and classes_here[k] != own
                best_here[k] = overlap if better else best_here[k]
                row_here[k] = gt_row if better else row_here[k]
        low = high
    for d in range(places.size):
        if places[d] >= 0:
            best[places[d]], target[places[d]] = most[d], row[d]


@compiled
def _of_masks(
    gt: Any,
    det: Any,
    gt_order: Whole,
    det_order: Whole,
    gt_classes: Whole,
    keys: Whole,
    many: int,
    gt_rows: Whole,
    starts: Whole,
    rows: Whole,
    same: Floats,
    least: float,
    enough: float,
    best: Floats,
    target: Whole,
) -> None:
    lows, highs, ends, areas, extents = det
    gt_lows, gt_highs, gt_ends, gt_areas, gt_extents = gt
    for row in rows:
        d, own = det_order[row], keys[row] // many
        image = keys[row] - own * many
        bar, best_overlap, at = enough if same[row] >= enough else least, 0.0, -1
        for column in range(starts[image], starts[image + 1]):
            if gt_classes[column] == own:
                continue
            g = gt_order[column]
            most = most_shared(extents, areas, d, gt_extents, gt_areas, g)
            if most == 0 or most < bar * (areas[d] + gt_areas[g] - most) * (1 - 1e-9):
                continue  # at best still below what matters
            shared = shared_pixels(lows, highs, ends, d, gt_lows, gt_highs, gt_ends, g)
            overlap = shared / (areas[d] + gt_areas[g] - shared)
            if overlap > best_overlap:
                best_overlap, at = overlap, gt_rows[column]
                if overlap > bar:
                    bar = max(overlap, enough)
        best[row], target[row] = best_overlap, at
