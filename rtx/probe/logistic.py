"""The best logistic regression of each seed's subset over a grid of weight decays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def probe(
    split: Split,
    subsets: NDArray[np.int64],
    *,
    spread: float,
    decays: Sequence[float] = DECAYS,
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
        decays: the grid.
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
    grid = sorted(decays)
    folds = np.stack([deal(split.train_labels[rows]) for rows in subsets])
    used = left_out(subsets.shape[1]) if select == HELD_OUT else ()
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
    n_held = np.isin(folds, used).sum(1)
    smooth = _with_neighbours(right)
    score = mean if by_class else top
    result = []
    for seed in range(len(subsets)):
        if select == TEST:
            best, how = int(score[seed].argmax()), TEST
        elif n_held[seed] == 0:
            best, how = int(np.abs(np.log(np.array(grid) / DEFAULT_DECAY)).argmin()), DEFAULT
        else:
            best, how = max(range(len(grid)), key=lambda g: (smooth[seed, g], log_probability[seed, g])), HELD_OUT
        held = float(right[seed, best] / n_held[seed]) if how == HELD_OUT else None
        edge = len(grid) > 1 and best in (0, len(grid) - 1)
        result.append(
            Chosen(
                float(top[seed, best]), float(mean[seed, best]), grid[best], how, held, edge,
                bool(converged[seed, best]),
            )
        )  # fmt: skip
    return result


def _with_neighbours(right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each count (S, G) plus those beside it; an end counts twice."""
    padded = np.pad(right, ((0, 0), (1, 1)), mode="edge")
    summed: NDArray[np.int64] = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return summed
