"""The best logistic regression of each seed's subset over a grid of weight decays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rtx.errors import unknown_name
from rtx.probe.folds import deal, left_out
from rtx.probe.heads import BUDGET, Column, fit
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
class _Measured:
    """Of S seeds and G decays: test scores, converged; of held-out images how many right, and log probability."""

    top: NDArray[np.float64]
    mean: NDArray[np.float64]
    converged: NDArray[np.bool_]
    right: NDArray[np.int64]
    log_probability: NDArray[np.float64]

    def joined(self, seed: int, other: _Measured, of_other: int) -> _Measured:
        """One seed of this grid, and after it one of another grid."""
        parts = (
            np.concatenate([getattr(self, one.name)[[seed]], getattr(other, one.name)[[of_other]]], 1)
            for one in fields(self)
        )
        return _Measured(*parts)


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
        decays: the grid; None for `DECAYS`, and `LOWER` as well for seeds that choose its lower end.
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
    used = left_out(subsets.shape[1]) if select == HELD_OUT else ()
    measure = partial(_measure, split, spread=spread, used=used, device=device, budget=budget)
    found = measure(subsets, folds, grid)
    n_held = [int(np.isin(dealt, used).sum()) for dealt in folds]
    result = [_choose(found, seed, grid, select, n, by_class) for seed, n in enumerate(n_held)]
    low = [seed for seed, one in enumerate(result) if one.at_edge and one.decay == grid[0]] if decays is None else []
    if low:
        more = measure(subsets[low], folds[low], LOWER)
        for place, seed in enumerate(low):
            both = more.joined(place, found, seed)
            result[seed] = _choose(both, 0, [*LOWER, *grid], select, n_held[seed], by_class)
    return result


def _measure(
    split: Split,
    subsets: NDArray[np.int64],
    folds: NDArray[np.int64],
    grid: Sequence[float],
    *,
    spread: float,
    used: Sequence[int],
    device: str,
    budget: int,
) -> _Measured:
    columns = [Column(decay * spread, fold) for fold in (None, *used) for decay in grid]
    shape = (len(subsets), len(grid))
    top, mean, converged = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    right, log_probability = np.zeros(shape, np.int64), np.zeros(shape)
    fits = fit(
        split.train, split.train_labels, subsets, columns, classes=split.classes, folds=folds, device=device,
        budget=budget,
    )  # fmt: skip
    for found in fits:
        rows = list(found.subsets)
        whole = [place for place, column in enumerate(found.columns) if column < len(grid)]
        if whole:
            heads = found.weight[:, whole].flatten(0, 1), found.bias[:, whole].flatten(0, 1)
            counts = right_by_class(split.test, split.test_labels, *heads)
            cells = np.ix_(rows, [found.columns[place] for place in whole])
            top[cells], mean[cells] = (score.reshape(len(rows), -1) for score in accuracies(counts, split.test_labels))
            converged[cells] = found.converged[:, whole].cpu().numpy()
        for place, column in enumerate(found.columns):
            if column >= len(grid):
                out = folds[rows] == columns[column].left_out
                right[rows, column % len(grid)] += (found.right[:, place].numpy() & out).sum(1)
                log_probability[rows, column % len(grid)] += (found.log_probability[:, place].numpy() * out).sum(1)
    return _Measured(top, mean, converged, right, log_probability)


def _choose(found: _Measured, seed: int, grid: Sequence[float], select: str, n_held: int, by_class: bool) -> Chosen:
    if select == TEST:
        best, how = int((found.mean if by_class else found.top)[seed].argmax()), TEST
    elif n_held == 0:
        best, how = int(np.abs(np.log(np.array(grid) / DEFAULT_DECAY)).argmin()), DEFAULT
    else:
        smooth = _with_neighbours(found.right[[seed]])[0]
        best, how = max(range(len(grid)), key=lambda g: (smooth[g], found.log_probability[seed, g])), HELD_OUT
    held = float(found.right[seed, best] / n_held) if how == HELD_OUT else None
    edge = len(grid) > 1 and best in (0, len(grid) - 1)
    top, mean = float(found.top[seed, best]), float(found.mean[seed, best])
    return Chosen(top, mean, grid[best], how, held, edge, bool(found.converged[seed, best]))


def _with_neighbours(right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each count (S, G) plus those beside it; an end counts twice."""
    padded = np.pad(right, ((0, 0), (1, 1)), mode="edge")
    summed: NDArray[np.int64] = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return summed
