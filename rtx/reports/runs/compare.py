"""Two evaluations, paired: the difference overall, by family and by corruption, and whether it is too large to pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES
from rtx.errors import RunConflict
from rtx.reports.text.banners import missing_text
from rtx.reports.runs.groups import differing
from rtx.results.intervals import Ends
from rtx.reports.runs.intervals import MEMBERS, Quantity, Resamples, difference
from rtx.reports.runs.runs import Run
from rtx.reports.tables.table import Entry, Table, row
from rtx.reports.text.wording import corruption_name, dataset_name, interval_text, metric_name, percent, signed
from rtx.types import CLEAN

ROUNDING = 1e-9
"""Fractions that are taken for equal: far below what is printed, far above what float rounding does."""


@dataclass(frozen=True)
class Difference:
    """One quantity of both runs.

    Attributes:
        name: `P`, `mPC`, `rPC`, a family or a corruption.
        a: value of the first run, a fraction.
        b: value of the second.
        interval: 95 % interval of b - a over the same resampled images; None where there are no paired resamples.
    """

    name: str
    a: float
    b: float
    interval: Ends | None

    @property
    def change(self) -> float:
        """B minus a."""
        return self.b - self.a


@dataclass(frozen=True)
class Comparison:
    """The differences between two runs.

    Attributes:
        a: the first run, the reference.
        b: the second.
        overall: P, mPC and rPC.
        families: mean score by family.
        corruptions: mean score over severities by corruption.
    """

    a: Run
    b: Run
    overall: tuple[Difference, ...]
    families: tuple[Difference, ...]
    corruptions: tuple[Difference, ...]

    def line(self, name: str) -> Difference:
        """One of P, mPC and rPC."""
        return next(line for line in self.overall if line.name == name)


def compare(a: Run, b: Run) -> Comparison:
    """Compare two runs cell by cell.

    Raises:
        RunConflict: their protocols or test sets differ, or a grid is not whole; every reason is named.
    """
    if attacked := [run.name for run in (a, b) if run.attacks]:
        raise RunConflict(
            f"{attacked[0]!r} is an evaluation under attack, and rtx compare is of corruptions; rtx report puts attacked "
            "models side by side"
        )
    reasons = _differences(a, b)
    reasons += [f"{run.name} lacks {missing_text(run)} ({run.remedy()})" for run in (a, b) if run.missing]
    if reasons:
        raise RunConflict(f"{a.name!r} and {b.name!r} cannot be compared: {'; '.join(reasons)}")
    one, two = a.summary, b.summary

    def line(name: str, first: float, second: float, read: Quantity) -> Difference:
        return Difference(name, first, second, difference(a.intervals, b.intervals, read))

    def mean(names: tuple[str, ...]) -> Quantity:
        return lambda resamples: resamples.mean(names)

    overall = (
        line("P", one.P, two.P, lambda resamples: resamples.of(CLEAN)),
        line("mPC", one.mPC, two.mPC, Resamples.mean),
        line("rPC", one.rPC, two.rPC, Resamples.ratio),
    )
    families = tuple(line(f, one.families[f].score, two.families[f].score, mean(MEMBERS[f])) for f in FAMILIES)
    corruptions = tuple(line(n, one.per_corruption[n], two.per_corruption[n], mean((n,))) for n in BENCHMARK)
    return Comparison(a, b, overall, families, corruptions)


def drops_more(line: Difference, points: float, *, surely: bool = False) -> bool:
    """Whether b lies more than so many points below a.

    Args:
        line: the quantity.
        points: the largest fall that passes, in points of a percent scale.
        surely: count it only where the whole interval lies below; without an interval the difference decides.
    """
    change = line.interval[1] if surely and line.interval else line.change
    # A fall of just so many points passes, whatever its float rounding; NaN fails.
    return not change >= -points / 100 - ROUNDING


def sentence(comparison: Comparison) -> str:
    """The result in one sentence."""
    line = comparison.line("mPC")
    a, b = comparison.a.name, comparison.b.name
    if line.interval is None:
        doubt = "no paired interval, resamples of the same images are not there, so it may be chance"
    elif line.interval[0] <= 0 <= line.interval[1]:
        doubt = f"{interval_text(line.interval, sign=True)} includes no difference"
    else:
        doubt = f"{interval_text(line.interval, sign=True)} excludes no difference"
    most = max(comparison.corruptions, key=lambda row: abs(row.change))
    preview = "PREVIEW: " if comparison.a.preview else ""
    few = comparison.a.tiny and line.interval is not None
    trust = f"; {comparison.a.n_images} images are too few to trust the intervals" if few else ""
    values = f"({percent(line.a)} → {percent(line.b)}; {doubt})"
    return (
        f"{preview}{b} against {a}, {_what(comparison.a)}: mPC {signed(line.change)} points {values}; "
        f"largest change under {corruption_name(most.name)}, {signed(most.change)}{trust}"
    )


def _what(run: Run) -> str:
    images = f"{run.n_images} images" if run.n_images else "number of images not stated"
    return f"{metric_name(run.metric)} on {dataset_name(run.dataset)} ({images})"


def table(comparison: Comparison) -> Table:
    """All lines as a table."""
    rows = []
    for lines, kind in ((comparison.overall, ""), (comparison.families, "family "), (comparison.corruptions, "")):
        for line in lines:
            name = f"{kind}{line.name}" if kind or line.name in ("P", "mPC", "rPC") else corruption_name(line.name)
            family = CORRUPTIONS.get(line.name, "")
            change = Entry(signed(line.change, 2), interval_text(line.interval, 2, sign=True))
            rows.append(row(name, family, percent(line.a, 2), percent(line.b, 2), change))
    title = f"{comparison.b.name} against {comparison.a.name}: {_what(comparison.a)}"
    notes = (
        "In percent; differences are second minus first, in points, paired over images where an interval is given.",
    )
    head = ("score", "family", comparison.a.name, comparison.b.name, "difference")
    return Table("compare", title, head, tuple(rows), 2, notes)


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The same for programs; fractions, NaN as null."""

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else value

    def lines(found: tuple[Difference, ...]) -> dict[str, Any]:
        values = ((line, (plain(line.a), plain(line.b), plain(line.change), line.interval)) for line in found)
        return {line.name: dict(zip(("a", "b", "difference", "interval"), row, strict=True)) for line, row in values}

    return {
        "format": "rtx.compare/1",
        "unit": "fraction",
        "a": comparison.a.name,
        "b": comparison.b.name,
        "metric": comparison.a.metric,
        "preview": comparison.a.preview,
        "overall": lines(comparison.overall),
        "families": lines(comparison.families),
        "corruptions": lines(comparison.corruptions),
    }


def _differences(a: Run, b: Run) -> list[str]:
    """Why two runs cannot be compared, with both values and the remedy."""
    reasons = []
    if a.card.get("limit") != b.card.get("limit"):  # what the images are called follows from it
        for run in (a, b):
            if run.preview:
                reasons.append(f"{run.name} is of {run.n_images} images (all of them with: {run.remedy(whole=True)})")
    elif a.dataset != b.dataset:
        reasons.append(f"their test sets are {a.dataset} and {b.dataset}")
    if a.metric != b.metric:
        reasons.append(f"their headline metrics are {a.metric} and {b.metric}")
    if fields := differing(a, b):
        settings = ", ".join(f"{word} ({one} and {two})" for word, one, two in fields)
        reasons.append(f"they differ in {settings}; evaluate one again like the other, into a new folder")
    return reasons

