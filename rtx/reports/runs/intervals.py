"""Confidence intervals over images: what an evaluation left beside its cells, or what its evidence gives.

`confidence.json` holds intervals of single numbers, `resamples.npz` what they are made of: `conditions` (keys of the
columns), `draws` (names the resampled images: their number, seed and data hash) and for the metric an array
(resamples, conditions). Two runs with the same `draws` saw the same images in each resample, so the difference of their
rows is a paired one. `confidence.json` counts only where its values are those of the cells, `resamples.npz` only where
it gives those intervals. Without them, evidence is resampled here as long as it is small; nothing is invented where
there is none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue, RtxError
from rtx.results.intervals import Confidence
from rtx.results.resample import RESAMPLES, resampled_table
from rtx.results.confidence import evidence_path
from rtx.results.cell import Cell
from rtx.results.protocol import protocol_key
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

Interval = tuple[float, float]
Floats = NDArray[np.float64]
LEVEL = 95
EVIDENCE = 1_000_000
"""Bytes of evidence of one run that a report resamples by itself: some seconds; a sweep does it for larger ones."""
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

    @cached_property
    def by_condition(self) -> Mapping[Condition, Interval | None]:
        """The interval of every condition, all read in one go: a long form asks for each cell of each run."""
        if np.isfinite(self.values).all() and len(self.values):
            low, high = np.quantile(self.values, QUANTILES, axis=0)
            return {c: (float(low[column]), float(high[column])) for c, column in self.columns.items()}
        return {condition: interval(self.of(condition)) for condition in self.columns}

    def mean(self, corruptions: tuple[str, ...] = BENCHMARK) -> Floats | None:
        """Resampled mean over corruptions at severities 1 to 5; None unless every cell is there."""
        columns = [self.columns.get(Condition(name, level)) for name in corruptions for level in SEVERITIES]
        there = [column for column in columns if column is not None]
        return np.asarray(self.values[:, there].mean(axis=1)) if len(there) == len(columns) else None

    def ratio(self, corruptions: tuple[str, ...] = BENCHMARK) -> Floats | None:
        """Resampled mean over corruptions divided by the clean score of the same resample."""
        mean, clean = self.mean(corruptions), self.of(CLEAN)
        if mean is None or clean is None:
            return None
        # A resample without a hit on the clean images defines no ratio.
        ratio: Floats = np.divide(mean, clean, out=np.full(len(mean), np.nan), where=clean > 0)
        return ratio


@dataclass(frozen=True)
class Intervals:
    """Everything known about the spread of one run's metric.

    Attributes:
        single: intervals by name, those of cells under `cells`.
        resamples: what they are made of.
        absent: why there is none.
        others: metric beside the headline -> its intervals, named as in `single`.
    """

    single: Mapping[str, Any] = field(default_factory=dict)
    resamples: Resamples | None = None
    absent: str = ""
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of_other(self, metric: str, name: str) -> Interval | None:
        """Interval of `P`, `mPC` or `rPC` of a metric beside the headline."""
        return self.others.get(metric, {}).get(name)

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
        return self.single.get(name)

    def cell(self, condition: Condition) -> Interval | None:
        """Interval of one cell."""
        found = self.resamples.by_condition.get(condition) if self.resamples else None
        return found or (self.single.get("cells") or {}).get(condition.key)

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
    """The central 95 % of resampled values; resamples that define none (no object in them) are left out."""
    values = None if values is None else values[np.isfinite(values)]
    if values is None or not len(values):
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


def read_intervals(folder: Path, metric: str, cells: Mapping[Condition, Cell], card: Mapping[str, Any]) -> Intervals:
    """What the folder holds on one metric.

    Args:
        folder: an evaluation.
        metric: its headline.
        cells: its scores; intervals around others are refused.
        card: its protocol card.

    Raises:
        BadValue: a file is there and damaged.
    """
    path = folder / "confidence.json"
    absent = ""
    if path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = Confidence.from_dict(content)
            others = {name: Confidence.from_dict(row) for name, row in content.get("others", {}).items()}
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise BadValue(f"{path}: not readable as intervals ({error}); delete it or make it again") from error
        absent = _unfit(known, metric, cells)
        if not absent:
            beside = {n: _single(row, cells) for n, row in others.items() if not _unfit(row, n, cells)}
            return Intervals(_single(known, cells), _resamples_of(folder, metric, known), others=beside)
        log.warning("%s: left out, %s", path, absent)
    return _from_evidence(folder, metric, cells, card, absent)


def _unfit(known: Confidence, metric: str, cells: Mapping[Condition, Cell]) -> str:
    """Why intervals do not belong to these cells; "" where they do."""
    if known.metric != metric:
        return f"confidence.json is of {known.metric}, not of {metric}"
    if round(100 * known.level) != LEVEL:
        return f"confidence.json is of level {known.level:g}, not 0.{LEVEL}"
    for condition, found in known.cells.items():
        cell = cells.get(condition)
        if cell is None or not np.isclose(
            cell.metrics.get(metric, np.nan), found.value, rtol=0, atol=1e-9, equal_nan=True
        ):
            return f"confidence.json belongs to other scores ({condition.key} differs)"
    return ""


def _resamples_of(folder: Path, metric: str, known: Confidence) -> Resamples | None:
    """The resamples that the intervals were read from; a file that gives others is left out."""
    path = folder / "resamples.npz"
    found = _read_resamples(path, metric)
    why = "" if found is None else _strange(found, known)
    if why:
        log.warning(
            "%s: left out, so no difference is paired: %s; delete it and give the evaluation's command again, which "
            "keeps the cells",
            path,
            why,
        )
    return None if why else found


def _strange(resamples: Resamples, known: Confidence) -> str:
    """Why resamples are not those of the intervals; "" where they are."""
    if set(resamples.columns) != set(known.cells):
        return "it holds other cells than confidence.json"
    for condition, found in resamples.by_condition.items():
        stated = _ends(known.cells[condition])
        if found is None or stated is None:
            same = found is stated
        else:
            same = all(abs(one - two) <= 1e-9 for one, two in zip(found, stated, strict=True))
        if not same:
            return f"it does not give the intervals of confidence.json ({condition.key} differs)"
    return ""


def _single(known: Confidence, cells: Mapping[Condition, Cell]) -> dict[str, Any]:
    """Intervals by name; means over the grid only where the grid of both is whole."""
    every = {CLEAN, *(Condition(name, level) for name in BENCHMARK for level in SEVERITIES)}
    whole = every <= set(known.cells) and every <= set(cells)
    found = {name: _ends(getattr(known, name)) for name in (("P", "mPC", "rPC") if whole else ("P",))}
    by_cell = {condition.key: _ends(end) for condition, end in known.cells.items()}
    return {**found, "cells": {key: ends for key, ends in by_cell.items() if ends}}


def _ends(found: Any) -> Interval | None:
    known = found is not None and np.isfinite(found.low) and np.isfinite(found.high)
    return (float(found.low), float(found.high)) if known else None


def _from_evidence(
    folder: Path, metric: str, cells: Mapping[Condition, Cell], card: Mapping[str, Any], absent: str
) -> Intervals:
    files = {condition: path for condition in cells if (path := evidence_path(folder, condition)).is_file()}
    if len(files) < len(cells):
        return Intervals(absent=absent or f"{len(cells) - len(files)} of its cells keep no evidence")
    size = sum(path.stat().st_size for path in files.values())
    if size > EVIDENCE:  # by size and not by time, so that the same runs give the same report anywhere
        return Intervals(
            absent=absent or f"its evidence ({size / 1e6:.0f} MB) is too large to resample here, and no confidence.json"
        )
    faults: dict[Condition, str] = {}
    expected = {condition: cell.metrics.get(metric, np.nan) for condition, cell in cells.items()}
    try:
        table, n_images = resampled_table(
            files, metric, RESAMPLES, 0, expected=expected, faults=faults, key=protocol_key(card)
        )
    except RtxError as error:
        return Intervals(absent=str(error))
    if faults:
        log.warning("%s: %d cells cannot be resampled (%s)", folder, len(faults), next(iter(faults.values())))
    columns = {condition: column for column, condition in enumerate(table)}
    values = np.stack([row[1:] for row in table.values()], axis=1)
    # The words of `rtx.results.confidence.write_confidence`, so that runs with and without its files can be paired.
    draws = f"{RESAMPLES} resamples of {n_images} images, seed 0, data {card.get('data_sha256')}"
    return Intervals({}, Resamples(draws, columns, values))


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
