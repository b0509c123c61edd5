"""Read finished evaluations from their folders."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.errors import BadValue
from rtx.files import read_json
from rtx.metrics.robustness import Summary, summarise
from rtx.reports.runs.intervals import Intervals, read_intervals
from rtx.reports.runs.naming import SourceName, dataset_of, datasets_of, method_of, readable, source_of, unique_names
from rtx.results.by_class import with_classes
from rtx.results.cell import Cell
from rtx.results.command import read_commands, remedy
from rtx.results.conditions import grid
from rtx.results.evaluation import Evaluation
from rtx.results.folder import INSIDE_RUN, SUMMARY, find_evaluations
from rtx.results.shifts import read_shifts
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

TINY = 50
# What P and mPC are made of when a folder's summary is not there to say it.
_HEADLINES = ("bbox_mAP", "mIoU", "AP50_07", "AP50_area", "AP50", "segm_mAP")


@dataclass(frozen=True)
class Run:
    """One evaluated model.

    Attributes:
        name: how it is called in the report, unique in it.
        folder: where it lies, as it was given.
        card: its protocol card.
        metric: the metric that P, mPC and rPC are made of.
        cells: every cell that was evaluated.
        intervals: what is known about the spread of `metric`.
        baseline: whether it was named as what others are compared with.
        test_set: name of the test set; read off the card where it is empty.
    """

    name: str
    folder: Path
    card: Mapping[str, Any]
    metric: str
    cells: Mapping[Condition, Cell]
    intervals: Intervals
    baseline: bool = False
    test_set: str = ""

    @cached_property
    def n_images(self) -> int | None:
        """How many images the scores are made of; None where that is unknown."""
        counts = {cell.n_images for cell in self.cells.values()}
        return counts.pop() or None if len(counts) == 1 else None

    @cached_property
    def source(self) -> SourceName:
        """Where the backbone came from."""
        return source_of(self.card)

    @cached_property
    def transfer(self) -> str:
        """The transfer mode, or "unknown"."""
        return str(self.card.get("transfer") or "unknown")

    @cached_property
    def dataset(self) -> str:
        """Name of the test set."""
        return self.test_set or dataset_of(self.card)

    @cached_property
    def method(self) -> str:
        """The detector or segmenter, or "unknown"."""
        return method_of(self.card)

    @cached_property
    def preview(self) -> bool:
        """Whether only some of the images were evaluated."""
        return self.card.get("limit") is not None

    @property
    def tiny(self) -> bool:
        """Whether it has too few images for its intervals to be trusted: they are likely too narrow."""
        return self.n_images is not None and self.n_images < TINY

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Every metric of the cells, the headline first."""
        names = {name for cell in self.cells.values() for name in cell.metrics}
        return (self.metric, *sorted(names - {self.metric}))

    @cached_property
    def shifts(self) -> dict[str, dict[str, Any]]:
        """Its scores on other test sets, see `rtx.results.shifts.read_shifts`."""
        return read_shifts(self.folder, self.card, self.metric, self.grid().get(CLEAN))

    @cached_property
    def _kept(self) -> dict[tuple[str, str], Any]:
        """What was computed of a metric: a figure and a table ask for that of every class."""
        return {}

    def grid(self, metric: str | None = None) -> dict[Condition, float]:
        """Scores of one metric by condition, cells where it is undefined left out."""
        key = "grid", metric or self.metric
        if key not in self._kept:
            values = {c: cell.metrics.get(key[1], math.nan) for c, cell in self.cells.items()}
            self._kept[key] = {c: v for c, v in values.items() if not math.isnan(v)}
        found: dict[Condition, float] = self._kept[key]
        return found

    @cached_property
    def summary(self) -> Summary:
        """Aggregates of the headline metric."""
        return self.summary_of(self.metric)

    def summary_of(self, metric: str) -> Summary:
        """Aggregates of one metric; held-out corruptions count as asked for only where they were evaluated."""
        key = "summary", metric
        if key not in self._kept:
            grid = self.grid(metric)
            held_out = [n for n in CORRUPTIONS if n not in BENCHMARK and any(c.corruption == n for c in grid)]
            self._kept[key] = summarise(grid, [*BENCHMARK, *held_out])
        found: Summary = self._kept[key]
        return found

    def drop_of(self, metric: str) -> float | None:
        """1 - mPC / P of any metric."""
        key = "drop", metric
        if key not in self._kept:
            grid = self.grid(metric)
            clean, *corrupted = (grid.get(condition, math.nan) for condition in BENCHMARK_CELLS)
            # Every corruption has five severities, so the mean of means is the mean; without a cell it is NaN.
            mean = math.fsum(corrupted) / len(corrupted)
            self._kept[key] = 1 - mean / clean if clean > 0 and not math.isnan(mean) else None
        found: float | None = self._kept[key]
        return found

    @cached_property
    def missing(self) -> tuple[Condition, ...]:
        """Benchmark cells and the clean one without a score: not evaluated, or undefined there."""
        return tuple(c for c in BENCHMARK_CELLS if c not in self.grid())

    @cached_property
    def clean_only(self) -> bool:
        """Whether nothing but the clean images was asked for, and these are there: then P is the whole of it."""
        asked = {condition for command in read_commands(self.folder) for condition in command.conditions}
        return set(self.cells) == {CLEAN} and asked <= {CLEAN}

    @cached_property
    def attacks(self) -> tuple[Condition, ...]:
        """The cells of an evaluation under attack, by eps; empty for one under corruption."""
        return tuple(sorted(condition for condition in self.cells if condition.is_attack))

    @cached_property
    def undefined(self) -> tuple[Condition, ...]:
        """Those of `missing` that were evaluated: their images hold nothing that defines the metric."""
        return tuple(c for c in self.missing if c in self.cells)

    def score(self, condition: Condition) -> float | None:
        """The headline metric in one cell."""
        return self.grid().get(condition)

    def severity_mean(self, level: int) -> float | None:
        """Mean over the 15 corruptions at a severity (0: the clean score); None unless all are there."""
        return _mean(self.score(Condition(name, level)) for name in BENCHMARK) if level else self.score(CLEAN)

    def corruption_ratio(self, corruption: str) -> float | None:
        """Mean over the five severities of a corruption divided by P; None unless all are there and P is above 0."""
        clean, mean = self.score(CLEAN), _mean(self.score(Condition(corruption, level)) for level in SEVERITIES)
        return mean / clean if clean and mean is not None else None

    def remedy(self, *, whole: bool = False) -> str:
        """The command that evaluates what is missing, or why there is none; cells that are there are kept.

        Args:
            whole: of a preview, evaluate all images, into a folder beside it.
        """
        wanted = BENCHMARK_CELLS if whole else [c for c in self.missing if c not in self.cells]
        if not wanted:
            return f"nothing to run: {self.metric} is undefined there"
        return remedy(self.folder, self.card, wanted, whole=whole)


