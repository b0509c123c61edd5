"""Confidence intervals over images, as an evaluation left them beside its cells: see `rtx.results.confidence`.

Without them there is no interval.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES
from rtx.files import read_bounded
from rtx.metrics.metric import ratio
from rtx.results.arrays import DAMAGED, MOST, opened
from rtx.results.conditions import grid
from rtx.results.confidence import Known, read_confidences
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CONFIDENCE, RESAMPLED, WRITTEN_AGAIN
from rtx.results.intervals import Confidence, Ends, Interval
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
QUANTILES = (0.025, 0.975)
MEMBERS = {family: tuple(name for name in BENCHMARK if CORRUPTIONS[name] == family) for family in FAMILIES}
"""Family -> its corruptions in the benchmark."""
_WHOLE = set(grid())


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

    def mean(self, corruptions: tuple[str, ...] = BENCHMARK, levels: Sequence[int] = SEVERITIES) -> Floats | None:
        """Resampled mean over corruptions at some severities; None unless every cell is there."""
        columns = [self.columns.get(Condition(name, level)) for name in corruptions for level in levels]
        there = [column for column in columns if column is not None]
        return np.asarray(self.values[:, there].mean(axis=1)) if len(there) == len(columns) else None

    def ratio(self, corruptions: tuple[str, ...] = BENCHMARK, levels: Sequence[int] = SEVERITIES) -> Floats | None:
        """Resampled mean over corruptions divided by the clean score of the same resample."""
        mean, clean = self.mean(corruptions, levels), self.of(CLEAN)
        if mean is None or clean is None:
            return None
        # A resample without a hit on the clean images defines no ratio.
        return ratio(mean, clean)

    def drop(self, corruptions: tuple[str, ...] = BENCHMARK) -> Floats | None:
        """1 - `ratio`."""
        ratio = self.ratio(corruptions)
        return None if ratio is None else 1 - ratio


Quantity = Callable[[Resamples], Floats | None]
"""Reads resampled values off a run, e.g. `Resamples.mean`."""


@dataclass(frozen=True)
class Intervals:
    """Everything known about the spread of one run's metric.

    Attributes:
        known: its intervals, as they lie in the folder.
        resamples: what they are made of.
        absent: why there is none.
        metrics: the intervals of every metric that has any.
    """

    known: Confidence | None = None
    resamples: Resamples | None = None
    absent: str = ""
    metrics: Mapping[str, Confidence] = field(default_factory=dict)

    def of(self, name: str, metric: str | None = None) -> Ends | None:
        """Interval of `P`, and over the whole grid of `mPC` or `rPC`; of the headline where no metric is named."""
        known = self.known if metric is None else self.metrics.get(metric)
        if known is None or (name != "P" and not _WHOLE <= set(known.cells)):
            return None
        return _ends(getattr(known, name))

    def read(self, quantity: Quantity) -> Ends | None:
        """Interval of any quantity of the resamples."""
        return None if self.resamples is None else interval(quantity(self.resamples))

    def cell(self, condition: Condition) -> Ends | None:
        """Interval of one cell."""
        return _ends(self.known.cells.get(condition)) if self.known else None

    def severity(self, level: int) -> Ends | None:
        """Interval of the mean over the 15 corruptions at one severity; of the clean score for 0."""
        return self.read(lambda resamples: resamples.mean(levels=(level,))) if level else self.of("P")


def interval(values: Floats | None) -> Ends | None:
    """The central 95 % of resampled values; resamples that define none (no object in them) are left out."""
    values = None if values is None else values[np.isfinite(values)]
    if values is None or not len(values):
        return None
    low, high = np.quantile(values, QUANTILES)
    return float(low), float(high)


def difference(a: Intervals, b: Intervals, quantity: Quantity) -> Ends | None:
    """Interval of quantity(b) - quantity(a) over the same resampled images; None where they are not paired.

    Args:
        a: the run to compare with.
        b: the run that is compared.
        quantity: what is compared.
    """
    if a.resamples is None or b.resamples is None or a.resamples.draws != b.resamples.draws:
        return None
    one, two = quantity(a.resamples), quantity(b.resamples)
    return None if one is None or two is None or one.shape != two.shape else interval(two - one)


def read_intervals(evaluation: Evaluation, metric: str) -> Intervals:
    """The spread of one metric, as far as known.

    Args:
        evaluation: the cells.
        metric: their headline.
    """
    known = read_confidences(evaluation)
    if isinstance(known, Known) and known.headline.metric != metric:
        known = f"{CONFIDENCE} is of {known.headline.metric}, not of {metric}"
    if isinstance(known, str):
        if known:
            log.warning("%s: left out, %s", evaluation.root / CONFIDENCE, known)
        return Intervals(absent=known or f"no {CONFIDENCE}; the evaluation's command writes it")
    return Intervals(known.headline, _resamples_of(evaluation, metric, known), metrics=known.metrics)


def _resamples_of(evaluation: Evaluation, metric: str, known: Known) -> Resamples | None:
    """The resamples that the intervals were read from; another file is left out."""
    path = evaluation.root / RESAMPLED
    if not path.is_file():
        return None
    try:
        content = read_bounded(path, MOST)
        with opened(io.BytesIO(content)) as table:
            columns = {Condition.from_key(str(key)): index for index, key in enumerate(table["conditions"])}
            found = Resamples(str(table["draws"]), columns, np.asarray(table[metric], np.float64))
    except DAMAGED as error:
        log.warning("%s: left out, so no difference is paired: not readable (%s); %s", path, error, WRITTEN_AGAIN)
        return None
    if hashlib.sha256(content).hexdigest() != known.resamples_sha256:
        log.warning("%s: left out, so no difference is paired: %s was not made from it; %s", path, CONFIDENCE, WRITTEN_AGAIN)
        return None
    return found


def _ends(found: Interval | None) -> Ends | None:
    return (found.low, found.high) if found and np.isfinite(found.low) and np.isfinite(found.high) else None
