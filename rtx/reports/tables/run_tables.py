"""The tables of a group of runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rtx.corruptions import BENCHMARK, FAMILIES
from rtx.reports.figures.breakdown import class_rows, size_rows
from rtx.reports.figures.families import drop, drop_interval, paired
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import Floats, Resamples, difference
from rtx.reports.runs.naming import UNKNOWN
from rtx.reports.runs.runs import Run
from rtx.reports.runs.trend import none_of, residual, trend_of
from rtx.reports.tables.table import Entry, Table, best_of, row
from rtx.reports.text.wording import DASH, corruption_name, dataset_name, interval_text, metric_name, percent, signed
from rtx.results.intervals import Ends
from rtx.types import CLEAN, SEVERITIES, Condition

PERCENT = "All numbers in percent."
_QUANTITIES = ("P", "mPC", "rPC")


def of_group(group: Group) -> list[Table]:
    """Every table that the runs have numbers for."""
    tables = [overall(group), by_corruption(group), by_family(group), completeness(group)]
    if any(len(run.metrics) > 1 for run in group.runs):
        tables.append(every_metric(group))
    for name, word, rows in (("sizes", "object size", size_rows(group)), ("classes", "class", class_rows(group))):
        if rows:
            tables.append(_breakdown(group, name, word, rows))
    return tables


def overall(group: Group) -> Table:
    """P, mPC and rPC of each run with intervals; the best of the comparable ones in bold."""
    runs = group.runs
    reads: list[tuple[str, Callable[[Run], float | None]]] = [
        ("P", lambda run: _defined(run.summary.P)),
        ("mPC", lambda run: _defined(run.summary.mPC)),
        ("rPC", lambda run: _defined(run.summary.rPC)),
    ]
    sure = any(run.intervals.of(name) for run in runs for name, _ in reads)
    columns = []
    for name, read in reads:
        best = _best(group, [read(run) for run in runs])
        columns.append(
            [
                Entry(percent(read(run)), _spread(run.intervals.of(name), said=sure), index in best)
                for index, run in enumerate(runs)
            ]
        )
    has_trend = trend_of(group) is not None
    about = {  # what no run states is no column
        head: values
        for head, values in (
            ("source", [run.source.text for run in runs]),
            ("transfer", [run.transfer for run in runs]),
            ("images", [str(run.n_images or UNKNOWN) for run in runs]),
        )
        if set(values) != {UNKNOWN}
    }
    rows = []
    for index, run in enumerate(runs):
        cells = [columns[0][index], columns[1][index], columns[2][index]]
        if not run.summary.complete:  # never under the plain name
            text = f"{cells[1].text} = {run.summary.label}" if run.summary.cells else DASH
            cells = [cells[0], Entry(text), Entry(DASH)]
        extra = [signed(residual(group, run))] if has_trend else []
        rows.append(row(run.name, *(values[index] for values in about.values()), *cells, *extra))
    head = ("model", *about, "P", "mPC", "rPC", *(("above trend",) if has_trend else ()))
    some = "Brackets: 95 % interval over images; “no interval” where none was computed."
    notes = [PERCENT, some if sure else "No interval was computed for any of them."]
    if has_trend:
        line = trend_of(group)
        points = len(line.points) if line else 0
        doubt = ", fewer than 8: take it lightly" if line and line.few else ""
        lacking = f"; {DASH} {none_of(group)}" if none_of(group) else ""
        notes.append(
            f"Above trend: mPC minus what {points} published detectors, corrupted in BGR, give for this P"
            f"{doubt}{lacking}."
        )
    title = f"{metric_name(group.metric)} on {dataset_name(group.dataset)}, clean and under corruption"
    return Table("overall", title, head, tuple(rows), 1 + len({"source", "transfer"} & set(about)), tuple(notes))


def by_corruption(group: Group) -> Table:
    """The share of P that remains under each corruption."""
    values = [[run.corruption_ratio(name) for name in BENCHMARK] for run in group.runs]
    best = [_best(group, [line[column] for line in values], digits=0) for column in range(len(BENCHMARK))]
    rows = []
    for index, run in enumerate(group.runs):
        cells = [Entry(percent(v, 0), "", index in best[column]) for column, v in enumerate(values[index])]
        rows.append(row(run.name, *cells, percent(run.summary.rPC if run.summary.complete else None)))
    head = ("model", *(corruption_name(name, short=True) for name in BENCHMARK), "rPC")
    title = f"rPC by corruption: mean {metric_name(group.metric)} over severities 1 to 5 divided by P"
    return Table("corruptions", title, head, tuple(rows), 1, (PERCENT,))


def by_family(group: Group) -> Table:
    """Drop by family, overall, and against the baseline."""
    rows = []
    drops = {family: [drop(run, family) for run in group.runs] for family in FAMILIES}
    whole = [_defined(run.summary.drop) if run.summary.complete else None for run in group.runs]
    best = {family: _best(group, values, low=True) for family, values in drops.items()}
    best_whole = _best(group, whole, low=True)
    for index, run in enumerate(group.runs):
        cells = [Entry(percent(drops[f][index]), _given(drop_interval(run, f)), index in best[f]) for f in FAMILIES]
        span = run.intervals.of("rPC")
        cells.append(
            Entry(percent(whole[index]), _given((1 - span[1], 1 - span[0]) if span else None), index in best_whole)
        )
        mean = _defined(run.summary.mean_family_drop) if run.summary.complete else None
        rows.append(row(run.name, *cells, percent(mean)))
        found = [paired(group, run, family) for family in FAMILIES]
        if any(found):
            both = whole[index], whole[group.runs.index(group.baseline)]
            if both[0] is not None and both[1] is not None:
                span = difference(group.baseline.intervals, run.intervals, _whole_drop)
                found.append((both[0] - both[1], span))
            changes = [Entry(signed(f[0]), _given(f[1], sign=True)) if f else Entry(DASH) for f in found]
            rows.append(row("↳ minus baseline", *changes, *[""] * (len(FAMILIES) + 2 - len(changes))))
    pairs = (
        f"Minus baseline ({group.baseline.name}): difference of drops in points, paired over images where an interval "
        "is given."
    )
    notes = (
        "Drop = 1 - score / P, in percent. Overall: every corruption weighs the same; the mean of the families "
        "is another number, because noise has three corruptions and the others four.",
        *([pairs] if len(rows) > len(group.runs) else []),
    )
    head = ("model", *FAMILIES, "overall", "mean of families")
    return Table(
        "families", f"Drop of {metric_name(group.metric)} by family of corruptions", head, tuple(rows), 1, notes
    )


def every_metric(group: Group) -> Table:
    """P, mPC and rPC of every metric that the cells hold, classes and what no model defines left out."""
    defined = {metric for run in group.runs for metric in run.metrics if "/" not in metric and run.grid(metric)}
    rows = []
    for run in group.runs:
        for metric in run.metrics:
            if metric not in defined:
                continue
            summary = run.summary_of(metric)
            undefined = len(run.grid(metric)) < len(run.cells)
            mean = (
                DASH
                if undefined
                else percent(summary.mPC)
                if summary.complete
                else f"{percent(summary.mPC)} = {summary.label}"
            )
            whole = summary.complete and not undefined
            ratio = percent(summary.rPC) if whole else DASH
            spans = [_given(_interval_of(run, metric, name)) if whole or name == "P" else "" for name in _QUANTITIES]
            cells = [Entry(text, span) for text, span in zip((percent(summary.P), mean, ratio), spans, strict=True)]
            rows.append(row(run.name, metric_name(metric), *cells))
    notes = [PERCENT, *(["Brackets: 95 % interval over images."] if any(e.below for r in rows for e in r) else [])]
    return Table("metrics", "Every metric", ("model", "metric", "P", "mPC", "rPC"), tuple(rows), 2, tuple(notes))


def _interval_of(run: Run, metric: str, name: str) -> Ends | None:
    return run.intervals.of(name) if metric == run.metric else run.intervals.of_other(metric, name)


def counts(run: Run) -> list[tuple[str, int, int]]:
    """(column, cells there, cells wanted): the clean images, then each corruption."""
    grid = run.grid()
    rows = [("clean", int(CLEAN in grid), 1)]
    return rows + [
        (name, sum(Condition(name, level) in grid for level in SEVERITIES), len(SEVERITIES)) for name in BENCHMARK
    ]


def completeness(group: Group) -> Table:
    """Which cells are there."""
    rows = [
        row(run.name, *(f"{there}/{wanted}" for _, there, wanted in counts(run)), str(run.n_images or "unknown"))
        for run in group.runs
    ]
    head = ("model", "clean", *(corruption_name(name, short=True) for name in BENCHMARK), "images")
    return Table("completeness", "Cells that were evaluated", head, tuple(rows))


def _breakdown(group: Group, name: str, word: str, lines: Sequence[tuple[str, list[float | None]]]) -> Table:
    cells = []
    for _, values in lines:
        best = _best(group, values, low=True)
        cells.append([Entry(percent(v), "", i in best) for i, v in enumerate(values)])
    names, words = [run.name for run in group.runs], [text for text, _ in lines]
    if len(words) <= len(names):  # what is fewer goes into columns
        head, first, cells = ("model", *words), names, [list(column) for column in zip(*cells, strict=True)]
    else:
        head, first = (word, *names), words
    title = f"Drop of {metric_name(group.metric)} by {word}"
    rows = tuple(row(text, *entries) for text, entries in zip(first, cells, strict=True))
    return Table(name, title, head, rows, 1, ("Drop in percent of the clean score.",))


def _best(group: Group, values: Sequence[float | None], *, low: bool = False, digits: int = 1) -> set[int]:
    """Places of the best value among the runs that may be compared."""
    ranked = [
        value if run in group.comparable and not run.preview else None
        for run, value in zip(group.runs, values, strict=True)
    ]
    return best_of(ranked, low=low, digits=digits)


def _whole_drop(resamples: Resamples) -> Floats | None:
    ratio = resamples.ratio()
    return None if ratio is None else 1 - ratio


def _spread(interval: Ends | None, *, said: bool) -> str:
    """An interval; that there is none only where others in the table have one."""
    return interval_text(interval) if said else ""


def _given(interval: Ends | None, *, sign: bool = False) -> str:
    return interval_text(interval, sign=sign) if interval else ""


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
