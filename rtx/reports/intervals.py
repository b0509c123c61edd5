"""Confidence intervals that an evaluation left beside its cells; nothing is invented where there are none.

`intervals.json` holds intervals of single numbers: `{"bbox_mAP": {"P": [lo, hi], "mPC": [lo, hi], "rPC": [lo, hi],
"cells": {"fog_3": [lo, hi]}}}`, fractions, 95 %. `resamples.npz` holds what they are made of, and is what differences
need: `conditions` (strings, the keys of the columns), `draws` (one string that names the resampled images: their
number, seed and data hash) and for each metric an array (resamples, conditions). Two runs with the same `draws` saw the
same images in each resample, so the difference of their rows is a paired one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue
from rtx.types import CLEAN, SEVERITIES, Condition

Interval = tuple[float, float]
Floats = NDArray[np.float64]
LEVEL = 95
QUANTILES = ((100 - LEVEL) / 200, (100 + LEVEL) / 200)


@dataclass(frozen=True)
class Resamples:
    """One metric under resampled images.

    Attributes:
        draws: names the images of each resample; equal for runs that can be paired.
        columns: condition -> column.
        values: (resamples, conditions), fractions.
    """

    draws: str
    columns: Mapping[Condition, int]
    values: Floats

    def of(self, condition: Condition) -> Floats | None:
        """Resampled scores of a condition, None where it was not evaluated."""
        column = self.columns.get(condition)
        return None if column is None else self.values[:, column]

    def mean(self, corruptions: tuple[str, ...] = BENCHMARK) -> Floats | None:
        """Resampled mean over corruptions at severities 1 to 5; None unless every cell is there."""
        columns = [self.columns.get(Condition(name, level)) for name in corruptions for level in SEVERITIES]
        there = [column for column in columns if column is not None]
        return np.asarray(self.values[:, there].mean(axis=1)) if len(there) == len(columns) else None

    def ratio(self, corruptions: tuple[str, ...] = BENCHMARK) -> Floats | None:
        """Resampled mean over corruptions divided by the clean score of the same resample."""
        mean, clean = self.mean(corruptions), self.of(CLEAN)
        if mean is None or clean is None or not (clean > 0).all():
            return None
        return mean / clean


@dataclass(frozen=True)
class Intervals:
    """Everything known about the spread of one run's metric."""

    single: Mapping[str, Any] = field(default_factory=dict)
    resamples: Resamples | None = None

    def of(self, name: str) -> Interval | None:
        """Interval of `P`, `mPC` or `rPC`."""
        if self.resamples is not None:
            reader: dict[str, Callable[[], Floats | None]] = {
                "P": lambda: self.resamples.of(CLEAN) if self.resamples else None,
                "mPC": lambda: self.resamples.mean() if self.resamples else None,
                "rPC": lambda: self.resamples.ratio() if self.resamples else None,
            }
            found = interval(reader[name]())
            if found:
                return found
        return _pair(self.single.get(name))

    def cell(self, condition: Condition) -> Interval | None:
        """Interval of one cell."""
        found = interval(self.resamples.of(condition)) if self.resamples else None
        return found or _pair((self.single.get("cells") or {}).get(condition.key))

    def severity(self, level: int) -> Interval | None:
        """Interval of the mean over the 15 corruptions at one severity; of the clean score for 0."""
        if level == 0:
            return self.of("P")
        if self.resamples is None:
            return None
        rows = [self.resamples.of(Condition(name, level)) for name in BENCHMARK]
        there = [row for row in rows if row is not None]
        return interval(np.mean(there, axis=0)) if len(there) == len(rows) else None


def interval(values: Floats | None) -> Interval | None:
    """The central 95 % of resampled values."""
    if values is None or not len(values) or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, QUANTILES)
    return float(low), float(high)


def difference(a: Intervals, b: Intervals, quantity: Callable[[Resamples], Floats | None]) -> Interval | None:
    """Interval of quantity(b) - quantity(a) over the same resampled images; None where they are not paired.

    Args:
        a: the run to compare with.
        b: the run that is compared.
        quantity: reads resampled values off a run, e.g. `Resamples.mean`.
    """
    if a.resamples is None or b.resamples is None or a.resamples.draws != b.resamples.draws:
        return None
    one, two = quantity(a.resamples), quantity(b.resamples)
    return None if one is None or two is None or one.shape != two.shape else interval(two - one)


def read_intervals(folder: Path, metric: str) -> Intervals:
    """What the folder holds on one metric.

    Raises:
        BadValue: a file is there and damaged.
    """
    single: Any = {}
    path = folder / "intervals.json"
    if path.is_file():
        try:
            single = json.loads(path.read_text(encoding="utf-8")).get(metric) or {}
            for name in ("P", "mPC", "rPC"):
                _pair(single.get(name))
        except (ValueError, AttributeError, TypeError) as error:
            raise BadValue(f"{path}: not readable as intervals ({error}); delete it or make it again") from error
    return Intervals(single, _read_resamples(folder / "resamples.npz", metric))


def _read_resamples(path: Path, metric: str) -> Resamples | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as table:
            if metric not in table:
                return None
            columns = {Condition.from_key(str(key)): index for index, key in enumerate(table["conditions"])}
            values = np.asarray(table[metric], np.float64)
            draws = str(table["draws"])
    except (OSError, ValueError, KeyError) as error:
        raise BadValue(f"{path}: not readable as resamples ({error}); delete it or make it again") from error
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise BadValue(
            f"{path}: {metric} has shape {values.shape}, it needs one column for each of {len(columns)} cells"
        )
    return Resamples(draws, columns, values)


def _pair(value: Any) -> Interval | None:
    if value is None:
        return None
    low, high = (float(v) for v in value)
    if not low <= high:
        raise ValueError(f"interval {value!r} has its ends the wrong way round")
    return low, high
