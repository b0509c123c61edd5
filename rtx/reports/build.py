"""Make a whole report: figures, tables, long form, summary and page."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RunConflict
from rtx.files import read_json, write_atomic
from rtx.reports.figures.style import FORMATS, not_drawn, save, settings
from rtx.reports.page import page
from rtx.reports.page.charts import EVERY, HEAT, charts_of
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import Run
from rtx.reports.runs.trend import residual
from rtx.reports.strips import figure as strip
from rtx.reports.strips.examples import Choice, Pixels, picture
from rtx.reports.strips.selection import choose, models_shown
from rtx.reports.tables import long_form as rows
from rtx.reports.tables import paper_tables, run_tables
from rtx.reports.tables import table as tables
from rtx.reports.text.banners import Banner, banners, merged
from rtx.reports.text.verdict import gain, verdict
from rtx.results.examples import Examples, read_examples
from rtx.results.folder import CELLS, PROTOCOL
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

REPORT_FORMAT = "rtx.report/1"
CHARTS = 1_200_000
"""Bytes of charts inside the page at most; the largest beyond that are linked."""
_OURS = ("report.html", "summary.json", "results.csv", "metrics.csv", "figures", "tables")


@dataclass(frozen=True)
class Report:
    """The files of a report.

    Attributes:
        page: path of `report.html`.
        summary: what `summary.json` holds.
        banners: what must be read before the numbers.
    """

    page: Path
    summary: dict[str, Any]
    banners: tuple[Banner, ...]


@dataclass(frozen=True)
class _Figure:
    """The task of drawing one figure in a process of its own: a chart of a group by its name, or an example strip."""

    stem: Path
    group: Group
    choice: Choice | None = None
    examples: tuple[tuple[str, Examples], ...] = ()
    pictures: dict[Condition, Pixels] = field(default_factory=dict)


def build(
    runs: Sequence[Run], out: Path, *, title: str = "Robustness report", formats: Sequence[str] = FORMATS
) -> Report:
    """Write a report over runs into a folder; the same runs give the same bytes.

    Args:
        runs: from `load_runs`.
        out: the report's folder; files of an earlier report in it are replaced.
        title: heading of the page.
        formats: which files of each figure; `svg` is always among them, the page is made of it.

    Strips beyond 1.2 MB, and the largest charts beyond 1.2 MB, are files that the page links or names.

    Raises:
        BadValue: there is no run.
        RunConflict: `out` holds an evaluation or foreign files, which the report would overwrite.
    """
    if not runs:
        raise BadValue("a report over no run: give at least one evaluation folder")
    if out.is_file() or (out / PROTOCOL).exists() or (out / CELLS).exists():
        raise RunConflict(f"report folder {str(out)!r} is a file or holds an evaluation; choose another --out")
    groups = group_runs(runs)
    said = tuple(merged(banners(groups)))
    before = _written_before(out)
    foreign = [] if before is not None else [name for name in _OURS if (out / name).exists()]
    if foreign:
        raise RunConflict(f"report folder {str(out)!r} holds {foreign[0]} of no report; choose another --out")
    examples = {run.folder: found for run in runs if (found := read_examples(run.folder, run.card)) is not None}
    choices = {
        group.slug: [] if group.attacked else choose([found for _, found in models_shown(group, examples)[0]])
        for group in groups
    }
    out.mkdir(parents=True, exist_ok=True)
    # From here on the folder is a report's, and has no page until the new one is whole.
    unfinished = {"format": REPORT_FORMAT, "unfinished": True, "files": sorted(before or ())}
    write_atomic(out / "summary.json", json.dumps(unfinished, indent=1) + "\n")
    (out / "report.html").unlink(missing_ok=True)
    lacking = not_drawn(text for run in runs for text in (run.name, run.dataset, *run.metrics))
    if lacking:
        log.warning("figures show boxes for %s, which their font does not have; the page and tables are whole", lacking)
    kinds = tuple(dict.fromkeys([*formats, "svg"]))
    figures = _figures(groups, choices, examples, out)
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 4, len(figures))) as pool:
        there = list(pool.map(partial(_draw, kinds=kinds), figures))
    drawn = frozenset(figure.stem for figure, drawn in zip(figures, there, strict=True) if drawn)
    files = [f"{stem.relative_to(out).as_posix()}.{kind}" for stem in drawn for kind in kinds]
    files += [f"{f.stem.relative_to(out).as_posix()}.jpg" for f in figures if f.choice]
    made = {group.slug: run_tables.of_group(group) for group in groups}
    shared = paper_tables.transfer_tables(groups)
    against, doubts = paper_tables.paper_against_yours(runs)
    for prefix, table in _named(groups, made, [*shared, *([against] if against else [])]):
        for kind, write in (("md", tables.markdown), ("tex", tables.latex)):
            name = f"tables/{prefix}{table.name}.{kind}"
            write_atomic(out / name, write(table))
            files.append(name)
    write_atomic(out / "results.csv", rows.results_csv(runs))
    write_atomic(out / "metrics.csv", rows.metrics_csv(runs))
    models = {group.slug: [_model(group, run) for run in group.runs] for group in groups}
    content = page.PageContent(
        title=title,
        groups=tuple(groups),
        banners=said,
        tables=made,
        shared_tables=tuple(shared),
        against=against,
        doubts=doubts,
        choices=choices,
        examples=examples,
        figures=out,
        formats=kinds,
        drawn=drawn,
        only_files=_only_files(drawn),
    )
    html = page.render(content)
    write_atomic(out / "report.html", html)
    files += ["report.html", "results.csv", "metrics.csv", "summary.json"]
    summary = _summary(groups, models, said, sorted(files))
    write_atomic(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    for name in sorted((before or set()) - set(files)):
        (out / name).unlink(missing_ok=True)
    log.info("report: %s (%.1f MB, %d files)", out / "report.html", len(html.encode()) / 1e6, len(files))
    return Report(out / "report.html", summary, said)


def _only_files(drawn: Iterable[Path]) -> frozenset[Path]:
    """The charts that have no place in the page: all that fit are in it, the smallest first."""
    charts = {chart.name for chart in EVERY if chart is not HEAT}
    sizes = {stem: stem.with_name(f"{stem.name}.svg").stat().st_size for stem in drawn if stem.name in charts}
    order = sorted(sizes, key=lambda stem: (sizes[stem], stem))
    total = accumulate(sizes[stem] for stem in order)
    return frozenset(stem for stem, size in zip(order, total, strict=True) if size > CHARTS)


def _figures(
    groups: Sequence[Group], choices: dict[str, list[Choice]], examples: dict[Path, Examples], out: Path
) -> list[_Figure]:
    found = []
    for group in groups:
        found += [_Figure(page.stem_of(out, groups, group, chart.name), group) for chart in charts_of(group)]
        there = tuple(models_shown(group, examples)[0])
        for number, choice in enumerate(choices[group.slug], 1):
            example = there[0][1].images[choice.image]
            shown = [CLEAN, *(Condition(choice.corruption, level) for level in SEVERITIES)]
            pictures = {condition: picture(example, condition) for condition in shown}
            found.append(_Figure(page.stem_of(out, groups, group, f"strip_{number}"), group, choice, there, pictures))
    return found


@settings()
def _draw(figure: _Figure, kinds: Sequence[str]) -> bool:
    """Draw and save a figure; whether there was something to draw."""
    if figure.choice:
        drawn: Any = strip.draw(figure.choice, figure.examples, figure.pictures)
        kinds = (*kinds, "jpg")  # for the page
    else:
        drawn = next(chart for chart in EVERY if chart.name == figure.stem.name).draw(figure.group)
    if drawn is not None:
        save(drawn, figure.stem, kinds)
    return drawn is not None


def _named(
    groups: Sequence[Group], made: dict[str, list[tables.Table]], shared: Sequence[tables.Table]
) -> list[tuple[str, tables.Table]]:
    found = [(f"{g.slug}/" if len(groups) > 1 else "", table) for g in groups for table in made[g.slug]]
    seen: dict[str, int] = {}
    for table in shared:
        seen[table.name] = seen.get(table.name, 0) + 1
        found.append((f"{seen[table.name]}_" if seen[table.name] > 1 else "", table))
    return found


def _written_before(out: Path) -> set[str] | None:
    """Files of an earlier report; None where there was none."""
    try:
        old = read_json(out / "summary.json")
        if old["format"] != REPORT_FORMAT:
            return None
        names = set(map(str, old["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}


def _summary(
    groups: Sequence[Group], models: dict[str, list[dict[str, Any]]], said: Sequence[Banner], files: list[str]
) -> dict[str, Any]:
    return {
        "format": REPORT_FORMAT,
        "unit": "fraction",
        "groups": [
            {
                "dataset": group.dataset,
                "metric": group.metric,
                "baseline": group.baseline.name,
                "models": models[group.slug],
            }
            for group in groups
        ],
        "banners": [vars(banner) for banner in said],
        "files": files,
    }


def _model(group: Group, run: Run) -> dict[str, Any]:
    change = gain(group, run)
    return {
        "name": run.name,
        "source": run.source.text,
        "eps": run.source.eps,
        "transfer": run.transfer,
        "method": run.method,
        "n_images": run.n_images,
        "preview": run.preview,
        **run.summary.to_dict(),
        "intervals": {name: run.intervals.of(name) for name in ("P", "mPC", "rPC")},
        "against_baseline": {"mPC": change[0], "interval": change[1]} if change else None,
        "above_trend": residual(group, run),
        "verdict": verdict(group, run).sentence,
    }
