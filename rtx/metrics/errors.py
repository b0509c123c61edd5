"""What a detector's average precision is lost to: the error types of TIDE, at IoU 0.5.

A mistake is a detection that COCO's matching at IoU t_f = 0.5 neither calls a hit nor ignores. With s the largest IoU
of a mistake and the objects of its class in its image, and o that with objects of other classes, crowds left out, it is

    localisation     t_b <= s < t_f                          right class, wrong place; t_b = 0.1
    classification   else, o >= t_f                          right place, wrong class
    duplicate        else, s >= t_f                          the object was taken by a better detection
    background       else, s <= t_b and o <= t_b             nothing there
    both             else                                    wrong class in the wrong place

and an object that nothing took is missed, unless a localisation or classification mistake points at it: one would have
found it. So each mistake is of one type, and each lost object is missed or can be regained.

dAP of a type is AP with its errors fixed minus AP, 0 at the least. Fixing takes its mistakes away; of those that point
at one untaken object, by place or by class, the best becomes a hit of the object's class at its own score. Missed
objects are fixed by not counting them. Beside them, `false_positive` has every hit before every mistake, and
`false_negative` counts the objects that were found alone. The dAP of the types do not add up to what AP lacks.

Source: Bolya et al., "TIDE" (ECCV 2020), sections 2.2 and 2.3, and its code (tidecv 1.0.1) for the order of the tests.
It is not followed where it calls IoU 0.5 exactly a localisation error, classes ignored detections as errors too, takes
the 100 best detections of an image (here of a class in an image), counts classes without objects as AP 0 (here left
out), and counts a class as 0 once none of its objects is left: here that is 1, as nothing is left to find. Otherwise a
detector that misses every object of a class would have lost nothing to missed objects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.metrics.coco_match import RECALLS, Outcomes
from rtx.metrics.coco_pairs import Floats, Pairs, Whole
from rtx.metrics.error_names import SPECIAL, TYPES
from rtx.metrics.other_class import other_class

VERSION = "rtx.errors/1"
FOREGROUND, BACKGROUND = 0.5, 0.1
_CLS, _LOC, _BOTH, _DUP, _BKG, _HIT, _IGNORED, _MOVED = range(8)
_MISTAKES = TYPES[:5]

Kinds = NDArray[np.int8]


@dataclass(frozen=True)
class Sorted:
    """Every detection and object of a kind (boxes or masks) with what it is.

    Attributes:
        pairs: both sides in order.
        kinds: (D',) place in `TYPES` of each mistake; 5 for hits, 6 for ignored detections.
        regains: (D',) row of the untaken object that a mistake finds when it is fixed; -1 for none.
        missed: (G,) whether an object is missed.
        objects: (G,) whether an annotation counts.
    """

    pairs: Pairs
    kinds: Kinds
    regains: Whole
    missed: NDArray[np.bool_]
    objects: NDArray[np.bool_]

    @cached_property
    def _candidates(self) -> tuple[Whole, Kinds, Whole]:
        """What is a hit or can become one, by class and score: where classes start, kinds, and mistakes before each.

        A classification error that regains an object stands in the object's class, as `_MOVED`.
        """
        pairs, n_classes = self.pairs, len(self.pairs.categories)
        moved = np.flatnonzero((self.kinds == _CLS) & (self.regains >= 0))
        classes = pairs.gt_classes[self.regains[moved]]
        order = np.lexsort((-pairs.scores[moved], classes))
        moved_starts = np.searchsorted(classes[order], np.arange(n_classes + 1))
        n = int(((self.kinds == _HIT) | (self.kinds == _LOC)).sum()) + len(moved)
        starts = np.searchsorted(pairs.det_classes, np.arange(n_classes + 1))
        found = np.zeros(n_classes + 1, np.int64), np.zeros(n, np.int8), np.zeros((n, len(_MISTAKES)), np.int64)
        rows = (pairs.by_score, starts, self.kinds, self.regains, pairs.scores)
        _find_candidates(*rows, moved_starts, pairs.scores[moved][order], *found)
        return found

    def counts(self) -> dict[str, int]:
        """How many errors there are of each type, and how many hits."""
        found = np.bincount(self.kinds, minlength=7).tolist()
        return {**dict(zip(_MISTAKES, found, strict=False)), "missed": int(self.missed.sum()), "hits": found[_HIT]}

    def ap(self, fixed: Iterable[str] = ()) -> float:
        """AP at IoU 0.5 with types of error fixed; NaN without objects.

        Args:
            fixed: any of `TYPES`, or one of `SPECIAL`.
        """
        names, pairs = tuple(fixed), self.pairs
        n_classes, gt_classes = len(pairs.categories), pairs.gt_classes
        totals: Any = np.bincount(gt_classes[self.objects], minlength=n_classes)
        there = totals > 0
        if not there.any():
            return math.nan
        if "missed" in names:
            totals = totals - np.bincount(gt_classes[self.missed], minlength=n_classes)
        if "false_negative" in names:
            totals = np.bincount(pairs.det_classes[self.kinds == _HIT], minlength=n_classes)
        every = "false_positive" in names
        gone = np.array([every or name in names for name in _MISTAKES])
        right = np.zeros(_MOVED + 1, np.bool_)
        right[_HIT], right[_LOC], right[_MOVED] = True, gone[_LOC] and not every, gone[_CLS] and not every
        values = np.zeros(n_classes)
        _average_precision(*self._candidates, right, gone, totals, RECALLS, values)
        return float(values[there].mean())


def sort_errors(pairs: Pairs, hits: Outcomes) -> Sorted:
    """Say of each detection and object what it is.

    Args:
        pairs: both sides.
        hits: the matches at `FOREGROUND` alone.
    """
    n = len(pairs.det_order)
    same, target = np.zeros(n), np.full(n, -1, np.int64)
    ends = (pairs.offsets, pairs.gt_ends, pairs.det_ends)
    mistakes = (hits.hits == 0) & (hits.ignored == 0)
    _same_class(pairs.overlaps, *ends, hits.objects, mistakes, same, target)
    located = mistakes & (same >= BACKGROUND) & (same < FOREGROUND)
    rest = mistakes & ~located
    others = other_class(pairs, hits.objects, rest, same, target, least=BACKGROUND, enough=FOREGROUND)
    kinds = np.where(hits.hits > 0, np.int8(_HIT), np.int8(_IGNORED))
    kinds[located] = _LOC
    _told_apart(rest, same, others, kinds)
    taken = np.zeros(len(pairs.gt_order), bool)
    taken[hits.partners[hits.hits > 0]] = True
    regains = np.full(n, -1, np.int64)
    best = np.full(len(pairs.gt_order), -1, np.int64)
    _regained(kinds, target, taken, pairs.scores, pairs.det_order, best)
    winners = best[best >= 0]
    regains[winners] = target[winners]
    return Sorted(pairs, kinds, regains, hits.objects & ~taken & (best < 0), hits.objects)


def error_types(pairs: Pairs, hits: Outcomes) -> dict[str, Any]:
    """What a cell says of the errors of a detector's boxes or masks.

    Returns:
        `AP50`; `dAP`, a fraction for each of `TYPES` and `SPECIAL`; `counts` of each of `TYPES` and of `hits`; and how
        many `objects` there are. Without objects AP50 and dAP are NaN.
    """
    found = sort_errors(pairs, hits)
    whole = found.ap()
    gains = {name: found.ap([name]) - whole for name in (*TYPES, *SPECIAL)}
    return {
        "version": VERSION,
        "AP50": whole,
        "dAP": {name: max(gain, 0.0) if gain == gain else gain for name, gain in gains.items()},
        "counts": found.counts(),
        "objects": int(found.objects.sum()),
    }


@compiled
def _same_class(
    overlaps: Floats,
    offsets: Whole,
    gt_ends: Whole,
    det_ends: Whole,
    objects: NDArray[np.bool_],
    mistakes: NDArray[np.bool_],
    best: Floats,
    target: Whole,
) -> None:
    """The largest IoU of each mistake and the objects of its class, and which has it; of equal ones the first."""
    for n in range(gt_ends.shape[0]):
        first, n_objects = gt_ends[n, 0], gt_ends[n, 1] - gt_ends[n, 0]
        for d in range(det_ends[n, 0], det_ends[n, 1]):
            if not mistakes[d]:
                continue
            row = offsets[n] + (d - det_ends[n, 0]) * n_objects
            for g in range(n_objects):
                if objects[first + g] and overlaps[row + g] > best[d]:
                    best[d], target[d] = overlaps[row + g], first + g


@compiled
def _told_apart(rest: NDArray[np.bool_], same: Floats, others: Floats, kinds: Kinds) -> None:
    """The kinds of the mistakes that are not errors of place."""
    for d in range(rest.size):
        if not rest[d]:
            continue
        if others[d] >= FOREGROUND:
            kinds[d] = _CLS
        elif same[d] >= FOREGROUND:
            kinds[d] = _DUP
        elif max(same[d], others[d]) <= BACKGROUND:
            kinds[d] = _BKG
        else:
            kinds[d] = _BOTH


@compiled
def _regained(kinds: Kinds, target: Whole, taken: NDArray[np.bool_], scores: Floats, place: Whole, best: Whole) -> None:
    """The best mistake that points at each untaken object; of equal scores the detector's first."""
    for d in range(kinds.size):
        if kinds[d] > 1:
            continue
        g = target[d]
        if g < 0 or taken[g]:
            continue
        other = best[g]
        if other < 0 or scores[d] > scores[other] or (scores[d] == scores[other] and place[d] < place[other]):
            best[g] = d


@compiled
def _find_candidates(
    by_score: Whole,
    class_starts: Whole,
    kinds: Kinds,
    regains: Whole,
    scores: Floats,
    moved_starts: Whole,
    moved_scores: Floats,
    starts: Whole,
    found: Kinds,
    before: Whole,
) -> None:
    """One pass over the detections; the last three are filled. Of equal scores the moved ones come last."""
    n, counts = 0, np.zeros(before.shape[1], np.int64)
    for k in range(class_starts.size - 1):
        m = moved_starts[k]
        counts[:] = 0
        for i in range(class_starts[k], class_starts[k + 1]):
            d = by_score[i]
            while m < moved_starts[k + 1] and moved_scores[m] > scores[d]:
                found[n], before[n] = _MOVED, counts
                n, m = n + 1, m + 1
            if kinds[d] == _HIT or (kinds[d] == _LOC and regains[d] >= 0):
                found[n], before[n] = kinds[d], counts
                n += 1
            if kinds[d] < counts.size:
                counts[kinds[d]] += 1
        while m < moved_starts[k + 1]:
            found[n], before[n] = _MOVED, counts
            n, m = n + 1, m + 1
        starts[k + 1] = n


@compiled
def _average_precision(
    starts: Whole,
    found: Kinds,
    before: Whole,
    right: NDArray[np.bool_],
    gone: NDArray[np.bool_],
    totals: Whole,
    recalls: NDArray[np.floating[Any]],
    values: Floats,
) -> None:
    """AP of each class, as `rtx.metrics.coco_match.precisions` has it, without the mistakes whose kinds are `gone`.

    Candidates of the kinds that are `right` are hits, in their order.
    """
    mistakes_at = np.empty(found.size, np.int64)
    for k in range(totals.size):
        if totals[k] == 0:
            values[k] = 1.0  # every object was taken out: nothing is left to find
            continue
        hits = 0
        for i in range(starts[k], starts[k + 1]):
            if right[found[i]]:
                mistakes_at[hits] = 0
                for kind in range(gone.size):
                    if not gone[kind]:
                        mistakes_at[hits] += before[i, kind]
                hits += 1
        best, point, total = 0.0, recalls.size - 1, 0.0
        while point >= 0 and recalls[point] > hits / totals[k]:
            point -= 1
        for j in range(hits - 1, -1, -1):
            best = max(best, (j + 1) / (mistakes_at[j] + (j + 1) + 2.0**-52))
            while point >= 0 and (j == 0 or recalls[point] > j / totals[k]):
                total += best
                point -= 1
        values[k] = total / recalls.size
