"""Scores over seeds: mean, spread and interval, and differences of two sources paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from rtx.probe.results import Results, Row

LEVEL = 0.95


@dataclass(frozen=True)
class Spread:
    """Numbers over seeds, in the unit of the scores.

    Attributes:
        n: seeds.
        mean: of the scores.
        std: with n - 1 in the denominator; NaN for one seed.
        lowest: smallest score.
        highest: largest score.
        interval: 95 % interval of the mean by Student's t over seeds; NaN for one seed.
    """

    n: int
    mean: float
    std: float
    lowest: float
    highest: float
    interval: tuple[float, float]


def spread_of(scores: Sequence[float]) -> Spread:
    """Summarise scores of seeds.

    Example:
        >>> found = spread_of([0.5, 0.6, 0.7])
        >>> round(found.std, 3), [round(end, 3) for end in found.interval]
        (0.1, [0.352, 0.848])
    """
    values = np.asarray(scores, np.float64)
    n, mean = len(values), float(values.mean())
    if n == 1:
        nan = float("nan")
        return Spread(1, mean, nan, mean, mean, (nan, nan))
    std = float(values.std(ddof=1))
    half = float(student.ppf((1 + LEVEL) / 2, n - 1)) * std / n**0.5
    return Spread(n, mean, std, float(values.min()), float(values.max()), (mean - half, mean + half))


def metric_name(by_class: bool) -> str:
    """The field of a row that holds the metric of a target."""
    return "mean_per_class" if by_class else "accuracy"


def by_images(results: Results, metric: str) -> dict[int, Spread]:
    """The scores of each size."""
    return {n: spread_of([getattr(row, metric) for row in rows]) for n, rows in _sizes(results).items()}


def differences(results: Results, reference: Results, metric: str) -> dict[int, Spread]:
    """Score minus that of another source, on the same images with the same seeds, for each size that both have."""
    theirs = {(row.images, row.seed): getattr(row, metric) for row in reference.rows}
    found = {}
    for images, rows in _sizes(results).items():
        pairs = [getattr(row, metric) - theirs[images, row.seed] for row in rows if (images, row.seed) in theirs]
        if pairs:
            found[images] = spread_of(pairs)
    return found


def _sizes(results: Results) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in results.rows:
        found.setdefault(row.images, []).append(row)
    return found
