"""Trainings repeated over seeds: mean, extremes, deviation, 95 % intervals, and differences paired by seed.

Scores of one setting are a mapping seed -> score (a fraction). Runs of one seed share their training subset and their
order of the data, so a difference of two settings is made seed by seed and then averaged (Utrera et al., 2021, Figures
2 to 5). Two intervals of a mean are given:

    t           mean +- t(0.975, n - 1) s / sqrt(n), with s of n - 1 degrees of freedom
    bootstrap   percentiles of the mean over resampled seeds, as seaborn draws it; too narrow for few seeds, since with
                three a mean cannot leave the range of the three

Neither holds what other images would change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue

Scores = Mapping[int, float]
Ends = tuple[float, float]
RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Spread:
    """A mean over seeds.

    Attributes:
        n: how many seeds.
        mean: of the scores.
        lowest: of the scores; Salman et al. (2020) draw it and `highest` as error bars.
        highest: of the scores.
        deviation: of the sample (n - 1 degrees of freedom); None for one seed.
        t: ends of the interval by Student's t; None for one seed.
        bootstrap: ends of the bootstrapped interval; None for one seed.
    """

    n: int
    mean: float
    lowest: float
    highest: float
    deviation: float | None = None
    t: Ends | None = None
    bootstrap: Ends | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval by Student's t holds no zero, for a difference; False where there is no interval."""
        return self.t is not None and not self.t[0] <= 0 <= self.t[1]


def spread(scores: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> Spread:
    """Mean over seeds and how sure it is; the same scores give the same numbers, whatever the order of the seeds.

    Args:
        scores: seed -> score, at least one.
        resamples: of the bootstrap; 0 leaves it out.
        seed: of its draws.

    Raises:
        BadValue: no score, or one that is not finite.

    Example:
        >>> found = spread({0: 0.5, 1: 0.7}, resamples=0)
        >>> round(found.mean, 3), found.lowest, round(found.deviation, 3)
        (0.6, 0.5, 0.141)
    """
    values = np.array([scores[key] for key in sorted(scores)], np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise BadValue(f"scores {dict(scores)} over seeds: there must be at least one, and all finite")
    n, mean = len(values), float(values.mean())
    found = Spread(n, mean, float(values.min()), float(values.max()))
    if n == 1:
        return found
    deviation = float(values.std(ddof=1))
    reach = _student(n - 1) * deviation / math.sqrt(n)
    ends = None
    if resamples:
        low, high = np.quantile(values[_draws(n, resamples, seed)].mean(1), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        ends = float(low), float(high)
    return Spread(n, mean, found.lowest, found.highest, deviation, (mean - reach, mean + reach), ends)


@lru_cache(maxsize=8)
def _draws(n: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, n, (resamples, n))


@lru_cache(maxsize=64)
def _student(freedom: int) -> float:
    from scipy.special import stdtrit  # half a second that few commands need

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


@dataclass(frozen=True)
class Paired:
    """The difference of two settings.

    Attributes:
        difference: over the seeds that both have, first minus second.
        alone: seeds that one of them lacks, which are left out.
    """

    difference: Spread
    alone: tuple[int, ...]


def paired(first: Scores, second: Scores, *, resamples: int = RESAMPLES, seed: int = 0) -> Paired:
    """First minus second, seed by seed.

    Raises:
        BadValue: they share no seed.

    Example:
        >>> paired({0: 0.5, 1: 0.7, 2: 0.9}, {0: 0.4, 1: 0.6}).alone
        (2,)
    """
    both = sorted(first.keys() & second.keys())
    if not both:
        raise BadValue(
            f"seeds {sorted(first)} and {sorted(second)}: none is shared, so nothing can be paired; train both "
            "from the same seeds"
        )
    difference = {key: first[key] - second[key] for key in both}
    return Paired(spread(difference, resamples=resamples, seed=seed), tuple(sorted(first.keys() ^ second.keys())))
