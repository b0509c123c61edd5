"""COCO's matching of detections with annotations, kept per image: the evidence behind box and mask AP.

None of the packages that score gives its matches away in a form that is both fast and complete, so the matching is done
again here, for objects of every size, to the letter of pycocotools. Tests pin that the AP made of it is pycocotools'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.metrics.coco import MAX_DETECTIONS, Columns, Detections, coco_columns
from rtx.metrics.coco_backends import Floats
from rtx.metrics.coco_truth import CocoTruth, ImageId
from rtx.metrics.per_image import DetectionEvidence, Measure, Ranking, trimmed

THRESHOLDS = np.linspace(0.5, 0.95, 10)
_LARGEST = 1e5**2
_ALL = tuple(range(len(THRESHOLDS)))

Whole = NDArray[np.int64]


def coco_evidence(
    truth: CocoTruth,
    detections: Iterable[Detections],
    categories: Sequence[int],
    *,
    image_ids: Iterable[ImageId] | None = None,
    kinds: Sequence[str] = ("bbox",),
    max_detections: int = MAX_DETECTIONS,
    names: Mapping[str, tuple[str, str, str]] | None = None,
) -> DetectionEvidence:
    """The evidence behind AP, AP50 and AP75; arguments as of `rtx.metrics.coco.coco_ap`.

    Args:
        truth: the ground truth.
        detections: at most one entry for each evaluated image.
        categories: category id of each label.
        image_ids: the evaluated images.
        kinds: `bbox`, `segm` or both.
        max_detections: how many detections of a class in an image count.
        names: kind -> names of its three metrics; `<kind>_mAP`, `<kind>_mAP_50`, `<kind>_mAP_75` when None.

    Raises:
        BadValue: as `rtx.metrics.coco.coco_ap`.
        DataError: as `rtx.metrics.coco.coco_ap`.
    """
    tables = coco_columns(truth, detections, categories, image_ids=image_ids, kinds=kinds)
    measures: dict[str, Measure] = {}
    for kind in tables:
        titles = (f"{kind}_mAP", f"{kind}_mAP_50", f"{kind}_mAP_75") if names is None else names[kind]
        for title, thresholds in zip(titles, (_ALL, (0,), (5,)), strict=True):
            measures[title] = Measure(f"coco_{kind}", "101 points", thresholds)
    rankings = {f"coco_{kind}": rank(table, categories, max_detections) for kind, table in tables.items()}
    ids = next(iter(tables.values())).ids
    return DetectionEvidence(tuple(str(i) for i in ids), rankings, measures)


def rank(table: Columns, categories: Sequence[int], max_detections: int = MAX_DETECTIONS) -> Ranking:
    """Match the detections of one kind and put them in order.

    Args:
        table: ground truth and detections.
        categories: the category ids that count.
        max_detections: how many detections of a class in an image count.
    """
    truth, found, n_images = table.truth, table.found, len(table.ids)
    assert found.scores is not None
    kept = np.array(sorted(set(categories)), np.int64)
    keys = [np.searchsorted(kept, side.categories) * n_images + side.images for side in (truth, found)]
    off = (truth.crowds > 0) | (truth.areas < 0) | (truth.areas > _LARGEST)
    # Within an image and class: objects that count first, detections by score; equal ones as they came.
    goal = np.lexsort((off, keys[0]))
    guess = np.lexsort((-found.scores, keys[1]))
    guess = guess[_position(keys[1][guess]) < max_detections]
    truth_keys, found_keys = keys[0][goal], keys[1][guess]
    truth_ends, found_ends = _groups(truth_keys, found_keys)
    offsets = np.concatenate(
        [[0], np.cumsum((truth_ends[:, 1] - truth_ends[:, 0]) * (found_ends[:, 1] - found_ends[:, 0]))]
    )
    crowds = truth.crowds[goal].astype(np.int64)
    overlaps = np.zeros(int(offsets[-1]))
    if truth.masks is None:
        _box_overlaps(truth.boxes[goal], crowds, found.boxes[guess], truth_ends, found_ends, offsets, overlaps)
    else:
        _mask_overlaps(table, goal, guess, crowds, truth_ends, found_ends, offsets, overlaps)
    hits, ignored = np.zeros(len(guess), np.int64), np.zeros(len(guess), np.int64)
    aside = (found.areas[guess] < 0) | (found.areas[guess] > _LARGEST)
    ignored[aside] = (1 << len(THRESHOLDS)) - 1
    levels = np.minimum(THRESHOLDS, 1 - 1e-10)
    _match(
        levels,
        overlaps,
        offsets,
        truth_ends,
        found_ends,
        off[goal].astype(np.int64),
        crowds,
        aside.astype(np.int64),
        hits,
        ignored,
    )
    counted = np.bincount(truth_keys[~off[goal]], minlength=0)
    cells = np.flatnonzero(counted)
    objects = np.stack([cells // n_images, cells % n_images, counted[cells]], axis=1) if n_images else np.zeros((0, 3))
    return ordered(
        found_keys // max(n_images, 1), found_keys % max(n_images, 1), found.scores[guess], hits, ignored,
        objects.astype(np.int64), len(kept), len(THRESHOLDS),
    )  # fmt: skip


def ordered(
    classes: Whole,
    images: Whole,
    scores: NDArray[np.floating[Any]],
    hits: Whole,
    ignored: Whole,
    objects: Whole,
    n_classes: int,
    n_thresholds: int,
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
        n_thresholds: how many bits count.
    """
    order = np.lexsort((-scores, classes))
    classes, images, scores = classes[order], images[order], scores[order]
    tied = np.zeros(len(order), bool)
    tied[1:] = (classes[1:] == classes[:-1]) & (images[1:] == images[:-1]) & (scores[1:] == scores[:-1])
    starts = np.concatenate([[0], np.cumsum(np.bincount(classes, minlength=n_classes))]).astype(np.int64)
    return trimmed(Ranking(images, hits[order], ignored[order], tied, starts, objects), n_thresholds)


