"""How sure a score is: intervals from resampling the images, for P, every cell, mPC and rPC.

The images are drawn with replacement, and the same draws serve every cell and every model, so that what the cells share
(an easy image is easy under fog as well) and what two models share (the same corrupted pixels) stays in the numbers.
Intervals are percentile intervals; the points between them are the scores of the data set itself.

They say how the score would vary over other images of this kind. They hold neither the spread over training runs nor
that over the noise drawn for the corruptions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.errors import RtxError
from rtx.files import json_ready
from rtx.metrics.metric import ratio
from rtx.metrics.per_image import Evidence
from rtx.results.resample import RESAMPLES, Table, resampled_tables
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

LEVEL = 0.95
"""Share of the resamplings inside an interval."""

Floats = NDArray[np.float64]
Ends = tuple[float, float]
"""Low and high end of an interval."""
_AGGREGATES = ("P", "mPC", "rPC")
_PARTS = ("cells", "means", "drops")
UNDEFINED = "the score is undefined in every resampling"


@dataclass(frozen=True)
class Interval:
    """A number and how far resampling moves it.

    Attributes:
        value: from the images themselves.
        low: lower end.
        high: upper end.
        error: standard deviation over the resamplings.
    """

    value: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Confidence:
    """Intervals of one metric over one grid.

    Attributes:
        metric: which one.
        level: share of the resamplings inside an interval.
        resamples: how many there were.
        seed: of the draws.
        n_images: how many images each draws.
        P: clean score, None without the clean cell.
        mPC: mean over the benchmark cells that are there, None without any.
        rPC: mPC / P.
        cells: condition -> interval.
        means: corruption or family -> the mean over its cells.
        drops: corruption or family -> 1 - mean / P.
        missing: what has no interval (a condition's key, P, mPC or rPC), and why.
    """

    metric: str
    level: float
    resamples: int
    seed: int
    n_images: int
    P: Interval | None
    mPC: Interval | None
    rPC: Interval | None
    cells: dict[Condition, Interval]
    means: dict[str, Interval] = field(default_factory=dict)
    drops: dict[str, Interval] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All cells that were to be resampled: those with an interval, and those without."""
        keys = {c.key: c for c in self.cells} | {k: Condition.from_key(k) for k in self.missing if k not in _AGGREGATES}
        return tuple(keys.values())

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values: NaN becomes None, conditions become their keys."""
        row = asdict(replace(self, cells={})) | {"cells": {c.key: asdict(i) for c, i in self.cells.items()}}
        found: dict[str, Any] = json_ready(row)
        return found

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Confidence:
        """Inverse of `to_dict`; other entries are ignored."""

        def interval(part: Mapping[str, Any]) -> Interval:
            return Interval(**{name: np.nan if value is None else float(value) for name, value in part.items()})

        parts = {field: {name: interval(part) for name, part in row[field].items()} for field in _PARTS}
        parts["cells"] = {Condition.from_key(key): part for key, part in parts["cells"].items()}
        whole = {name: interval(row[name]) if row[name] is not None else None for name in _AGGREGATES}
        rest: dict[str, Any] = {
            name: row[name] for name in ("metric", "level", "resamples", "seed", "n_images", "missing")
        }
        rest |= {**whole, **parts}
        return cls(**rest)


def confidence(
    evidence: Mapping[Condition, Evidence], metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Confidence:
    """Intervals for one model.

    Args:
        evidence: of its cells.
        metric: which metric.
        resamples: how many resamplings.
        seed: of the draws.

    Raises:
        BadValue: cells were scored on different images.
        MissingConditions: there is no cell.
    """
    tables, n_images = resampled_tables(evidence, (metric,), resamples, seed, expected={})
    return intervals(tables[metric], metric, n_images, seed=seed)


def ends_of_one(evidence: Evidence, metric: str) -> Ends | None:
    """The interval that a finished evaluation gives a cell with this evidence; None where it gives none."""
    try:
        found = confidence({CLEAN: evidence}, metric).cells[CLEAN]
    except RtxError as error:
        log.debug("no interval: %s", error)
        return None
    return None if np.isnan(found.low) else (found.low, found.high)


def intervals(
    table: Table,
    metric: str,
    n_images: int,
    *,
    seed: int = 0,
    missing: Mapping[Condition, str] | None = None,
) -> Confidence:
    """Intervals from resampled scores.

    Args:
        table: see `resampled_tables`; not empty.
        metric: which metric they are.
        n_images: how many images each resampling drew.
        seed: of the draws.
        missing: evaluated cells that could not be resampled, and why. A mean over other cells than the score's own has
            no interval either.
    """
    missing = missing or {}
    rows = _aggregates(table)
    why = {condition.key: reason for condition, reason in missing.items()}
    corrupted = [condition for condition in missing if condition.corruption in BENCHMARK]
    if CLEAN in missing:
        why["P"] = missing[CLEAN]
    if corrupted:
        rows.pop("mPC", None)
        why["mPC"] = f"{len(corrupted)} of its cells have no interval, e.g. {corrupted[0].key}"
    if CLEAN in missing or corrupted:
        rows.pop("rPC", None)
        why["rPC"] = "P has no interval" if CLEAN in missing else "mPC has no interval"
    ends = {name: _interval(row) for name, row in rows.items()}
    cells = {condition: _interval(row) for condition, row in table.items()}
    why |= {name: UNDEFINED for name, end in ends.items() if np.isnan(end.low)}
    why |= {condition.key: UNDEFINED for condition, end in cells.items() if np.isnan(end.low)}
    whole = {name: ends.get(name) for name in _AGGREGATES}
    means, drops = _parts(table, missing)
    return Confidence(
        metric=metric,
        level=LEVEL,
        resamples=len(next(iter(table.values()))) - 1,
        seed=seed,
        n_images=n_images,
        **whole,
        cells=cells,
        means={name: _interval(row) for name, row in means.items()},
        drops={name: _interval(row) for name, row in drops.items()},
        missing=why,
    )


def _aggregates(table: Mapping[Condition, Floats]) -> dict[str, Floats]:
    rows: dict[str, Floats] = {}
    if CLEAN in table:
        rows["P"] = table[CLEAN]
    corrupted = [row for condition, row in table.items() if condition.corruption in BENCHMARK]
    if corrupted:
        rows["mPC"] = np.mean(corrupted, axis=0)
    if len(rows) == 2:
        rows["rPC"] = ratio(rows["mPC"], rows["P"])
    return rows


def _parts(table: Mapping[Condition, Floats], missing: Iterable[Condition]) -> tuple[dict[str, Floats], ...]:
    """Resampled means and drops of corruptions and families; those of which a cell is missing are left out."""
    parts: dict[str, list[Floats]] = {}
    for condition, row in table.items():
        if condition != CLEAN:
            parts.setdefault(condition.corruption, []).append(row)
        if condition.corruption in BENCHMARK:
            parts.setdefault(CORRUPTIONS[condition.corruption], []).append(row)
    for condition in missing:
        parts.pop(condition.corruption, None)
        parts.pop(CORRUPTIONS.get(condition.corruption, ""), None)
    means = {name: np.asarray(np.mean(rows, axis=0)) for name, rows in parts.items()}
    if CLEAN not in table:
        return means, {}
    return means, {name: 1 - ratio(row, table[CLEAN]) for name, row in means.items()}


def _interval(row: Floats) -> Interval:
    drawn = row[1:][~np.isnan(row[1:])]  # a resampling may hold no object at all
    if not drawn.size:
        return Interval(float(row[0]), np.nan, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    error = float(np.std(drawn, ddof=1)) if drawn.size > 1 else np.nan
    return Interval(float(row[0]), float(low), float(high), error)
