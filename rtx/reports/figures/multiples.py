"""Small multiples: one panel a corruption, all models, one scale."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.reports.figures.style import (
    INK,
    MARKERS,
    RC,
    SOFT,
    family_colour,
    legend,
    marked,
    model_colours,
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


def standing_out(group: Group) -> list[Run]:
    """The runs with a colour of their own: all, or of many the baseline, the best and the worst."""
    if len(group.runs) <= MOST:
        return list(group.runs)
    return [run for run in group.runs if run.name in group.roles]


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, or None where no corrupted cell was evaluated."""
    if not any(condition != CLEAN for run in group.runs for condition in run.grid()):
        return None
    told = standing_out(group)
    others = [run for run in group.runs if run not in told]
    legend_columns = 1 if others else 3 if max(len(run.name) for run in told) <= 18 else 2
    legend_rows = -(-(len(told) + bool(others)) // legend_columns)
    foot = 0.36 + 0.105 * legend_rows
    head = 0.4
    height = head + foot + ROWS * 0.72
    figure = new_figure(height)
    grid = figure.add_gridspec(
        ROWS,
        COLUMNS,
        left=0.1,
        right=0.985,
        bottom=foot / height,
        top=1 - (head + 0.12) / height,
        hspace=0.36,
        wspace=0.1,
    )
    colours = model_colours(len(group.runs))
    upper = 100 * max(value for run in group.runs for value in run.grid().values()) * 1.05 or 1.0
    for number, name in enumerate(BENCHMARK):
        axes = figure.add_subplot(grid[number // COLUMNS, number % COLUMNS])
        axes.set(xlim=(-0.2, 5.2), ylim=(0, upper), xticks=range(6))
        # Lines of the grid stand where marks would.
        axes.tick_params(bottom=False, left=False, labelsize=5)
        axes.tick_params(labelbottom=number >= len(BENCHMARK) - COLUMNS, labelleft=number % COLUMNS == 0)
        family = CORRUPTIONS[name]
        axes.set_title(
            f" {corruption_name(name)} ",
            fontsize=5.8,
            y=1.0,  # said, it is not looked for at every drawing
            pad=2.2,
            color=INK,
            bbox=dict(facecolor=tint(family_colour(family)), edgecolor=family_colour(family), lw=0.4, pad=1.1),
        )
        clean = group.baseline.score(CLEAN)
        if clean is not None:
            axes.axhline(100 * clean, color=SOFT, linewidth=0.5, linestyle=(0, (1, 1.5)))
        lines = [[(x, 100 * y) for x, y in points(run, name)] for run in others]
        axes.add_collection(LineCollection(lines, colors=SOFT, linewidths=0.3, alpha=0.7, zorder=1.5), autolim=False)
        for run in told:
            cells = points(run, name)
            if not cells:
                continue
            index = group.runs.index(run)
            axes.plot(
                [x for x, _ in cells],
                [100 * y for _, y in cells],
                color=colours[index],
                marker=MARKERS[index % len(MARKERS)],
                markersize=1.9,
                linewidth=0.9,
            )
    _legend(figure, group, told, len(others), legend_columns)
    figure.text(0.5, (foot - 0.24) / height, "severity (0 = clean)", ha="center", fontsize=6, color=INK)
    figure.text(0.006, 0.55, f"{metric_name(group.metric)}, %", rotation=90, va="center", fontsize=6, color=INK)
    title(figure.axes[0], point(group))
    return figure


def _legend(figure: Figure, group: Group, told: list[Run], others: int, columns: int) -> None:
    colours = model_colours(len(group.runs))
    places = [group.runs.index(run) for run in told]
    handles = [marked(n, colours[n], markersize=2.2, linewidth=0.9) for n in places]
    names = shortened([run.name for run in group.runs], 24 if columns == 3 else 36)
    labels = [names[n] for n in places]
    if others:
        labels = [f"{label} ({group.roles[run.name]})" for label, run in zip(labels, told, strict=True)]
        handles.append(Line2D([], [], color=SOFT, linewidth=0.3, alpha=0.7))
        labels.append("1 other" if others == 1 else f"{others} others")
    legend(figure, handles, labels, columns, bbox_to_anchor=(0.5, 0.0), handlelength=2.4)
