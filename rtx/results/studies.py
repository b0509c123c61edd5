"""What the papers make of many trainings: R2, the best eps, learning curves, degree of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from rtx.errors import BadValue
from rtx.results.over_seeds import RESAMPLES, Scores, Spread, paired, spread

Key = TypeVar("Key")
EPOCHS = ("last", "best")
"""Utrera et al. (2021) take the last epoch in Figure 2, and in the study of blocks the best one on the test set."""


def r_squared(source: Sequence[float], target: Sequence[float]) -> float:
    """The squared correlation (Pearson's r) of source and target accuracies of some architectures.

    Source: Salman et al. (2020), Table 2.

    Raises:
        BadValue: fewer than three pairs, or all of one side are equal.

    Example:
        >>> round(r_squared([0.1, 0.2, 0.3], [0.5, 0.6, 0.8]), 3)
        0.964
    """
    return correlation(source, target) ** 2


def correlation(source: Sequence[float], target: Sequence[float]) -> float:
    """Pearson's r of source and target accuracies, see `r_squared`.

    Raises:
        BadValue: fewer than three pairs, or all of one side are equal.
    """
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if x.shape != y.shape or len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise BadValue(
            f"R2 of {len(x)} source and {len(y)} target accuracies: it needs three pairs or more that are not all equal"
        )
    return float(np.corrcoef(x, y)[0, 1])


@dataclass(frozen=True)
class Best(Generic[Key]):
    """The best of some settings.

    Attributes:
        key: the setting with the highest mean; of equal ones the first.
        score: its scores over seeds.
        ties: settings that are not told apart from it: the interval (t) of the difference paired by seed holds zero, or
            the means are equal.
        untested: settings of a lower mean that share fewer than two seeds with the best, so that nothing is known.
    """

    key: Key
    score: Spread
    ties: tuple[Key, ...]
    untested: tuple[Key, ...]


def best(settings: Mapping[Key, Scores]) -> Best[Key]:
    """The best setting, e.g. eps, and those that may be as good; chosen on whatever the scores are of.

    Raises:
        BadValue: no setting.

    Example:
        >>> found = best({0.0: {0: 0.50, 1: 0.52}, 3.0: {0: 0.60, 1: 0.62}, 5.0: {0: 0.58, 1: 0.63}})
        >>> found.key, found.ties, found.untested
        (3.0, (5.0,), ())
    """
    if not settings:
        raise BadValue("the best of no setting: give at least one")
    spreads = {key: spread(scores, resamples=0) for key, scores in settings.items()}
    key = max(spreads, key=lambda one: spreads[one].mean)  # of equal ones the first
    ties, untested = [], []
    for other, scores in settings.items():
        if other == key:
            continue
        shared = settings[key].keys() & scores.keys()
        if abs(spreads[other].mean - spreads[key].mean) < 1e-9:
            ties.append(other)
        elif len(shared) < 2:
            untested.append(other)
        elif not paired(settings[key], scores, resamples=0).difference.excludes_zero:
            ties.append(other)
    return Best(key, spread(settings[key]), tuple(ties), tuple(untested))


Curves = Mapping[int, Mapping[int, float]]
"""Seed -> epoch -> score."""


def learning_curve(curves: Curves, *, resamples: int = RESAMPLES) -> dict[int, Spread]:
    """Epoch -> scores over seeds, for the epochs at which every seed was tested."""
    return {epoch: spread(at_epoch(curves, epoch), resamples=resamples) for epoch in _epochs(curves)}


def curve_difference(first: Curves, second: Curves, *, resamples: int = RESAMPLES) -> dict[int, Spread]:
    """Epoch -> first minus second, paired by seed (Utrera et al., 2021, Figure 3b).

    Args:
        first: curves of one setting.
        second: curves of the other.
        resamples: of the bootstrap, see `rtx.results.over_seeds.spread`.

    Raises:
        BadValue: no shared seed.
    """
    epochs = sorted(set(_epochs(first)) & set(_epochs(second)))
    pairs = {epoch: (at_epoch(first, epoch), at_epoch(second, epoch)) for epoch in epochs}
    return {epoch: paired(*pair, resamples=resamples).difference for epoch, pair in pairs.items()}


def at_epoch(curves: Curves, epoch: int | str) -> dict[int, float]:
    """Seed -> score after an epoch, or after the "last" or the "best" one of each seed.

    Raises:
        BadValue: another word, or a seed that was not tested then.
    """
    if isinstance(epoch, str):
        if epoch not in EPOCHS:
            raise BadValue(f"epoch {epoch!r}: must be a number or one of {', '.join(EPOCHS)}")
        return {seed: max(curve.values()) if epoch == "best" else curve[max(curve)] for seed, curve in curves.items()}
    absent = [seed for seed, curve in curves.items() if epoch not in curve]
    if absent:
        raise BadValue(f"epoch {epoch}: seed {absent[0]} was tested after {sorted(curves[absent[0]])}")
    return {seed: curve[epoch] for seed, curve in curves.items()}


def _epochs(curves: Curves) -> list[int]:
    return sorted(set.intersection(*(set(curve) for curve in curves.values()))) if curves else []


@dataclass(frozen=True)
class Degree:
    """How far a source was fine-tuned, and what that left of its robustness.

    Attributes:
        rate: the learning rate.
        clean: P over seeds.
        corrupted: mPC over seeds.
        drop: 1 - mPC / P, made for each seed, over seeds.
    """

    rate: float
    clean: Spread
    corrupted: Spread
    drop: Spread


def degrees(runs: Mapping[float, Mapping[int, tuple[float, float]]]) -> list[Degree]:
    """Scores by learning rate, the smallest first (Yamada & Otani, 2022, appendix B.1 and Figure 5).

    Args:
        runs: learning rate -> seed -> (P, mPC).

    Raises:
        BadValue: a rate without runs, or a clean score of 0.
    """
    found = []
    for rate in sorted(runs):
        scores = runs[rate]
        if any(not clean > 0 for clean, _ in scores.values()):
            raise BadValue(f"learning rate {rate:g}: a clean score is 0, so no drop can be given")
        parts: list[dict[int, float]] = [{}, {}, {}]
        for seed, (clean, corrupted) in scores.items():
            for part, value in zip(parts, (clean, corrupted, 1 - corrupted / clean), strict=True):
                part[seed] = value
        found.append(Degree(rate, *map(spread, parts)))
    return found
