"""Completeness: which of the 76 cells each run has."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from rtx.corruptions import BENCHMARK
from rtx.reports.figures.style import INK, PAPER, RC, SOFT, new_figure, title
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run
from rtx.reports.text.wording import corruption_name, shortened
from rtx.types import CLEAN, SEVERITIES, Condition

DONE, PART, NONE = "#2f6f5e", "#e3b23c", PAPER


def counts(run: Run) -> list[tuple[str, int, int]]:
    """(column, cells there, cells wanted): the clean images, then each corruption."""
    grid = run.grid()
    rows = [("clean", int(CLEAN in grid), 1)]
    return rows + [
        (name, sum(Condition(name, level) in grid for level in SEVERITIES), len(SEVERITIES)) for name in BENCHMARK
    ]


def point(group: Group) -> str:
    """What the figure says."""
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


def draw(group: Group) -> Figure:
    """The figure."""
    with mpl.rc_context(RC):
        return _draw(group)


def _draw(group: Group) -> Figure:
    rows = len(group.runs)
    row_height, head, foot = 0.14, 0.44, 0.6
    height = head + foot + rows * row_height
    figure = new_figure(height)
    names = shortened([run.name for run in group.runs], 26)
    left = 0.02 + min(max(len(n) for n in names) * 5.0 * 0.6 / 72 / 3.4, 0.32)
    axes = figure.add_axes((left, foot / height, 0.985 - left, 1 - (head + foot) / height))
    axes.set(xlim=(0, 16.3), ylim=(rows, 0))
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    corners, faces, edges = [], [], []
    for y, run in enumerate(group.runs):
        for number, (_, there, wanted) in enumerate(counts(run)):
            x = number + (0.3 if number else 0)
            colour = DONE if there == wanted else PART if there else NONE
            corners.append([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)])
            faces.append(colour)
            edges.append(PAPER if there else SOFT)
            if there < wanted:  # a number in every cell would hide those that lack something
                words = f"{there}/{wanted}"
                axes.text(x + 0.5, y + 0.53, words, ha="center", va="center", fontsize=5, color=INK)
    axes.add_collection(PolyCollection(corners, facecolors=faces, edgecolors=edges, linewidths=0.4), autolim=False)
    axes.set_yticks([y + 0.5 for y in range(rows)], names, fontsize=5)
    columns = ["clean", *(corruption_name(name, short=True) for name in BENCHMARK)]
    axes.set_xticks([x + 0.5 + (0.3 if x else 0) for x in range(16)], columns, rotation=90, fontsize=5.2)
    axes.tick_params(length=0, pad=2, colors=INK)
    words = "dark: clean score, or all five severities of the corruption"
    figure.text(0.985, 0.02 / height, words, ha="right", va="bottom", fontsize=5.2, color=SOFT)
    title(axes, point(group))
    return figure
