"""Who breaks: the drop of small, medium and large objects, and of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rtx.reports.figures.style import (
    RC,
    RULE,
    SOFT,
    columns_for,
    legend,
    legend_height,
    looks,
    name_rows,
    new_figure,
    title,
    width_of,
)
from rtx.reports.runs.groups import Group
from rtx.reports.runs.naming import readable
from rtx.reports.text.wording import metric_name, percent, shorten, shortened

SIZES = (("s", "small"), ("m", "medium"), ("l", "large"))
MOST_CLASSES = 20

Row = tuple[str, list[float | None]]


def size_rows(group: Group) -> list[Row]:
    """Drop of each object size for each run."""
    return _rows(group, [(word, f"{group.metric}_{letter}") for letter, word in SIZES])


def class_rows(group: Group) -> list[Row]:
    """Drop of each class for each run, the largest drop of the baseline first (of the first run that has any)."""
    prefix = f"{group.metric}/"
    names = sorted({m for run in group.runs for m in run.metrics if m.startswith(prefix)})
    rows = _rows(group, [(readable(name[len(prefix) :]), name) for name in names])
    column = _leading(group, rows)

    def place(row: Row) -> tuple[float, str]:
        value = row[1][column]
        return (math.inf if value is None else -value, row[0])

    return sorted(rows, key=place)


def _leading(group: Group, rows: Sequence[Row]) -> int:
    """Place of the run that orders the rows: the baseline, or the first that has a value where it has none."""
    order = [group.runs.index(group.baseline), *range(len(group.runs))]
    return next((n for n in order if any(values[n] is not None for _, values in rows)), 0)


def _rows(group: Group, metrics: Sequence[tuple[str, str]]) -> list[Row]:
    rows = [(word, [run.drop_of(metric) for run in group.runs]) for word, metric in metrics]
    return [row for row in rows if any(value is not None for value in row[1])]


def size_point(group: Group) -> str:
    """The main finding of the figure of sizes."""
    ranked = _ranking(group, size_rows(group), "sizes")
    if ranked is None:
        return "Drop by object size: no size that the compared models all have a score for"
    (worst, most), (best, least), of = ranked
    name = metric_name(group.metric)
    return (
        f"{worst.capitalize()} objects lose most, {percent(most, 0)} % of their clean {name}; {best} ones "
        f"{percent(least, 0)} %{of}"
    )


def class_point(group: Group) -> str:
    """The main finding of the figure of classes."""
    ranked = _ranking(group, class_rows(group), "classes")
    if ranked is None:
        return "Drop by class: no class that the compared models all have a score for"
    (worst, most), (best, least), of = ranked
    first, last = shorten(worst, 24), shorten(best, 24)
    return f"“{first}” loses most ({percent(most, 0)} % of clean), “{last}” least ({percent(least, 0)} %){of}"


def draw_sizes(group: Group) -> Figure | None:
    """Drop by object size, or None without such scores."""
    return _figure(group, size_rows(group), size_point(group))


def draw_classes(group: Group) -> Figure | None:
    """Drop by class, or None without such scores; of many classes, those with the largest and smallest drops."""
    rows = class_rows(group)
    if len(rows) > MOST_CLASSES:
        # Rows that the order says nothing about stand last, and are not those with the smallest drops.
        column = _leading(group, rows)
        rows = [row for row in rows if row[1][column] is not None]
    if len(rows) > MOST_CLASSES:
        rows = [*rows[: MOST_CLASSES // 2], ("…", [None] * len(group.runs)), *rows[-MOST_CLASSES // 2 :]]
    return _figure(group, rows, class_point(group))


@mpl.rc_context(RC)
def _figure(group: Group, rows: list[Row], text: str) -> Figure | None:
    if not rows:
        return None
    step = 0.13 if len(rows) > 5 else 0.26
    columns = columns_for([run.name for run in group.runs])
    head, foot = 0.42, 0.36 + legend_height(len(group.runs), columns)
    height = head + foot + step * len(rows)
    figure = new_figure(height)
    names = shortened([word for word, _ in rows], 20)
    left = 0.035 + width_of(names, 7.4)
    axes = figure.add_axes((left, foot / height, 0.97 - left, 1 - (head + foot) / height))
    look = looks(len(group.runs))
    size = 2.6 if len(group.runs) > 6 else 3.4
    for y, (_, values) in enumerate(rows):
        there = [v for v in values if v is not None]
        if there:
            axes.plot([100 * min(there), 100 * max(there)], [y, y], color=RULE, linewidth=1.4, zorder=1)
        for index, value in enumerate(values):
            if value is not None:
                axes.plot([100 * value], [y], linestyle="", markersize=size, **look[index])
    every = [100 * v for _, values in rows for v in values if v is not None]
    pad = 0.03 * (max(every) - min(0.0, *every))
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(min(0.0, min(every) - pad), max(max(every) + pad, 1)))
    axes.set_xlabel(f"drop of {metric_name(group.metric)}, % of its clean score")
    name_rows(axes, range(len(rows)), names, 5.6 if len(rows) > 5 else 6.5)
    axes.spines["left"].set_color(SOFT)
    handles = [Line2D([], [], linestyle="", markersize=3, **one) for one in look]
    names = shortened([run.name for run in group.runs], 24 if columns == 3 else 36)
    legend(figure, handles, names, columns, handletextpad=0.2)
    title(axes, text)
    return figure


Mean = tuple[str, float]


def _ranking(group: Group, rows: Sequence[Row], word: str) -> tuple[Mean, Mean, str] | None:
    """The rows of the largest and of the smallest mean drop, and which models and rows that rests on.

    Counted are the models that a sentence may be made of and that have any such score. Ranked are the rows that all of
    them have: means over different models say nothing about the rows.
    """
    claimed = [n for n, run in enumerate(group.runs) if run in group.claimed]
    counted = [n for n in claimed if any(values[n] is not None for _, values in rows)]
    found = []
    for text, values in rows:
        there = [value for n in counted if (value := values[n]) is not None]
        if there and len(there) == len(counted):
            found.append((text, math.fsum(there) / len(there)))
    if not found:
        return None
    of = ""
    if len(counted) > 1:
        some = f"{len(counted)} of {len(claimed)}" if len(counted) < len(claimed) else f"{len(counted)}"
        of = f", mean of {some} models"
    elif len(group.runs) > 1:
        of = f", in {group.called(group.runs[counted[0]], 24)} alone"
    of += f"; {len(found)} of {len(rows)} {word}" if len(found) < len(rows) else ""
    return max(found, key=lambda row: row[1]), min(found, key=lambda row: row[1]), of