BENCHMARK_CELLS = grid()


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean, None unless every value is there."""
    wanted = list(values)
    there = [value for value in wanted if value is not None]
    return math.fsum(there) / len(there) if len(there) == len(wanted) else None


def load_run(folder: Path) -> Run:
    """Read one evaluation folder.

    Raises:
        BadValue: no cell is there, or none that can be read; or a file beside the cells is damaged.
        RunConflict: cells were made under another protocol than the folder's.
    """
    evaluation = Evaluation.sound(folder)
    card, cells = evaluation.card, evaluation.cells
    if not cells:
        raise BadValue(f"{folder}: no cell was evaluated yet: {remedy(folder, card, BENCHMARK_CELLS)}")
    metric = _headline(folder, cells)
    labels = card.get("labels") or {}
    name = readable(labels.get("name") or labels.get("run") or folder.name) or "unnamed"
    return Run(name, folder, card, metric, with_classes(evaluation, metric), read_intervals(evaluation, metric))


def load_runs(paths: Sequence[Path], *, names: Sequence[str] = (), baseline: str | None = None) -> list[Run]:
    """Read evaluations and give each a name of its own.

    Args:
        paths: evaluation folders, run folders, or folders of either.
        names: what to call the runs, in order; taken from their labels when empty.
        baseline: name of the run that others are compared with; each group finds its own when None.

    Raises:
        BadValue: a folder holds no evaluation, comes twice, or names do not fit.
    """
    folders = [folder for path in paths for folder in find_evaluations(path)]
    twice = sorted({str(f) for f in folders if folders.count(f) > 1})
    if twice:
        raise BadValue(f"evaluation {twice[0]!r} was given twice; name each one once")
    runs = [load_run(folder) for folder in folders]
    sets = datasets_of([(run.card, run.n_images) for run in runs])
    runs = [replace(run, test_set=name) for run, name in zip(runs, sets, strict=True)]
    if names and len(names) != len(runs):
        raise BadValue(f"{len(names)} names for {len(runs)} evaluations; give one for each, in order")
    given = list(map(readable, names)) or unique_names(
        (
            run.name,
            *_distinguishing(run, runs),
            (run.folder.parent if run.folder.name == INSIDE_RUN else run.folder).name,
        )
        for run in runs
    )
    if len(set(given)) != len(given):
        raise BadValue(f"the names {', '.join(given)} are not all different")
    # A preview says so wherever it is drawn or printed.
    given = [f"{name} (PREVIEW)" if run.preview else name for run, name in zip(runs, given, strict=True)]
    given = unique_names((name,) for name in given)  # what the ending made alike
    if baseline is not None and f"{baseline} (PREVIEW)" in given:
        baseline = f"{baseline} (PREVIEW)"
    if baseline is not None and baseline not in given:
        raise BadValue(f"baseline {baseline!r} is none of the runs ({', '.join(given)})")
    log.info("%d evaluations read", len(runs))
    return [replace(run, name=name, baseline=name == baseline) for run, name in zip(runs, given, strict=True)]


def _distinguishing(run: Run, runs: Iterable[Run]) -> tuple[str, ...]:
    parts = [(other.source.text, other.transfer, other.dataset) for other in runs if other.name == run.name]
    own = (run.source.text, run.transfer, run.dataset)
    return tuple(part for part, column in zip(own, zip(*parts, strict=True), strict=True) if len(set(column)) > 1)


def _headline(folder: Path, cells: Mapping[Condition, Cell]) -> str:
    names = {name for cell in cells.values() for name in cell.metrics}
    stated: list[str] = []
    path = folder / SUMMARY
    if path.is_file():
        try:
            stated = [str(read_json(path)["metric"])]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadValue(f"{path}: not readable as a summary ({error}); run the evaluation again") from error
    for metric in (*stated, *_HEADLINES):
        if metric in names:
            return metric
    raise BadValue(f"{folder}: none of its metrics ({', '.join(sorted(names))}) is one that P and mPC are made of")