def _position(keys: Whole) -> Whole:
    """Place of each element among those with its key; equal keys lie together."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return np.arange(len(keys)) - np.repeat(first, np.diff(np.concatenate([first, [len(keys)]])))


def _groups(truth_keys: Whole, found_keys: Whole) -> tuple[Whole, Whole]:
    """Where each key that both sides hold lies (start, end) on either side."""
    both = np.intersect1d(truth_keys, found_keys)
    ends = [
        np.stack([np.searchsorted(keys, both, "left"), np.searchsorted(keys, both, "right")], axis=1)
        for keys in (truth_keys, found_keys)
    ]
    return ends[0].astype(np.int64), ends[1].astype(np.int64)


def _mask_overlaps(
    table: Columns,
    goal: Whole,
    guess: Whole,
    crowds: Whole,
    truth_ends: Whole,
    found_ends: Whole,
    offsets: Whole,
    out: Floats,
) -> None:
    from pycocotools import mask as codec

    assert table.truth.masks is not None and table.found.masks is not None
    for n in range(len(truth_ends)):
        mine, theirs = slice(*truth_ends[n].tolist()), slice(*found_ends[n].tolist())
        objects = [table.truth.masks[i] for i in goal[mine].tolist()]
        guesses = [table.found.masks[i] for i in guess[theirs].tolist()]
        out[offsets[n] : offsets[n + 1]] = codec.iou(guesses, objects, crowds[mine].tolist()).reshape(-1)


@compiled
def _box_overlaps(
    truth: Floats, crowds: Whole, found: Floats, truth_ends: Whole, found_ends: Whole, offsets: Whole, out: Floats
) -> None:
    """IoU of left, top, width, height boxes; of a crowd, the share of the detection that lies in it."""
    for n in range(truth_ends.shape[0]):
        at = offsets[n]
        for d in range(found_ends[n, 0], found_ends[n, 1]):
            for g in range(truth_ends[n, 0], truth_ends[n, 1]):
                width = min(found[d, 2] + found[d, 0], truth[g, 2] + truth[g, 0]) - max(found[d, 0], truth[g, 0])
                height = min(found[d, 3] + found[d, 1], truth[g, 3] + truth[g, 1]) - max(found[d, 1], truth[g, 1])
                if width > 0 and height > 0:
                    mine = found[d, 2] * found[d, 3]
                    common = width * height
                    union = mine if crowds[g] else mine + truth[g, 2] * truth[g, 3] - common
                    out[at] = common / union
                at += 1


@compiled
def _match(
    levels: Floats,
    overlaps: Floats,
    offsets: Whole,
    truth_ends: Whole,
    found_ends: Whole,
    off: Whole,
    crowds: Whole,
    aside: Whole,
    hits: Whole,
    ignored: Whole,
) -> None:
    """Give each detection, best first, the free object that it covers most, and those that do not count last."""
    for n in range(truth_ends.shape[0]):
        first, n_objects = truth_ends[n, 0], truth_ends[n, 1] - truth_ends[n, 0]
        taken = np.empty(n_objects, np.bool_)
        for t in range(levels.size):
            taken[:] = False
            for d in range(found_ends[n, 0], found_ends[n, 1]):
                row = offsets[n] + (d - found_ends[n, 0]) * n_objects
                best, match = levels[t], -1
                for g in range(n_objects):
                    if taken[g] and not crowds[first + g]:
                        continue
                    if match > -1 and off[first + match] == 0 and off[first + g] == 1:
                        break
                    if overlaps[row + g] < best:
                        continue
                    best, match = overlaps[row + g], g
                if match == -1:
                    continue
                taken[match] = True
                if off[first + match]:
                    ignored[d] |= 1 << t
                else:
                    hits[d] |= 1 << t
                    if aside[d]:
                        ignored[d] &= ~(1 << t)
