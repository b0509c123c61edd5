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
    gt_rows = np.flatnonzero(objects)
    images = pairs.gt_keys[gt_rows] - pairs.gt_classes[gt_rows] * many
    order = np.lexsort((pairs.gt_order[gt_rows], images))
    gt_rows, starts = gt_rows[order], np.searchsorted(images[order], np.arange(many + 1))
    best = np.zeros(n)
    truth, found, gt_order = pairs.truth, pairs.found, pairs.gt_order[gt_rows]
    if truth.stretches is None or found.stretches is None:
        places = np.full(len(found.images), -1, np.int64)
        places[pairs.det_order] = np.where(asked, np.arange(n), -1)
        left, top, width, height = truth.boxes[gt_order].T
        edges = (left, top, width + left, height + top, width * height)
        gt = (*(np.ascontiguousarray(edge) for edge in edges), truth.categories[gt_order], gt_rows)
        _of_boxes(*gt, starts, found.boxes, found.categories, found.images, places, best, target)
    else:
        rows = np.flatnonzero(asked)
        shapes = (truth.stretches, found.stretches, gt_order, pairs.det_order)
        where = (pairs.gt_classes[gt_rows], pairs.det_keys, many, gt_rows, starts)
        _of_masks(*shapes, *where, rows, same, least, enough, best, target)
    return best


@compiled
def _of_boxes(
    lefts: Floats,
    tops: Floats,
    rights: Floats,
    bottoms: Floats,
    areas: Floats,
    gt_classes: Whole,
    gt_rows: Whole,
    starts: Whole,
    det: Floats,
    classes: Whole,
    images: Whole,
    places: Whole,
    best: Floats,
    target: Whole,
) -> None:
    """Detections as they came, image after image, so that the objects of one are at hand: half a million a cell."""
    for d in range(places.size):
        row = places[d]
        if row < 0:
            continue
        left, top, width, height = det[d, 0], det[d, 1], det[d, 2], det[d, 3]
        right, bottom, area, own = width + left, height + top, width * height, classes[d]
        most, at = 0.0, -1
        for g in range(starts[images[d]], starts[images[d] + 1]):
            across = min(right, rights[g]) - max(left, lefts[g])
            down = min(bottom, bottoms[g]) - max(top, tops[g])
            if min(across, down) > 0 and gt_classes[g] != own:
                overlap = across * down / (area + areas[g] - across * down)
                if overlap > most:
                    most, at = overlap, gt_rows[g]
        best[row], target[row] = most, at


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
