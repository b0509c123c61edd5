"""Make a whole report: figures, tables, long form, summary and page."""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RunConflict
from rtx.files import write_atomic
from rtx.reports.figures import fonts
from rtx.reports.figures.breakdown import class_rows
from rtx.reports.figures.style import FORMATS, save, settings
from rtx.reports.page import fitting, page
from rtx.reports.page.views import EVERY, TRANSFER, View, wants_transfer
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import Run
from rtx.reports.runs.trend import residual
from rtx.reports.strips import figure as strip
from rtx.reports.strips import strips
from rtx.reports.strips.examples import Choice, picture
from rtx.reports.strips.pixels import Pixels
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
SMALL_ENOUGH = 3_000_000
_OURS = ("report.html", "summary.json", "results.csv", "metrics.csv", "figures", "tables")


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: path of `report.html`.
        summary: what `summary.json` holds.
        banners: what must be read before the numbers.
    """

    page: Path
    summary: dict[str, Any]
    banners: tuple[Banner, ...]


@dataclass(frozen=True)
class _Job:
    stem: Path
    view: View | None
    group: Group
    choice: Choice | None = None
    examples: tuple[tuple[str, Examples], ...] = ()


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Drawing makes millions of objects and few cycles: looking for those often takes a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    gc.freeze()  # what is there stays: looking at it in every process would copy its memory, too
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@_seldom_collected()
@settings()
def build(
    runs: Sequence[Run], out: Path, *, title: str = "Robustness report", formats: Sequence[str] = FORMATS
) -> Report:
    """Write a report over runs into a folder; the same runs give the same bytes.

    Args:
        runs: from `load_runs`.
        out: the report's folder; files of an earlier report in it are replaced.
        title: heading of the page.
        formats: which files of each figure; `svg` is always among them, the page is made of it.

    A page that would be larger than 3 MB holds fewer strips and then fewer charts; their files are all there.

    Raises:
        BadValue: there is no run, or the page would be larger than 3 MB without a strip and a chart.
        RunConflict: `out` holds an evaluation or files of somebody else, which the report would overwrite.
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
    choices = {group.slug: _choices(group, examples) for group in groups}
    out.mkdir(parents=True, exist_ok=True)
    # From here on the folder is a report's, and has no page until the new one is whole.
    unfinished = {"format": REPORT_FORMAT, "unfinished": True, "files": sorted(before or ())}
    write_atomic(out / "summary.json", json.dumps(unfinished, indent=1) + "\n")
    (out / "report.html").unlink(missing_ok=True)
    lacking = fonts.not_drawn(text for run in runs for text in (run.name, run.dataset, *run.metrics))
    if lacking:
        log.warning("figures show boxes for %s, which their font does not have; the page and tables are whole", lacking)
    jobs = _jobs(groups, choices, examples, out)
    kinds = tuple(dict.fromkeys([*formats, "svg"]))
    files: list[str] = []
    with _drawing(jobs, kinds) as finished:  # tables are made while other processes draw
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
        laid_out = _laid_out(groups, choices, examples)
        page.template()
        drawn = finished()
    files += [f"{job.stem.relative_to(out).as_posix()}.{kind}" for job in jobs if job.stem in drawn for kind in kinds]
    content = page.Content(
        title=title,
        groups=tuple(groups),
        banners=said,
        tables=made,
        shared_tables=tuple(shared),
        against=against,
        doubts=doubts,
        choices=choices,
        examples=examples,
        strips=laid_out,
        figures=out,
        formats=kinds,
        drawn=frozenset(job.stem for job in jobs if job.stem in drawn),
    )
    html = fitting.render_within(content, SMALL_ENOUGH)
    write_atomic(out / "report.html", html)
    files += ["report.html", "results.csv", "metrics.csv", "summary.json"]
    summary = _summary(groups, models, said, sorted(files))
    write_atomic(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    for name in sorted((before or set()) - set(files)):
        (out / name).unlink(missing_ok=True)
    log.info("report: %s (%.1f MB, %d files)", out / "report.html", len(html.encode()) / 1e6, len(files))
    return Report(out / "report.html", summary, said)


def stem_of(out: Path, groups: Sequence[Group], group: Group, name: str) -> Path:
    """Where a figure lies: with one group plainly under its name, with several in a folder for each."""
    return out / "figures" / name if len(groups) == 1 else out / "figures" / group.slug / name


def _choices(group: Group, examples: dict[Path, Examples]) -> list[Choice]:
    return choose([found for _, found in models_shown(group, examples)[0]])


def _laid_out(
    groups: Sequence[Group], choices: dict[str, list[Choice]], examples: dict[Path, Examples]
) -> dict[str, strips.Strips]:
    shown = {group.slug: models_shown(group, examples)[0] for group in groups}
    return {slug: strips.build(choices[slug], there) for slug, there in shown.items() if there}


def _jobs(
    groups: Sequence[Group], choices: dict[str, list[Choice]], examples: dict[Path, Examples], out: Path
) -> list[_Job]:
    jobs = []
    for group in groups:
        for view in EVERY:
            if view not in TRANSFER or wants_transfer(group):
                jobs.append(_Job(stem_of(out, groups, group, view.name), view, group))
        there = tuple(models_shown(group, examples)[0])
        for number, choice in enumerate(choices[group.slug], 1):
            jobs.append(_Job(stem_of(out, groups, group, f"strip_{number}"), None, group, choice, there))
    return jobs


_PENDING: list[_Job] = []


@contextmanager
def _drawing(jobs: list[_Job], kinds: tuple[str, ...]) -> Iterator[Callable[[], set[Path]]]:
    """Draw and save every figure on all cores; gives what waits for them, and says which had something to draw."""
    _PENDING[:] = jobs
    for job in jobs:
        class_rows(job.group)  # kept in the runs, for all processes
    fonts.register()  # before the processes start, which inherit it
    # Strips last: their pictures are made here while the processes draw the charts. The longest chart first.
    order = sorted(range(len(jobs)), key=lambda i: (jobs[i].view is None, jobs[i].stem.name != "multiples", i))
    workers = min(os.cpu_count() or 1, 4, len(jobs))

    def of(done: Sequence[bool]) -> set[Path]:
        return {jobs[index].stem for index, drawn in zip(order, done, strict=True) if drawn}

    try:
        if workers == 1 or "fork" not in multiprocessing.get_all_start_methods():
            alone = [_draw(index, kinds, _pictures(jobs[index])) for index in order]
            yield lambda: of(alone)
        else:
            # All processes start at the first job, before anything here has started a thread.
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
                waiting = [pool.submit(_draw, index, kinds, _pictures(jobs[index])) for index in order]
                yield lambda: of([job.result() for job in waiting])
    finally:
        _PENDING.clear()


def _pictures(job: _Job) -> dict[Condition, Pixels]:
    """What a strip shows: its image under clean and under each severity."""
    if job.choice is None:
        return {}
    example = job.examples[0][1].images[job.choice.image]
    shown = [CLEAN, *(Condition(job.choice.corruption, level) for level in SEVERITIES)]
    return {condition: picture(example, condition) for condition in shown}


def _draw(index: int, kinds: tuple[str, ...], pictures: dict[Condition, Pixels]) -> bool:
    job = _PENDING[index]
    if job.view is None:
        figure = strip.draw(job.choice, job.examples, pictures) if job.choice else None
    else:
        figure = job.view.draw(job.group)
    if figure is None:
        return False
    save(figure, job.stem, kinds)
    return True


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
        old = json.loads((out / "summary.json").read_text(encoding="utf-8"))
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
