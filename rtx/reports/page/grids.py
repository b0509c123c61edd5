"""Grids of the page: the heat map and the completeness matrix as rows of cells."""

from __future__ import annotations

from typing import Any

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.reports.figures import heat
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import MEMBERS
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run
from rtx.reports.tables.run_tables import counts
from rtx.reports.text.wording import corruption_name, percent, shortened
from rtx.types import CLEAN, SEVERITIES, Condition


def heat_grid(group: Group) -> dict[str, Any]:
    """Models in rows, corruptions in columns: what is left of P, its colour, and the scores behind it."""
    body = []
    for run, short in zip(group.runs, shortened([run.name for run in group.runs], 26), strict=True):
        cells = [_heat_cell(value, _hover(run, name)) for name, value in heat.values(run).items()]
        whole = run.summary.rPC if run.summary.complete and run.summary.rPC == run.summary.rPC else None
        cells.append(_heat_cell(whole, f"{run.name}: rPC over 15 corruptions; folder {run.folder}"))
        body.append({"name": run.name, "short": short, "cells": cells})
    widths = [(family, len(members)) for family, members in MEMBERS.items()]
    return {"columns": _columns(), "families": widths, "rows": body}


def _columns() -> list[dict[str, str]]:
    return [
        {"name": corruption_name(n), "short": corruption_name(n, short=True), "family": CORRUPTIONS[n]}
        for n in BENCHMARK
    ]


def _heat_cell(value: float | None, hover: str) -> dict[str, Any]:
    if value is None:
        return {"text": percent(None), "value": "", "back": "", "ink": "", "hover": hover}
    colour = heat.shade(value)
    return {"text": percent(value, 0), "value": repr(value), "back": colour, "ink": heat.ink_on(colour), "hover": hover}


def _hover(run: Run, corruption: str) -> str:
    scores = [percent(run.score(Condition(corruption, level))) for level in SEVERITIES]
    return (
        f"{run.name}, {corruption_name(corruption)}: clean {percent(run.score(CLEAN))}; severities 1 to 5: "
        f"{', '.join(scores)}; cells/{corruption}_1.json to _5.json"
    )


def completeness_grid(group: Group) -> dict[str, Any]:
    """Models in rows, corruptions in columns: cells there of cells wanted."""
    body = []
    for run, short in zip(group.runs, shortened([run.name for run in group.runs], 26), strict=True):
        flags = sorted({flag for cell in run.cells.values() for flag in cell.flags})
        cells = [
            {"text": f"{n}/{of}", "state": "done" if n == of else "part" if n else "none", "name": name}
            for name, n, of in counts(run)
        ]
        images = run.n_images or "unknown"
        body.append({"name": run.name, "short": short, "cells": cells, "images": images, "flags": ", ".join(flags)})
    return {"columns": [{"name": "clean", "short": "clean"}, *_columns()], "rows": body}


def completeness_point(group: Group) -> str:
    """Whose grids are whole, in a sentence."""
    lacking = [run for run in group.runs if run.missing]
    total = len(BENCHMARK_CELLS)
    if not lacking:
        who = "The grid is" if len(group.runs) == 1 else f"All {len(group.runs)} grids are"
        return f"{who} whole: {total} of {total} cells{'' if len(group.runs) == 1 else ' each'}"
    first, *others = lacking[:3]
    done = f"{group.called(first, 20)} has {total - len(first.missing)} of {total} cells"
    done += "".join(f", {group.called(run, 20)} has {total - len(run.missing)}" for run in others)
    more = f", and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return f"{len(lacking)} of {len(group.runs)} grids incomplete: {done}{more}"
