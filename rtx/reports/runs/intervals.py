"""Confidence intervals over images: what an evaluation left beside its cells, or what its evidence gives.

The files are those of `rtx.results.confidence`. Without them, evidence is resampled here as long as it is small;
nothing is invented where there is none.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue, RtxError
from rtx.results.confidence import Known, draws_name, read_confidences, resample
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CONFIDENCE, RESAMPLED
from rtx.results.intervals import Confidence, Ends, Interval
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
EVIDENCE = 1_000_000
"""Bytes of evidence of one run that a report resamples by itself: some seconds; a sweep does it for larger ones."""
QUANTILES = (0.025, 0.975)


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

    def of_other(self, metric: str, name: str) -> Ends | None:
        """Interval of `P`, `mPC` or `rPC` of a metric beside the headline."""
        return self.others.get(metric, {}).get(name)

    def of(self, name: str) -> Ends | None:
        """Interval of `P`, `mPC` or `rPC`."""
        return self.single.get(name)

    def cell(self, condition: Condition) -> Ends | None:
        """Interval of one cell."""
        return self.single.get("cells", {}).get(condition.key)

    def severity(self, level: int) -> Ends | None:
        """Interval of the mean over the 15 corruptions at one severity; of the clean score for 0."""
        if level == 0:
            return self.of("P")
        if self.resamples is None:
            return None
        rows = [self.resamples.of(Condition(name, level)) for name in BENCHMARK]
        there = [row for row in rows if row is not None]
        return interval(np.mean(there, axis=0)) if len(there) == len(rows) else None


def interval(values: Floats | None) -> Ends | None:
    """The central 95 % of resampled values; resamples that define none (no object in them) are left out."""
    values = None if values is None else values[np.isfinite(values)]
    if values is None or not len(values):
        return None
    low, high = np.quantile(values, QUANTILES)
    return float(low), float(high)


def difference(a: Intervals, b: Intervals, quantity: Callable[[Resamples], Floats | None]) -> Ends | None:
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


def read_intervals(evaluation: Evaluation, metric: str) -> Intervals:
    """What is known about the spread of one metric.

    Args:
        evaluation: the cells.
        metric: their headline.

    Raises:
        BadValue: a file is there and damaged.
    """
    known = read_confidences(evaluation)
    if isinstance(known, Known) and known.headline.metric != metric:
        known = f"{CONFIDENCE} is of {known.headline.metric}, not of {metric}"
    if isinstance(known, str):
        if known:
            log.warning("%s: left out, %s", evaluation.root / CONFIDENCE, known)
        return _from_evidence(evaluation, metric, known)
    single, *others = (_single(row, evaluation) for row in known.metrics.values())
    names = list(known.metrics)[1:]
    return Intervals(single, _resamples_of(evaluation, metric, known), others=dict(zip(names, others, strict=True)))


def _resamples_of(evaluation: Evaluation, metric: str, known: Known) -> Resamples | None:
    """The resamples that the intervals were read from; another file is left out."""
    path = evaluation.root / RESAMPLED
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as table:
            columns = {Condition.from_key(str(key)): index for index, key in enumerate(table["conditions"])}
            found = Resamples(str(table["draws"]), columns, np.asarray(table[metric], np.float64))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise BadValue(f"{path}: not readable as resamples ({error}); delete it or make it again") from error
    if hashlib.sha256(content).hexdigest() != known.resamples_sha256:
        log.warning(
            "%s: left out, so no difference is paired: %s was not made from it; delete it and give the evaluation's "
            "command again, which keeps the cells",
            path,
            CONFIDENCE,
        )
        return None
    return found


def _single(known: Confidence, evaluation: Evaluation) -> dict[str, Any]:
    """Intervals by name; means over the grid only where the grid of both is whole."""
    every = {CLEAN, *(Condition(name, level) for name in BENCHMARK for level in SEVERITIES)}
    whole = every <= set(known.cells) and every <= set(evaluation.cells)
    found = {name: _ends(getattr(known, name)) for name in (("P", "mPC", "rPC") if whole else ("P",))}
    by_cell = {condition.key: _ends(end) for condition, end in known.cells.items()}
    return {**found, "cells": {key: ends for key, ends in by_cell.items() if ends}}


def _ends(found: Interval | None) -> Ends | None:
    return (found.low, found.high) if found and np.isfinite(found.low) and np.isfinite(found.high) else None


def _from_evidence(evaluation: Evaluation, metric: str, absent: str) -> Intervals:
    cells = evaluation.cells
    sizes = [size for condition in cells if (size := evaluation.evidence.size(condition)) is not None]
    if len(sizes) < len(cells):
        return Intervals(absent=absent or f"{len(cells) - len(sizes)} of its cells keep no evidence")
    if sum(sizes) > EVIDENCE:  # by size and not by time, so that the same runs give the same report anywhere
        size = f"{sum(sizes) / 1e6:.0f} MB"
        return Intervals(absent=absent or f"its evidence ({size}) is too large to resample here, and no {CONFIDENCE}")
    try:
        found, _, table, n_images = resample(evaluation, (metric,))
    except RtxError as error:
        return Intervals(absent=str(error))
    if lost := set(cells) - set(table):
        log.warning("%s: %d cells cannot be resampled", evaluation.root, len(lost))
    columns = {condition: column for column, condition in enumerate(table)}
    values = np.stack([row[1:] for row in table.values()], axis=1)
    resamples = Resamples(draws_name(evaluation.card, n_images), columns, values)
    return Intervals(_single(found[metric], evaluation), resamples)
