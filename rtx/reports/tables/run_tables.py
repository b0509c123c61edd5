"""The tables of a group of runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rtx.corruptions import BENCHMARK, FAMILIES
from rtx.reports.figures.breakdown import class_rows, size_rows
from rtx.reports.figures.families import drop, drop_interval, paired
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import Resamples, difference
from rtx.reports.runs.models import repeats
from rtx.reports.runs.naming import UNKNOWN
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run
from rtx.reports.runs.trend import none_of, residual, trend_of
from rtx.reports.tables.table import Entry, Table, best_of, row
from rtx.reports.text.wording import DASH, corruption_name, dataset_name, interval_text, metric_name, percent, signed
from rtx.results.attack_text import attack_text, eps_text
from rtx.results.intervals import Ends
from rtx.results.over_seeds import spread
from rtx.types import CLEAN

PERCENT = "All numbers in percent."
_QUANTITIES = ("P", "mPC", "rPC")


def of_group(group: Group) -> list[Table]:
    """Every table that the runs have numbers for."""
    if group.attacked:
        return [under_attack(group)]
    tables = [overall(group), by_corruption(group), by_family(group), completeness(group)]
    if any(len(run.metrics) > 1 for run in group.runs):
        tables.append(every_metric(group))
    if any(run.shifts for run in group.runs):
        tables.append(by_shift(group))
    for name, word, rows in (("sizes", "object size", size_rows(group)), ("classes", "class", class_rows(group))):
        if rows:
            tables.append(_breakdown(group, name, word, rows))
    return [*tables, *([] if (table := over_seeds(group)) is None else [table])]


def under_attack(group: Group) -> Table:
    """Every metric by eps, with intervals; models whose attacks differ are never ranked."""
    conditions = [CLEAN, *sorted({condition for run in group.runs for condition in run.attacks})]
    rows = []
    for run in group.runs:
        for metric in (name for name in run.metrics if "/" not in name and run.grid(name)):
            known = run.intervals.metrics.get(metric)
            cells = {} if known is None else known.cells
            spans = {c: (found.low, found.high) for c, found in cells.items() if not math.isnan(found.low)}
            entries = [Entry(percent(run.grid(metric).get(c)), _given(spans.get(c))) for c in conditions]
            rows.append(row(run.name, metric_name(metric), *entries))
    head = ("model", "metric", "clean", *(eps_text(condition.key) for condition in conditions[1:]))
    attacks = dict.fromkeys(attack_text(run.card.get("attack") or {}) for run in group.runs)
    notes = (PERCENT, "Brackets: 95 % interval over images.", f"Attack: {'; or '.join(attacks)}.")
    title = f"{metric_name(group.metric)} on {dataset_name(group.dataset)} under attack"
    return Table("attacks", title, head, tuple(rows), 2, notes)


def over_seeds(group: Group) -> Table | None:
    """P of trainings that differ by chance alone, such as seeds: mean, both deviations, extremes; None without any."""
    rows = []
    for runs in repeats([run for run in group.cleanly_comparable if not run.preview]):
        scores = {n: run.summary.P for n, run in enumerate(runs) if not math.isnan(run.summary.P)}
        if len(scores) < 2:
            continue
        found = spread(scores, resamples=0)
        assert found.deviation is not None
        sides = found.deviation, found.deviation * math.sqrt((found.n - 1) / found.n)
        numbers = (percent(value, 2) for value in (found.mean, *sides, found.lowest, found.highest))
        rows.append(row(runs[0].name, runs[0].source.text, runs[0].transfer, str(found.n), *numbers))
    if not rows:
        return None
    head = ("first of them", "source", "transfer", "runs", "mean", "sigma (ddof 1)", "sigma (ddof 0)", "min", "max")
    notes = (
        PERCENT,
        "Sigma of the sample (ddof 1) and of the population (ddof 0): papers seldom say which they print.",
    )
    title = f"Clean {metric_name(group.metric)} over trainings that differ by chance alone"
    return Table("seeds", title, head, tuple(rows), 3, notes)


def overall(group: Group) -> Table:
    """P, mPC and rPC of each run with intervals; the best of the comparable ones in bold."""
    runs = group.runs
    # That there is no interval is said only where others in the table have one.
    sure = any(run.intervals.of(name) for run in runs for name in _QUANTITIES)
    values = {name: [_defined(getattr(run.summary, name)) for run in runs] for name in _QUANTITIES}
    best = {name: _best(group, column) for name, column in values.items()}
    line = trend_of(group)
    about = {  # what no run states is no column
        head: column
        for head, column in (
            ("source", [run.source.text for run in runs]),
            ("transfer", [run.transfer for run in runs]),
            ("images", [str(run.n_images or UNKNOWN) for run in runs]),
        )
        if set(column) != {UNKNOWN}
    }
    rows = []
    for index, run in enumerate(runs):
        spans = [interval_text(run.intervals.of(name)) if sure else "" for name in _QUANTITIES]
        cells = [
            Entry(percent(values[name][index]), span, index in best[name])
            for name, span in zip(_QUANTITIES, spans, strict=True)
        ]
        if not run.summary.complete:  # never under the plain name
            text = f"{cells[1].text} = {run.summary.label}" if run.summary.cells else DASH
            cells = [cells[0], Entry(text), Entry(DASH)]
        extra = [signed(residual(group, run))] if line else []
        rows.append(row(run.name, *(column[index] for column in about.values()), *cells, *extra))
    head = ("model", *about, *_QUANTITIES, *(("above trend",) if line else ()))
    some = "Brackets: 95 % interval over images; “no interval” where none was computed."
    notes = [PERCENT, some if sure else "No interval was computed for any of them."]
    if line:
        doubt = ", fewer than 8: take it lightly" if line.few else ""
        lacking = f"; {DASH} {none_of(group)}" if none_of(group) else ""
        what = f"mPC minus what {len(line.points)} published detectors, corrupted in BGR, give for this P"
        notes.append(f"Above trend: {what}{doubt}{lacking}.")
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
    whole = [_defined(run.summary.drop) if run.summary.complete else None for run in group.runs]
    drops = [*([drop(run, family) for run in group.runs] for family in FAMILIES), whole]
    best = [_best(group, values, low=True) for values in drops]
    for index, run in enumerate(group.runs):
        kept = run.intervals.of("rPC")
        spans = [*(drop_interval(run, family) for family in FAMILIES), (1 - kept[1], 1 - kept[0]) if kept else None]
        cells = [
            Entry(percent(values[index]), _given(span), index in ranked)
            for values, span, ranked in zip(drops, spans, best, strict=True)
        ]
        mean = _defined(run.summary.mean_family_drop) if run.summary.complete else None
        rows.append(row(run.name, *cells, percent(mean)))
        found = [paired(group, run, family) for family in FAMILIES]
        if any(found):
            mine, base = whole[index], whole[group.runs.index(group.baseline)]
            if mine is not None and base is not None:
                found.append((mine - base, difference(group.baseline.intervals, run.intervals, Resamples.drop)))
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
    title = f"Drop of {metric_name(group.metric)} by family of corruptions"
    return Table("families", title, head, tuple(rows), 1, notes)


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
            whole = summary.complete and not undefined
            mean = percent(summary.mPC) if whole else DASH if undefined else f"{percent(summary.mPC)} = {summary.label}"
            texts = (percent(summary.P), mean, percent(summary.rPC) if whole else DASH)
            spans = [_given(run.intervals.of(name, metric)) if whole or name == "P" else "" for name in _QUANTITIES]
            rows.append(row(run.name, metric_name(metric), *map(Entry, texts, spans)))
    notes = [PERCENT, *(["Brackets: 95 % interval over images."] if any(e.below for r in rows for e in r) else [])]
    return Table("metrics", "Every metric", ("model", "metric", "P", "mPC", "rPC"), tuple(rows), 2, tuple(notes))


def by_shift(group: Group) -> Table:
    """Scores on natural shifts, and the share of P that remains."""
    rows = []
    for run in group.runs:
        for name, shift in run.shifts.items():
            score = Entry(percent(shift["value"]), _given(shift["interval"]))
            rows.append(row(run.name, name, str(shift["n_images"]), score, percent(shift["relative"])))
    notes = [PERCENT, "Other test sets with the same classes, not corrupted; they are part of no mean."]
    notes += ["Brackets: 95 % interval over images."] if any(entries[3].below for entries in rows) else []
    if any(shift["preview"] for run in group.runs for shift in run.shifts.values()):
        notes.append("PREVIEW: some of their images only.")
    head = ("model", "test set", "images", metric_name(group.metric), "of P")
    return Table("shifts", f"{metric_name(group.metric)} on natural shifts", head, tuple(rows), 2, tuple(notes))


def counts(run: Run) -> list[tuple[str, int, int]]:
    """(column, cells there, cells wanted): the clean images, then each corruption."""
    lacking = Counter(condition.corruption for condition in run.missing)
    wanted = Counter(condition.corruption for condition in BENCHMARK_CELLS)
    return [(name, count - lacking[name], count) for name, count in wanted.items()]


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


def _given(interval: Ends | None, *, sign: bool = False) -> str:
    return interval_text(interval, sign=sign) if interval else ""


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
