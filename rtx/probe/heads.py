"""Multinomial logistic regression by full-batch L-BFGS: seeds and held-out folds of a size in one batch.

The minimum is that of scikit-learn's LogisticRegression with C = 1 / (decay n), for three classes or more; the bias is
not decayed. Weight decays are worked on from the strongest to the weakest, each from where those before it point to:
the minimum is a smooth function of log decay. Most of the work is done in float32; what is more than a choice between
decays ends in float64. Where n or D are large, seeds and columns are worked on in groups that fit `budget`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtx.errors import BadValue
from rtx.probe.design import Design
from rtx.probe.lbfgs import minimise

HISTORY = 10
TOLERANCE = 1e-6
MAX_EVALUATIONS = 500
BUDGET = 1 << 30
_SINGLE, _NOISE = 1e-5, 1e-6
"""Below this tolerance a search goes on in float64; relative rounding of a loss in float32."""


@dataclass(frozen=True)
class Column:
    """A fit on a subset: a weight decay, and the fold that is left out; None uses all rows."""

    decay: float
    left_out: int | None = None


@dataclass(frozen=True)
class Fit:
    """Heads of some subsets and columns.

    Attributes:
        subsets: which of the S subsets, ascending.
        columns: which of the J columns.
        weight: float64 (s, j, K, D), bias (s, j, K), for features as they are.
        bias: see `weight`.
        log_probability: (s, j, n) that the head gives to the right class of each row, log.
        right: bool (s, j, n), whether that class has the highest one.
        converged: bool (s, j).
        evaluations: of loss and gradient, batched.
    """

    subsets: tuple[int, ...]
    columns: tuple[int, ...]
    weight: Tensor
    bias: Tensor
    log_probability: Tensor
    right: Tensor
    converged: Tensor
    evaluations: int

    def in_order(self, positions: Tensor) -> Fit:
        """With the rows of each subset at other positions (S, n), of all subsets."""
        index = positions[list(self.subsets)][:, None].expand_as(self.right)
        return replace(self, log_probability=self.log_probability.gather(2, index), right=self.right.gather(2, index))


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    subsets: NDArray[np.int64],
    columns: Sequence[Column],
    *,
    classes: int,
    folds: NDArray[np.int64] | None = None,
    device: str = "cpu",
    budget: int = BUDGET,
    tolerance: float = TOLERANCE,
    max_evaluations: int = MAX_EVALUATIONS,
) -> Iterator[Fit]:
    """Fit heads for every subset and column, group by group.

    Args:
        features: float32 (N, D), an array or memory map.
        labels: (N,) in 0 ... classes - 1.
        subsets: (S, n) rows of the features; one subset for each seed.
        columns: weight decays in the features' own units, and folds.
        classes: outputs of a head.
        folds: (S, n) the fold of each row of each subset, -1 for rows that are never left out.
        device: "cpu" or "cuda".
        budget: bytes that a group may take.
        tolerance: largest entry of the gradient, in preconditioned coordinates; 100 times that where a fold is left
            out, since such a head is only there to choose a decay.
        max_evaluations: of loss and gradient.

    Raises:
        BadValue: a label out of range, a decay that is not positive, a row that does not exist, a feature that is NaN.
    """
    _check(features, labels, subsets, columns, classes)
    # In the order in which they lie on disk; a fit does not depend on it.
    order = np.argsort(subsets, axis=1)
    subsets = np.take_along_axis(subsets, order, 1)
    folds = None if folds is None else np.take_along_axis(folds, order, 1)
    drawn = torch.from_numpy(np.argsort(order, axis=1))
    n, width = subsets.shape[1], features.shape[1]
    inner = min(n, width)
    rows_bytes = (8 + 4) * n * (width + inner) + 8 * inner * (3 * inner + width)
    column_bytes = 8 * classes * ((2 * HISTORY + 13) * (inner + 1) + width) + 18 * n
    streamed = rows_bytes > budget // 2
    # Beside each other: all columns where each step reads a file, else those of one decay.
    folds_of = list(dict.fromkeys(column.left_out for column in columns))
    together = len(columns) if streamed else len(folds_of)
    shared = 0 if streamed else rows_bytes
    at_once = 1 if streamed else max(1, min(len(subsets), budget // (2 * (shared + together * column_bytes))))
    step = max(1, min(together, budget // (2 * at_once * column_bytes)))
    if streamed:
        groups = [[tuple(range(a, min(a + step, len(columns))))] for a in range(0, len(columns), step)]
    else:
        groups = [_path(columns, folds_of[a : a + step]) for a in range(0, len(folds_of), step)]
    for first in range(0, len(subsets), at_once):
        chosen = range(first, min(first + at_once, len(subsets)))
        design = Design(features, subsets[first : chosen.stop], device, streamed=streamed)
        at = torch.from_numpy(labels[subsets[first : chosen.stop]]).to(device)
        dealt = None if folds is None else torch.from_numpy(folds[first : chosen.stop]).to(device)
        for group in groups:
            trail = _Trail()
            for some in group:
                problem = _Problem(design, at, [columns[j] for j in some], dealt, classes, budget)
                yield problem.solve(tuple(chosen), tuple(some), trail, tolerance, max_evaluations).in_order(drawn)


def _check(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    subsets: NDArray[np.int64],
    columns: Sequence[Column],
    classes: int,
) -> None:
    if len(features) != len(labels):
        raise BadValue(f"{len(features)} rows of features and {len(labels)} labels: one label a row")
    if subsets.size == 0 or subsets.min() < 0 or subsets.max() >= len(features):
        raise BadValue(f"a subset is empty or names a row that is not among the {len(features)} of the features")
    used = labels[subsets]
    if used.min() < 0 or used.max() >= classes:
        raise BadValue(f"labels run from {used.min()} to {used.max()}; {classes} classes have 0 to {classes - 1}")
    wrong = [column.decay for column in columns if not (np.isfinite(column.decay) and column.decay > 0)]
    if wrong or not columns:
        raise BadValue(f"weight decay {wrong[0] if wrong else 'missing'}: give one or more numbers above 0")


def _path(columns: Sequence[Column], folds: Sequence[int | None]) -> list[tuple[int, ...]]:
    """The columns of some folds, those of one decay together, the strongest first."""
    mine = [j for j, column in enumerate(columns) if column.left_out in folds]
    decays = sorted({columns[j].decay for j in mine}, reverse=True)
    return [tuple(j for j in mine if columns[j].decay == decay) for decay in decays]


class _Trail:
    """The minima of the last three decays of each fold, in the coordinates of a design."""

    def __init__(self) -> None:
        self.last: dict[int | None, list[tuple[float, Tensor, Tensor]]] = {}

    def add(self, column: Column, weight: Tensor, bias: Tensor) -> None:
        self.last[column.left_out] = [*self.last.get(column.left_out, [])[-2:], (log(column.decay), weight, bias)]

    def ahead(self, column: Column) -> tuple[Tensor, Tensor] | None:
        """Where the next minimum is by a parabola in log decay, no further than the last two are apart."""
        found = self.last.get(column.left_out, [])
        if not found:
            return None
        places = [place for place, _, _ in found]
        at = max(log(column.decay), 2 * places[-1] - places[-2]) if len(found) > 1 else places[0]
        parts = [prod((at - b) / (a - b) for b in places if b != a) for a in places]  # Lagrange
        weight, bias = torch.zeros_like(found[0][1]), torch.zeros_like(found[0][2])
        for part, (_, old_weight, old_bias) in zip(parts, found, strict=True):
            weight += part * old_weight
            bias += part * old_bias
        return weight, bias


class _Problem:
    """The loss of a group of subsets and columns as a function of preconditioned weights (S, J, K (d + 1))."""

    def __init__(
        self,
        design: Design,
        labels: Tensor,
        columns: Sequence[Column],
        folds: Tensor | None,
        classes: int,
        budget: int,
    ) -> None:
        self.design, self.labels, self.columns, self.classes = design, labels, columns, classes
        self.precision = torch.float32
        n_subsets, width = design.variance.shape
        self.decays = torch.tensor([c.decay for c in columns], dtype=torch.float64, device=labels.device)
        weights = torch.ones(n_subsets, design.n, len(columns), dtype=torch.float64, device=labels.device)
        self.loosened = torch.ones_like(self.decays)
        for j, column in enumerate(columns):
            if column.left_out is not None:
                self.loosened[j] = 100
                assert folds is not None
                weights[:, :, j] = (folds != column.left_out).double()
        self.weights = weights / weights.sum(1, keepdim=True)
        self.scale = (design.variance[:, None] / classes + self.decays[:, None]).rsqrt()  # (S, J, d)
        self.shape = (n_subsets, len(columns), classes, width + 1)
        self.rows_at_once = max(1, budget // (4 * 24 * n_subsets * len(columns) * classes))

    def _start(self, trail: _Trail) -> Tensor:
        x = self.weights.new_zeros(self.shape)
        for j, column in enumerate(self.columns):
            if (ahead := trail.ahead(column)) is not None:
                x[:, j, :, :-1], x[:, j, :, -1] = ahead[0] / self.scale[:, j, None], ahead[1] / self.classes**0.5
        return x.flatten(2)

    def head(self, x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        theta = x.view(len(x), len(columns), self.classes, -1)
        return theta[..., :-1] * self.scale[:, columns, None], theta[..., -1] * self.classes**0.5

    def logits(self, weight: Tensor, bias: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Pieces of rows: (which, their coordinates (S, c, d), logits (S, c, J, K) in the precision of the rows)."""
        n_subsets, n_columns = bias.shape[:2]
        flat = self.design.to_rows(weight.flatten(1, 2)).to(self.precision).mT
        for part, rows in self.design.chunks(self.rows_at_once, self.precision):
            found = (rows @ flat).view(n_subsets, -1, n_columns, self.classes)
            yield part, rows, found.add_(bias[:, None])

    def evaluate(self, x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = self.head(x, columns)
        decays = self.decays[columns]
        loss = weight.square().sum((-1, -2)) * decays / 2
        by_weight: Tensor | float = 0.0
        by_bias = torch.zeros_like(bias)
        for part, rows, logits in self.logits(weight, bias):
            weights = self.weights[:, part][..., columns]
            logits -= logits.logsumexp(-1, keepdim=True)
            index = self.labels[:, part, None, None].expand(*logits.shape[:3], 1)
            loss -= (logits.gather(-1, index)[..., 0] * weights).sum(1)
            residual = logits.exp_()
            residual.scatter_add_(-1, index, residual.new_full((1,), -1.0).expand_as(index))
            residual *= weights[..., None].to(residual.dtype)
            by_bias += residual.sum(1, dtype=torch.float64)
            by_weight = by_weight + (residual.flatten(2).mT @ rows).double()
        assert isinstance(by_weight, Tensor)
        by_weight = self.design.from_rows(by_weight).view_as(weight) + decays[:, None, None] * weight
        gradient = torch.cat([by_weight * self.scale[:, columns, None], by_bias[..., None] * self.classes**0.5], -1)
        return loss, gradient.flatten(2)

    def solve(
        self,
        subsets: tuple[int, ...],
        columns: tuple[int, ...],
        trail: _Trail,
        tolerance: float,
        max_evaluations: int,
    ) -> Fit:
        asked = tolerance * self.loosened
        every = torch.arange(len(columns), device=asked.device)
        search = partial(minimise, max_evaluations=max_evaluations, history=HISTORY)
        first = asked if self.design.streamed else asked.clamp(min=TOLERANCE)
        found = search(self.evaluate, self._start(trail), tolerance=first, noise=_NOISE)
        x, converged, evaluations = found.x, found.converged, found.evaluations
        tight = (asked < _SINGLE).nonzero()[:, 0]
        if len(tight) and not self.design.streamed:
            self.precision = torch.float64

            def evaluate(x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
                return self.evaluate(x, tight[columns])

            found = search(evaluate, x[:, tight], tolerance=asked[tight], noise=1e-14)
            x[:, tight], converged[:, tight] = found.x, found.converged
            evaluations += found.evaluations
        weight, bias = self.head(x, every)
        for j, column in enumerate(self.columns):
            trail.add(column, weight[:, j], bias[:, j])
        log_probability = torch.empty(len(subsets), len(columns), self.design.n, dtype=torch.float64)
        right = torch.empty(log_probability.shape, dtype=torch.bool)
        for part, _, logits in self.logits(weight, bias):
            index = self.labels[:, part, None, None].expand(*logits.shape[:3], 1)
            logits -= logits.logsumexp(-1, keepdim=True)
            log_probability[..., part] = logits.gather(-1, index)[..., 0].mT.double().cpu()
            right[..., part] = (logits.argmax(-1) == index[..., 0]).mT.cpu()
        raw_weight, raw_bias = self.design.raw_head(weight, bias)
        return Fit(subsets, columns, raw_weight, raw_bias, log_probability, right, converged, evaluations)
