"""The page: one file that needs no network, with figures and pictures inside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from rtx.reports.figures.style import inline_svg
from rtx.reports.page.charts import BEFORE_STRIPS, HEAT, Chart, charts_of
from rtx.reports.page.grids import completeness_grid, completeness_point, heat_grid
from rtx.reports.runs.groups import Group
from rtx.reports.runs.naming import readable
from rtx.reports.runs.runs import Run
from rtx.reports.strips.examples import Choice
from rtx.reports.strips.selection import models_shown
from rtx.reports.tables.table import Table, latex, markdown
from rtx.reports.text.banners import Banner, missing_text
from rtx.reports.text.verdict import Verdict, verdict
from rtx.reports.text.wording import corruption_name, dataset_name, metric_name, percent, unbroken
from rtx.results.examples import Examples
from rtx.results.protocol import protocol_key

FILES = Path(__file__).parent / "files"
PICTURES = 1_200_000
"""Bytes of example strips in one page at most; further ones are files only."""
SHOWN_ABOVE = frozenset({"completeness"})
"""Tables that the page holds as a view of its own, with the same numbers."""


@dataclass(frozen=True)
class PageContent:
    """Everything that goes into the page."""

    title: str
    groups: tuple[Group, ...]
    banners: tuple[Banner, ...]
    tables: Mapping[str, Sequence[Table]]
    shared_tables: tuple[Table, ...]
    against: Table | None
    doubts: tuple[str, ...]
    choices: Mapping[str, Sequence[Choice]]
    examples: Mapping[Path, Examples]
    figures: Path
    formats: tuple[str, ...]
    drawn: frozenset[Path]
    only_files: frozenset[Path] = frozenset()  # charts that the page has no room for


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        id: anchor.
        kind: `chart`, `heat`, `strips` or `matrix`.
        title: heading.
        about: how to read it.
        point: what it says.
        svg: the chart, empty where it could not be drawn.
        files: figure files as (format, relative path).
        missing: (run, what it lacks, command).
        absent: why there is nothing to see.
    """

    id: str
    kind: str
    title: str
    about: str
    point: str = ""
    svg: str = ""  # the chart as Markup, or nothing
    files: tuple[tuple[str, str], ...] = ()
    missing: tuple[tuple[str, str, str], ...] = ()
    absent: str = ""
    data: Any = None


@dataclass(frozen=True)
class Chapter:
    """One group on the page."""

    id: str
    name: str
    group: Group
    verdicts: tuple[Verdict, ...]
    sections: tuple[Section, ...]
    tables: tuple[Table, ...]


