"""The best logistic regression of each seed's subset over a grid of weight decays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rtx.errors import unknown_name
from rtx.probe.folds import deal, left_out
from rtx.probe.heads import BUDGET, Column, Fit, fit
from rtx.probe.score import accuracies, right_by_class

HELD_OUT, TEST, DEFAULT = "held-out", "test", "default"
SELECTIONS = (HELD_OUT, TEST)
DECAYS = tuple(10.0 ** (-k / 2) for k in range(10, 1, -1))
"""1e-5 to 1e-1 in half decades, relative to the spread of the features, see `rtx.probe.design.spread`."""
LOWER = tuple(10.0 ** (-k / 2) for k in range(14, 10, -1))
"""1e-7 to 10^-5.5: where few directions hold most of the spread, as in networks that were trained on few classes, the
others are small beside it, and so is the decay that they need."""
DEFAULT_DECAY = 1e-3
"""Where nothing can be held out, as in a subset with one image a class."""


@dataclass(frozen=True)
class Split:
    """Features and labels of a source on a target: training (N, D), (N,), and test."""

    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    classes: int


@dataclass(frozen=True)
class Chosen:
    """The head of one seed, as scores.

    Attributes:
        accuracy: top-1 on the test set, in [0, 1].
        mean_per_class: mean of the classes' recalls there.
        decay: relative to the spread.
        selected_on: "held-out" training images, "test" as in the papers, or "default" where nothing could be held out.
        held_out_accuracy: of the chosen decay; None where nothing was held out.
        at_edge: the chosen decay is the smallest or largest of the grid.
        converged: its fit reached the tolerance.
    """

    accuracy: float
    mean_per_class: float
    decay: float
    selected_on: str
    held_out_accuracy: float | None
    at_edge: bool
    converged: bool


@dataclass(frozen=True)
class _HeldOut:
    """Of S seeds and G decays (S, G): how many held-out images are right, and the log probability of their classes."""

    right: NDArray[np.int64]
    log_probability: NDArray[np.float64]


@dataclass(frozen=True)
class _Tested:
    """Of S seeds and G decays (S, G), fitted on all rows of the subset: test scores, and whether the fit converged."""

    top: NDArray[np.float64]
    mean: NDArray[np.float64]
    converged: NDArray[np.bool_]


def probe(
    split: Split,
    subsets: NDArray[np.int64],
    *,
    spread: float,
    decays: Sequence[float] | None = None,
    select: str = HELD_OUT,
    by_class: bool = False,
    device: str = "cpu",
    budget: int = BUDGET,
) -> list[Chosen]:
    """Fit all seeds' subsets of one size, with every decay and fold, and choose a decay for each seed.

    Args:
        split: features and labels.
        subsets: (S, n) training rows of each seed, in the order drawn.
        spread: that `decays` are relative to.
        decays: the grid; None for `DECAYS`, and `LOWER` as well for seeds whose best is its lower end, or better than
            that by less than two standard errors of the held-out accuracy: where the whole grid is near chance, its
            best says nothing.
        select: "held-out": by accuracy on left-out folds, each of five for less than 1000 images, else one, taken
            together with that of the two decays beside it, since a few dozen images say little; then by their log
            probability. "test": by the test score.
        by_class: the test score is `mean_per_class`.
        device: see `rtx.probe.heads.fit`.
        budget: see `rtx.probe.heads.fit`.

    Raises:
        UnknownName: no such selection.
        BadValue: see `rtx.probe.heads.fit`.
    """
    if select not in SELECTIONS:
        raise unknown_name("selection", select, place="rtx/probe/logistic.py", choices=SELECTIONS)
    grid = sorted(DECAYS if decays is None else decays)
    folds = np.stack([deal(split.train_labels[rows]) for rows in subsets])
    fits = partial(fit, split.train, split.train_labels, classes=split.classes, device=device, budget=budget)
    tested = partial(_tested, fits, split, spread=spread)
    if select == TEST:
        return _by_test(tested, subsets, grid, by_class, more=LOWER if decays is None else ())
    used = left_out(subsets.shape[1])
    n_held = [int(np.isin(dealt, used).sum()) for dealt in folds]
    held_out = partial(_held_out, fits, used=used, spread=spread)
    best: list[tuple[float, float | None, bool]] = [_default(grid)] * len(subsets)
    if some := np.flatnonzero(n_held).tolist():
        found = held_out(subsets[some], folds[some], grid)
        for place, seed in enumerate(some):
            best[seed] = _best(found, place, grid, n_held[seed])
        low = [place for place, seed in enumerate(some) if decays is None and _open_below(found, place, n_held[seed])]
        if low:
            rows = [some[place] for place in low]
            # With three of the decays above, from which the path to the lower ones goes on.
            more = held_out(subsets[rows], folds[rows], [*LOWER, *grid[:3]])
            both = _HeldOut(
                *(
                    np.concatenate([getattr(more, f.name)[:, : len(LOWER)], getattr(found, f.name)[low]], 1)
                    for f in fields(more)
                )
            )
            for place, seed in enumerate(rows):
                best[seed] = _best(both, place, [*LOWER, *grid], n_held[seed])
    # Only the chosen head is fitted on all rows.
    result: dict[int, Chosen] = {}
    for decay in sorted({decay for decay, _, _ in best}, reverse=True):
        seeds = [seed for seed, one in enumerate(best) if one[0] == decay]
        scores = tested(subsets[seeds], [decay])
        for place, seed in enumerate(seeds):
            how = HELD_OUT if n_held[seed] else DEFAULT
            result[seed] = _chosen(scores, place, 0, decay, how, best[seed][1], best[seed][2])
    return [result[seed] for seed in range(len(subsets))]


def _held_out(
    fits: Callable[..., Iterator[Fit]],
    subsets: NDArray[np.int64],
    folds: NDArray[np.int64],
    grid: Sequence[float],
    *,
    used: Sequence[int],
    spread: float,
) -> _HeldOut:
    columns = [Column(decay * spread, fold) for fold in used for decay in grid]
    right = np.zeros((len(subsets), len(grid)), np.int64)
    log_probability = np.zeros(right.shape)
    for found in fits(subsets, columns, folds=folds):
        rows = list(found.subsets)
        for place, column in enumerate(found.columns):
            out = folds[rows] == columns[column].left_out
            right[rows, column % len(grid)] += (found.right[:, place].numpy() & out).sum(1)
            log_probability[rows, column % len(grid)] += (found.log_probability[:, place].numpy() * out).sum(1)
    return _HeldOut(right, log_probability)


def _tested(
    fits: Callable[..., Iterator[Fit]],
    split: Split,
    subsets: NDArray[np.int64],
    grid: Sequence[float],
    *,
    spread: float,
) -> _Tested:
    shape = (len(subsets), len(grid))
    top, mean, converged = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    for found in fits(subsets, [Column(decay * spread) for decay in grid]):
        heads = found.weight.flatten(0, 1), found.bias.flatten(0, 1)
        counts = right_by_class(split.test, split.test_labels, *heads)
        cells = np.ix_(found.subsets, found.columns)
        scores = accuracies(counts, split.test_labels)
        top[cells], mean[cells] = (score.reshape(len(found.subsets), -1) for score in scores)
        converged[cells] = found.converged.cpu().numpy()
    return _Tested(top, mean, converged)


def _by_test(
    tested: Callable[..., _Tested],
    subsets: NDArray[np.int64],
    grid: Sequence[float],
    by_class: bool,
    *,
    more: Sequence[float],
) -> list[Chosen]:
    """The decay with the best test score; where the lower end of the grid has it, among `more` below as well."""
    found, result = tested(subsets, grid), []
    for seed, rows in enumerate(subsets):
        scores, place, decays = found, seed, list(grid)
        best = int((scores.mean if by_class else scores.top)[place].argmax())
        if best == 0 and more:
            low = tested(rows[None], more)
            pairs = ((getattr(low, f.name), getattr(found, f.name)[[seed]]) for f in fields(low))
            scores, place, decays = _Tested(*(np.concatenate(pair, 1) for pair in pairs)), 0, [*more, *grid]
            best = int((scores.mean if by_class else scores.top)[0].argmax())
        result.append(_chosen(scores, place, best, decays[best], TEST, None, _at_edge(best, decays)))
    return result


def _default(grid: Sequence[float]) -> tuple[float, None, bool]:
    best = int(np.abs(np.log(np.array(grid) / DEFAULT_DECAY)).argmin())
    return grid[best], None, _at_edge(best, grid)


def _best(found: _HeldOut, seed: int, grid: Sequence[float], n_held: int) -> tuple[float, float, bool]:
    """The decay of a seed, its accuracy on the held-out images, and whether it is an end of the grid."""
    smooth = _with_neighbours(found.right[[seed]])[0]
    best = max(range(len(grid)), key=lambda g: (smooth[g], found.log_probability[seed, g]))
    return grid[best], float(found.right[seed, best] / n_held), _at_edge(best, grid)


def _open_below(found: _HeldOut, seed: int, n_held: int) -> bool:
    """Whether the lower end of the grid is the best for a seed, or within two standard errors of it."""
    shares = _with_neighbours(found.right[[seed]])[0] / (3 * n_held)
    top = float(shares.max())
    return bool(shares[0] >= top - 2 * math.sqrt(top * (1 - top) / n_held))


def _at_edge(best: int, grid: Sequence[float]) -> bool:
    return len(grid) > 1 and best in (0, len(grid) - 1)


def _chosen(found: _Tested, seed: int, place: int, decay: float, how: str, held: float | None, edge: bool) -> Chosen:
    top, mean = float(found.top[seed, place]), float(found.mean[seed, place])
    return Chosen(top, mean, decay, how, held, edge, bool(found.converged[seed, place]))


def _with_neighbours(right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each count (S, G) plus those beside it; an end counts twice."""
    padded = np.pad(right, ((0, 0), (1, 1)), mode="edge")
    summed: NDArray[np.int64] = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return summed
