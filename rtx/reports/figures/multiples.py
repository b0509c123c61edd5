"""Small multiples: one panel a corruption, all models, one scale."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.reports.figures.style import (
    FAMILY_COLOURS,
    INK,
    RC,
    SOFT,
    columns_for,
    legend,
    legend_height,
    looks,
    new_figure,
    tint,
    title,
)
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import Run
from rtx.reports.text.wording import corruption_name, metric_name, percent, shortened
from rtx.types import CLEAN, SEVERITIES, Condition

COLUMNS, ROWS = 3, 5
MOST = 8
"""Most models with a colour of their own in a panel; of more, only those that stand out, the others in grey."""


def points(run: Run, corruption: str) -> list[tuple[int, float]]:
    """Severity and score of one corruption, the clean score as severity 0."""
    cells = [(0, run.score(CLEAN)), *((level, run.score(Condition(corruption, level))) for level in SEVERITIES)]
    return [(level, value) for level, value in cells if value is not None]


def point(group: Group) -> str:
    """The main finding of the figure: which corruption breaks the baseline at severity 5, and which does not."""
    run = group.baseline
    ends = {name: value for name in BENCHMARK if (value := run.score(Condition(name, 5))) is not None}
    clean = run.score(CLEAN)
    if not ends or not clean:
        return f"{metric_name(group.metric)} under each corruption"
    worst, best = min(ends, key=lambda n: ends[n]), max(ends, key=lambda n: ends[n])
    return (
        f"{group.called(run)} at severity 5: {percent(ends[worst] / clean, 0)} % of clean left under "
        f"{corruption_name(worst)}, {percent(ends[best] / clean, 0)} % under {corruption_name(best)}"
    )


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, or None where no corrupted cell was evaluated."""
    if not any(condition != CLEAN for run in group.runs for condition in run.grid()):
        return None
    told = [(group.runs.index(run), run) for run in group.standing_out(group.runs, MOST)]
    others = [run for run in group.runs if all(run is not other for _, other in told)]
    columns = 1 if others else columns_for([run.name for _, run in told])
    head, foot = 0.4, 0.36 + legend_height(len(told) + bool(others), columns)
    height = head + foot + ROWS * 0.72
    figure = new_figure(height)
    inside = dict(left=0.1, right=0.985, bottom=foot / height, top=1 - (head + 0.12) / height)
    grid = figure.add_gridspec(ROWS, COLUMNS, **inside, hspace=0.36, wspace=0.1)
    look = looks(len(group.runs))
    upper = 100 * max(value for run in group.runs for value in run.grid().values()) * 1.05 or 1.0
    for number, name in enumerate(BENCHMARK):
        axes = figure.add_subplot(grid[number // COLUMNS, number % COLUMNS])
        axes.set(xlim=(-0.2, 5.2), ylim=(0, upper), xticks=range(6))
        # Lines of the grid stand where marks would.
        axes.tick_params(bottom=False, left=False, labelsize=5)
        axes.tick_params(labelbottom=number >= len(BENCHMARK) - COLUMNS, labelleft=number % COLUMNS == 0)
        colour = FAMILY_COLOURS[CORRUPTIONS[name]]
        box = dict(facecolor=tint(colour), edgecolor=colour, lw=0.4, pad=1.1)
        # With y given, its place is not looked for at every drawing.
        axes.set_title(f" {corruption_name(name)} ", fontsize=5.8, y=1.0, pad=2.2, color=INK, bbox=box)
        clean = group.baseline.score(CLEAN)
        if clean is not None:
            axes.axhline(100 * clean, color=SOFT, linewidth=0.5, linestyle=(0, (1, 1.5)))
        lines = [[(x, 100 * y) for x, y in points(run, name)] for run in others]
        axes.add_collection(LineCollection(lines, colors=SOFT, linewidths=0.3, alpha=0.7, zorder=1.5), autolim=False)
        for index, run in told:
            cells = points(run, name)
            if cells:
                ys = [100 * y for _, y in cells]
                axes.plot([x for x, _ in cells], ys, markersize=1.9, linewidth=0.9, **look[index])
    handles = [Line2D([], [], markersize=2.2, linewidth=0.9, **look[index]) for index, _ in told]
    names = shortened([run.name for run in group.runs], 24 if columns == 3 else 36)
    labels = [names[index] for index, _ in told]
    if others:
        labels = [f"{label} ({group.roles[run.name]})" for label, (_, run) in zip(labels, told, strict=True)]
        handles.append(Line2D([], [], color=SOFT, linewidth=0.3, alpha=0.7))
        labels.append("1 other" if len(others) == 1 else f"{len(others)} others")
    legend(figure, handles, labels, columns, bbox_to_anchor=(0.5, 0.0), handlelength=2.4)
    figure.text(0.5, (foot - 0.24) / height, "severity (0 = clean)", ha="center", fontsize=6, color=INK)
    figure.text(0.006, 0.55, f"{metric_name(group.metric)}, %", rotation=90, va="center", fontsize=6, color=INK)
    title(figure.axes[0], point(group))
    return figure
