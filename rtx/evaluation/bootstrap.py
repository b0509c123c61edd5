"""How sure a score is: intervals from resampling the images, for P, every cell, mPC and rPC, and for two models.

The images are drawn with replacement, and the same draws serve every cell and every model, so that what the cells share
(an easy image is easy under fog as well) and what two models share (the same corrupted pixels) stays in the numbers.
Intervals are percentile intervals; the points between them are the scores of the data set itself.

They say how the score would vary over other images of this kind. They hold neither the spread over training runs nor
that over the noise drawn for the corruptions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue, MissingConditions
from rtx.evaluation.evidence import Evidence, load
from rtx.evaluation.resampled import Weights, scores
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

RESAMPLES = 1000
LEVEL = 0.95

Floats = NDArray[np.float64]
Source = Mapping[Condition, Evidence | Path]
"""The evidence of each cell, or the files that hold it: files are read one at a time."""


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
    """Intervals of one metric over one grid, or of the difference of two.

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
        better: for a difference, share of the resamplings in which the first model has the higher P, mPC and rPC.
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
    better: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values: NaN becomes None, conditions become their keys."""
        row = asdict(replace(self, cells={})) | {"cells": {c.key: asdict(i) for c, i in self.cells.items()}}
        return {name: _plain(value) for name, value in row.items()}


def draw(n_images: int, resamples: int = RESAMPLES, seed: int = 0) -> Weights:
    """How often each image is drawn in each resampling; depends on nothing but the three numbers.

    Returns:
        (resamples, n_images); every row sums to `n_images`.

    Raises:
        BadValue: fewer than one image or one resampling, or more than a million of either.
    """
    if not 1 <= n_images <= 1_000_000 or not 1 <= resamples <= 1_000_000:
        raise BadValue(f"{resamples} resamplings of {n_images} images: both must be 1 or more, at most a million")
    rng = np.random.Generator(np.random.Philox(key=seed))
    rows = np.empty((resamples, n_images), np.uint16)
    for row in rows:  # one at a time: a whole table of draws would be four times the size
        row[:] = np.bincount(rng.integers(n_images, size=n_images), minlength=n_images)
    return rows


def confidence(
    source: Source,
    metric: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    expected: Mapping[Condition, float] | None = None,
) -> Confidence:
    """Intervals for one model.

    Args:
        source: the evidence of its cells.
        metric: which metric.
        resamples: how many resamplings.
        seed: of the draws.
        level: share of the resamplings inside an interval.
        expected: the scores that the cell files hold; evidence that gives another one is refused.

    Raises:
        BadValue: cells were scored on different images, or a cell's evidence does not give its score.
        MissingConditions: there is no cell.
    """
    table, n_images = _table(source, metric, resamples, seed)
    for condition, value in (expected or {}).items():
        if condition in table and not np.isclose(table[condition][0], value, rtol=0, atol=1e-9, equal_nan=True):
            raise BadValue(
                f"the evidence of {condition.key} gives {metric} {table[condition][0]!r}, its cell {value!r}; "
                "delete both files and run again"
            )
    rows = _aggregates(table)
    ends = {name: _interval(row, level) for name, row in rows.items()}
    cells = {condition: _interval(row, level) for condition, row in table.items()}
    p, mean, ratio = (ends.get(name) for name in ("P", "mPC", "rPC"))
    return Confidence(metric, level, resamples, seed, n_images, p, mean, ratio, cells)


def paired(
    first: Source, second: Source, metric: str, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Confidence:
    """Intervals for first minus second: two models evaluated on the same pixels.

    Only cells that both have are compared, and mPC and rPC are over those. That the pixels were the same is for the
    protocol cards to say, see `rtx.evaluation.runs.same_pixels`.

    Raises:
        BadValue: the two were scored on different images.
        MissingConditions: they have no cell in common.
    """
    shared = [c for c in first if c in second]
    if not shared:
        raise MissingConditions("the two have no cell in common; evaluate the same corruptions and severities")
    ids: list[tuple[str, ...]] = []
    tables = []
    for side in (first, second):
        table, n_images = _table({c: side[c] for c in shared}, metric, resamples, seed, seen=ids)
        tables.append(table)
    rows = [_aggregates(table) for table in tables]
    differences = {name: rows[0][name] - rows[1][name] for name in rows[0]}
    ends = {name: _interval(row, level) for name, row in differences.items()}
    cells = {c: _interval(tables[0][c] - tables[1][c], level) for c in shared}
    better = {name: _better(row[1:]) for name, row in differences.items()}
    p, mean, ratio = (ends.get(name) for name in ("P", "mPC", "rPC"))
    return Confidence(metric, level, resamples, seed, n_images, p, mean, ratio, cells, better)


def _table(
    source: Source, metric: str, resamples: int, seed: int, seen: list[tuple[str, ...]] | None = None
) -> tuple[dict[Condition, Floats], int]:
    """Condition -> the score itself, then that of each resampling; and the number of images."""
    seen = [] if seen is None else seen
    weights: Weights | None = None
    table: dict[Condition, Floats] = {}
    for condition, item in source.items():
        evidence = load(item) if isinstance(item, Path) else item
        seen.append(evidence.image_ids)
        if seen[0] != seen[-1]:
            raise BadValue(
                f"{condition.key} was scored on {len(seen[-1])} images, another cell on {len(seen[0])} that are not "
                "the same; paired resampling needs the same images"
            )
        if weights is None:
            n_images = len(evidence.image_ids)
            weights = np.concatenate([np.ones((1, n_images), np.uint16), draw(n_images, resamples, seed)])
        table[condition] = scores(evidence, weights, metric)
    if weights is None:
        raise MissingConditions("no cell with evidence: there is nothing to resample")
    return table, weights.shape[1]


def _aggregates(table: Mapping[Condition, Floats]) -> dict[str, Floats]:
    rows: dict[str, Floats] = {}
    if CLEAN in table:
        rows["P"] = table[CLEAN]
    corrupted = [row for condition, row in table.items() if condition.corruption in BENCHMARK]
    if corrupted:
        rows["mPC"] = np.mean(corrupted, axis=0)
    if len(rows) == 2:
        p = rows["P"]
        rows["rPC"] = np.divide(rows["mPC"], p, out=np.full(len(p), np.nan), where=p > 0)
    return rows


def _interval(row: Floats, level: float) -> Interval:
    drawn = row[1:][~np.isnan(row[1:])]  # a resampling may hold no object at all
    if not drawn.size:
        return Interval(float(row[0]), np.nan, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    error = float(np.std(drawn, ddof=1)) if drawn.size > 1 else np.nan
    return Interval(float(row[0]), float(low), float(high), error)


def _better(drawn: Floats) -> float:
    known = drawn[~np.isnan(drawn)]
    return float(np.mean((known > 0) + (known == 0) / 2)) if known.size else np.nan


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if np.isnan(value) else value
    return {str(k): _plain(v) for k, v in value.items()} if isinstance(value, dict) else value
