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

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.metrics.coco_pairs import Flags, Floats, Pairs, Whole
from rtx.metrics.per_image import Ranking, trimmed

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0.0, 1e5**2), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e5**2)}
"""Range of areas -> least and largest, both inside."""


@dataclass(frozen=True)
class Outcomes:
    """What the detections of `Pairs` are at some IoU thresholds, for objects of one range of areas.

    Attributes:
        hits: (D',) bit t is set where the detection is a hit at threshold t.
        ignored: (D',) the same, where it is neither hit nor mistake.
        objects: (G,) whether an annotation counts.
        partners: (D',) row of the annotation that was taken at the first threshold, -1 for none.
        shared: (D',) the IoU with it, 0 for none.
    """

    hits: Whole
    ignored: Whole
    objects: Flags
    partners: Whole
    shared: Floats


def match(
    pairs: Pairs, thresholds: NDArray[np.floating[Any]], area: str = "all", *, least_score: float = -math.inf
) -> Outcomes:
    """Give each detection its annotation, as the head of this file says.

    Args:
        pairs: both sides.
        thresholds: (t,) IoU, at most 62 of them.
        area: a key of `AREAS`.
        least_score: detections below it are left out; they never matter to those above.
    """
    least, largest = AREAS[area]
    gt_areas, det_areas = pairs.gt_areas, pairs.det_areas
    gt_ignored = pairs.crowds | (gt_areas < least) | (gt_areas > largest)
    n = len(pairs.det_order)
    hits, partners, shared = np.zeros(n, np.int64), np.full(n, -1, np.int64), np.zeros(n)
    ignored = np.where((det_areas < least) | (det_areas > largest), (1 << len(thresholds)) - 1, 0)
    levels = np.minimum(thresholds, 1 - 1e-10)
    ends = (pairs.offsets, pairs.gt_ends, pairs.det_ends)
    rows: Any = (hits, ignored, partners, shared)
    _match(levels, pairs.overlaps, *ends, gt_ignored, pairs.crowds, pairs.scores, least_score, *rows)
    return Outcomes(hits, ignored, ~gt_ignored, partners, shared)


def rank(pairs: Pairs) -> tuple[dict[str, Ranking], Outcomes]:
    """The detections of one kind by score with what they are, for each range of `AREAS`.

    Returns:
        The rankings, and the matches of all areas at the first of `THRESHOLDS` alone.
    """
    many = max(pairs.n_images, 1)
    order, classes = pairs.by_score, pairs.det_classes
    images, scores = pairs.det_keys[order] - classes * many, pairs.sorted_scores
    rankings: dict[str, Ranking] = {}
    outcomes = {name: match(pairs, THRESHOLDS, name) for name in AREAS}
    for name, found in outcomes.items():
        counted = np.bincount(pairs.gt_keys[found.objects], minlength=0)
        groups = np.flatnonzero(counted)
        objects = np.stack([groups // many, groups % many, counted[groups]], axis=1).astype(np.int64)
        columns = (classes, images, scores, found.hits[order], found.ignored[order], objects)
        rankings[name] = trimmed(_ranking(*columns, len(pairs.categories)), len(THRESHOLDS))
    whole = outcomes["all"]
    return rankings, replace(whole, hits=whole.hits & 1, ignored=whole.ignored & 1)


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
    columns = (classes[order], images[order], scores[order], hits[order], ignored[order])
    return _ranking(*columns, objects, n_classes)


def _ranking(
    classes: Whole,
    images: Whole,
    scores: NDArray[np.floating[Any]],
    hits: Whole,
    ignored: Whole,
    objects: Whole,
    n_classes: int,
) -> Ranking:
    """The same of detections that are in order."""
    tied = np.zeros(len(classes), bool)
    tied[1:] = (classes[1:] == classes[:-1]) & (images[1:] == images[:-1]) & (scores[1:] == scores[:-1])
    starts = np.concatenate([[0], np.cumsum(np.bincount(classes, minlength=n_classes))]).astype(np.int64)
    return Ranking(images, hits, ignored, tied, starts, objects)


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


@compiled
def _match(
    levels: Floats,
    overlaps: Floats,
    offsets: Whole,
    gt_ends: Whole,
    det_ends: Whole,
    gt_ignored: Flags,
    crowds: Flags,
    scores: Floats,
    least_score: float,
    hits: Whole,
    ignored: Whole,
    partners: Whole,
    shared: Floats,
) -> None:
    """Give each detection its annotation, as the head of this file says; the last four are updated in place."""
    for n in range(gt_ends.shape[0]):
        first, n_objects = gt_ends[n, 0], gt_ends[n, 1] - gt_ends[n, 0]
        taken = np.empty(n_objects, np.bool_)
        for t in range(levels.size - 1, -1, -1):  # partners of the first level stay
            taken[:] = False
            for d in range(det_ends[n, 0], det_ends[n, 1]):
                if scores[d] < least_score:
                    break
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
                partners[d], shared[d] = -1, 0.0
                if match < 0:
                    continue
                taken[match] = True
                partners[d], shared[d] = first + match, best
                if gt_ignored[first + match]:
                    ignored[d] |= 1 << t
                else:
                    hits[d] |= 1 << t
                    ignored[d] &= ~(1 << t)
