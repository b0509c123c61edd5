"""The trend of published detectors: what mPC a clean score P usually comes with, and who lies above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtx.reports.runs.groups import Group
from rtx.reports.published import departures, trend_points
from rtx.reports.runs.naming import label
from rtx.reports.runs.runs import Run

ENOUGH = 8


@dataclass(frozen=True)
class Trend:
    """A straight line mPC = slope * P + offset through published detectors, least squares.

    Attributes:
        slope: mPC gained for each point of P.
        offset: mPC at P = 0.
        points: (name, P, mPC) that it was fitted to.
    """

    slope: float
    offset: float
    points: tuple[tuple[str, float, float], ...]

    def residual(self, clean: float, corrupted: float) -> float:
        """MPC above (or below) what the trend gives for this P: effective robustness."""
        return corrupted - (self.slope * clean + self.offset)

    @property
    def reach(self) -> tuple[float, float]:
        """P from and to which the line is believed: what its points span, and half of that on either side."""
        clean = [p for _, p, _ in self.points]
        slack = 0.5 * (max(clean) - min(clean))
        return min(clean) - slack, max(clean) + slack

    @property
    def few(self) -> bool:
        """Whether the line rests on fewer than eight detectors."""
        return len(self.points) < ENOUGH


def fit(points: Sequence[tuple[str, float, float]]) -> Trend | None:
    """Fit the line; None for fewer than three points or where all have one P.

    Example:
        >>> line = fit([("a", 0.2, 0.1), ("b", 0.4, 0.2), ("c", 0.6, 0.3)])
        >>> round(line.residual(0.5, 0.3), 6)
        0.05
    """
    clean = np.array([p for _, p, _ in points])
    corrupted = np.array([m for _, _, m in points])
    if len(points) < 3 or np.ptp(clean) == 0:
        return None
    slope, offset = np.polyfit(clean, corrupted, 1)
    return Trend(float(slope), float(offset), tuple(points))


def trend_of(group: Group) -> Trend | None:
    """The published trend on a group's own test set and metric; None where nothing comparable is published."""
    return fit(trend_points(group.dataset, group.metric))


def residual(group: Group, run: Run) -> float | None:
    """A run's mPC above the published trend; None without a trend there, or where `why_none` has a reason."""
    line, summary = trend_of(group), run.summary
    if line is None or why_none(line, run):
        return None
    return line.residual(summary.P, summary.mPC)


def why_none(line: Trend, run: Run) -> str:
    """Why a run is not held against the trend of its test set; "" where it is."""
    if not run.summary.complete:
        return "cells are missing"
    if run.card.get("origin"):
        plain = "stylised" not in label(run.card, "training")
        name = f"{run.method} {run.source.arch}"
        if plain and any(name == known for known, _, _ in line.points):
            return "the trend is made of it"
    elif found := departures(run.card, run.dataset, run.n_images):
        return ", ".join(found)
    low, high = line.reach
    return "" if low <= run.summary.P <= high else "P is far from theirs"


def none_of(group: Group) -> str:
    """The runs that have no residual and why, one reason after the other; "" where all have one."""
    line = trend_of(group)
    if line is None:
        return ""
    reasons: dict[str, list[str]] = {}
    for run in group.runs:
        if why := why_none(line, run):
            reasons.setdefault(why, []).append(run.name)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
