"""How far detections lie on objects of other classes than their own, which COCO's matching never asks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.metrics.coco_pairs import Floats, Pairs, Whole
from rtx.metrics.mask_overlaps import most_shared, shared_pixels


def other_class(
    pairs: Pairs, objects: NDArray[np.bool_], rows: Whole, least: Floats, *, enough: float
) -> tuple[Floats, Whole]:
    """The largest IoU of detections and the objects of other classes in their image.

    Args:
        pairs: both sides.
        objects: (G,) which annotations count.
        rows: (r,) the detections.
        least: (r,) an IoU of each below which it does not matter.
        enough: an IoU from which the largest is wanted; below it, whether there is one of `least` or more.

    Returns:
        (r,) IoU: the largest where it is `enough`, else any between, or one below `least`; and (r,) the row of the
        object, of equal ones the first in the file, -1 for none.
    """
    many = max(pairs.n_images, 1)
    gt_rows = np.flatnonzero(objects)
    images = pairs.gt_keys[gt_rows] % many
    gt_rows = gt_rows[np.lexsort((pairs.gt_order[gt_rows], images))]
    starts = np.searchsorted(pairs.gt_keys[gt_rows] % many, np.arange(many + 1))
    best, target = np.zeros(len(rows)), np.full(len(rows), -1, np.int64)
    where = (pairs.gt_keys[gt_rows] // many, pairs.det_keys[rows], many, starts)
    gt_order = pairs.gt_order[gt_rows]
    if pairs.truth.stretches is None or pairs.found.stretches is None:
        _of_boxes(pairs.truth.boxes[gt_order], pairs.det_boxes, rows, *where, best, target)
    else:
        shapes = (pairs.truth.stretches, pairs.found.stretches, gt_order, pairs.det_order[rows])
        _of_masks(*shapes, *where, least, enough, best, target)
    return best, np.where(target >= 0, gt_rows[target], -1) if len(gt_rows) else target


@compiled
def _of_boxes(
    gt: Floats,
    det: Floats,
    rows: Whole,
    gt_classes: Whole,
    keys: Whole,
    many: int,
    starts: Whole,
    best: Floats,
    target: Whole,
) -> None:
    """Plain numbers and early ends: half a million boxes a cell, of which most lie on nothing."""
    for d in range(rows.size):
        left, top, width, height = det[rows[d], 0], det[rows[d], 1], det[rows[d], 2], det[rows[d], 3]
        own = keys[d] // many
        image = keys[d] - own * many
        most, at = 0.0, -1
        for g in range(starts[image], starts[image + 1]):
            if gt_classes[g] == own:
                continue
            across = min(width + left, gt[g, 2] + gt[g, 0]) - max(left, gt[g, 0])
            down = min(height + top, gt[g, 3] + gt[g, 1]) - max(top, gt[g, 1])
            if across > 0 and down > 0:
                overlap = across * down / (width * height + gt[g, 2] * gt[g, 3] - across * down)
                if overlap > most:
                    most, at = overlap, g
        best[d], target[d] = most, at


@compiled
def _of_masks(
    gt: Any,
    det: Any,
    gt_order: Whole,
    det_order: Whole,
    gt_classes: Whole,
    keys: Whole,
    many: int,
    starts: Whole,
    least: Floats,
    enough: float,
    best: Floats,
    target: Whole,
) -> None:
    lows, highs, ends, areas, extents = det
    gt_lows, gt_highs, gt_ends, gt_areas, gt_extents = gt
    for row in range(det_order.size):
        d, own = det_order[row], keys[row] // many
        image = keys[row] - own * many
        bar, best_overlap, at = least[row], 0.0, -1
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
                best_overlap, at = overlap, column
                if overlap > bar:
                    bar = max(overlap, enough)
        best[row], target[row] = best_overlap, at