def render(content: PageContent) -> str:
    """The page as text, however large it becomes."""
    chapters = tuple(_chapter(content, group, index) for index, group in enumerate(content.groups))
    script = (FILES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template().render(
        title=content.title,
        chapters=chapters,
        banners=content.banners,
        shared_tables=content.shared_tables,
        against=content.against,
        doubts=content.doubts,
        cards=[_card(run) for group in content.groups for run in group.runs],
        # These two are ours, and are put in as they are; everything else is escaped.
        style=Markup((FILES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        to_latex=latex,
        unbroken=unbroken,
        # A name, escaped, that may be broken after its underscores.
        breakable=lambda name: Markup("<wbr>").join(re.split(r"(?<=[_/…])", name)),
        to_markdown=markdown,
        n_runs=sum(len(group.runs) for group in content.groups),
    )


@cache
def template() -> jinja2.Template:
    """The page without its content."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2")


def _chapter(content: PageContent, group: Group, index: int) -> Chapter:
    name = f"g{index}"
    drawn = [_section(content, group, chart, name) for chart in charts_of(group)]
    verdicts = tuple(verdict(group, run) for run in group.runs)
    if group.attacked:
        title = f"{dataset_name(group.dataset)}, {metric_name(group.metric)} under attack"
        return Chapter(name, title, group, verdicts, tuple(drawn), tuple(content.tables[group.slug]))
    before, after = drawn[: len(BEFORE_STRIPS)], drawn[len(BEFORE_STRIPS) :]
    about = "Cells that were evaluated, of one clean and five severities for each corruption."
    point, grid = completeness_point(group), completeness_grid(group)
    last = Section(f"{name}-completeness", "matrix", "Completeness", about, point, data=grid)
    sections = (*before, _strips(content, group, name), *after, last)
    title = f"{dataset_name(group.dataset)}, {metric_name(group.metric)}"
    tables = tuple(table for table in content.tables[group.slug] if table.name not in SHOWN_ABOVE)
    return Chapter(name, title, group, verdicts, sections, tables)


def _section(content: PageContent, group: Group, chart: Chart, chapter: str) -> Section:
    stem = stem_of(content.figures, content.groups, group, chart.name)
    drawn = stem in content.drawn
    kind = "heat" if chart.name == HEAT.name else "chart"
    point = chart.point(group) if drawn else ""
    svg = ""
    if drawn and kind == "chart" and stem not in content.only_files:
        text = stem.with_name(f"{stem.name}.svg").read_text(encoding="utf-8")
        # The text is Matplotlib's: every name in it was drawn as outlines, none is in it as text.
        label = escape(f"{chart.title}. {point}", quote=True)
        svg = Markup(inline_svg(text, f"{chapter}-{chart.name}", label))
    data: Any = heat_grid(group) if kind == "heat" else None
    if chart.name == "curve":
        data = [(run.name, [percent(run.severity_mean(level)) for level in range(6)]) for run in group.runs]
    missing = tuple((run.name, missing_text(run), run.remedy()) for run, _ in chart.missing(group))
    missing += chart.lacking(group)
    absent = "" if drawn else chart.absent(group) or "No run has the cells for it."
    if stem in content.only_files:
        absent = f"Too large for this page: see figures/{stem.name}.svg."
    path = stem.relative_to(content.figures).as_posix()
    files = tuple((kind.upper(), f"{path}.{kind}") for kind in content.formats) if drawn else ()
    name = f"{chapter}-{chart.name}"
    return Section(name, kind, chart.title, chart.about, point, svg, files, missing, absent, data)


def stem_of(out: Path, groups: Sequence[Group], group: Group, name: str) -> Path:
    """Where a figure lies: with one group plainly under its name, with several in a folder for each."""
    return out / "figures" / name if len(groups) == 1 else out / "figures" / group.slug / name


def _strips(content: PageContent, group: Group, chapter: str) -> Section:
    choices = content.choices[group.slug]
    there, lacking = models_shown(group, content.examples)
    kept = [found for _, found in there if found.evaluated > len(found.images)]
    pool = f"Chosen among the {len(kept[0].images)} images that were kept of {kept[0].evaluated}. " if kept else ""
    about = (
        "One image under one corruption, severity 0 to 5 from left to right, one row a model. "
        "Green, solid: hits. Orange, dotted: false alarms. White, dashed: missed objects. Label maps: wrong pixels are "
        f"striped. Predictions with a score of 0.3 and above. {pool}Images are chosen by the drop of their quality, "
        "not by hand."
    )
    hidden = len(group.runs) - len(there) - len(lacking)
    if hidden:
        about += f" Of {len(there) + hidden} models, the baseline, the best, the worst and one between are drawn."
    absent = ""
    if not there:
        absent = (
            "Imported results hold no images."
            if all(run.card.get("origin") for run in group.runs)
            else "No run keeps example images. Evaluations with --keep-predictions write them (a folder examples/ with "
            "index.json beside the cells)."
        )
    elif not choices:
        absent = "No image has the clean condition and all five severities of a corruption in every run with examples."
    pictures, left = [], PICTURES // len(content.groups)
    for number, choice in enumerate(choices, 1):
        stem = stem_of(content.figures, content.groups, group, f"strip_{number}")
        data = stem.with_name(f"{stem.name}.jpg").read_bytes()
        left -= len(data)
        if left > 0:
            title = f"{corruption_name(choice.corruption)}, image “{readable(choice.image)}” {choice.cost}"
            source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
            pictures.append({"reason": choice.reason, "title": title, "source": source})
    built = {"pictures": pictures, "left_out": len(choices) - len(pictures)}
    rows = tuple((name, why, "") for name, why in lacking) if there else ()
    name = f"{chapter}-strips"
    return Section(name, "strips", "Example strips", about, missing=rows, absent=absent, data=built)


def _card(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": str(run.folder),
        "key": protocol_key(run.card),
        "json": json.dumps(run.card, indent=1, sort_keys=True, ensure_ascii=False, default=str),
    }
