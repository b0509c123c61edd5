"""Who breaks: the drop of small, medium and large objects, and of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from rtx.reports.groups import Group
from rtx.reports.runs import Run
from rtx.reports.style import INK, MARKERS, RC, RULE, SOFT, model_colours, new_figure, title
from rtx.reports.wording import metric_name, percent, shorten, shortened

SIZES = (("s", "small"), ("m", "medium"), ("l", "large"))
MOST_CLASSES = 20

Row = tuple[str, list[float | None]]


def metric_drop(run: Run, metric: str) -> float | None:
    """1 - mPC / P of any metric; None where it is undefined or its grid is not whole."""
    return run.drop_of(metric) if metric in run.metrics else None


def size_rows(group: Group) -> list[Row]:
    """Drop of each object size for each run."""
    return _rows(group, [(word, f"{group.metric}_{letter}") for letter, word in SIZES])


def class_rows(group: Group) -> list[Row]:
    """Drop of each class for each run, the largest drop of the baseline first."""
    prefix = f"{group.metric}/"
    names = sorted({m for run in group.runs for m in run.metrics if m.startswith(prefix)})
    rows = _rows(group, [(name[len(prefix) :], name) for name in names])
    column = group.runs.index(group.baseline)

    def place(row: Row) -> tuple[float, str]:
        value = row[1][column]
        return (math.inf if value is None else -value, row[0])

    return sorted(rows, key=place)


def _rows(group: Group, metrics: Sequence[tuple[str, str]]) -> list[Row]:
    rows = [(word, [metric_drop(run, metric) for run in group.runs]) for word, metric in metrics]
    return [row for row in rows if any(value is not None for value in row[1])]


def size_point(group: Group) -> str:
    """What the figure of sizes says."""
    rows = _means(group, size_rows(group))
    if not rows:
        return "Drop by object size: no score by size in these cells"
    worst, best = max(rows, key=lambda r: r[1]), min(rows, key=lambda r: r[1])
    most, least = percent(worst[1], 0), percent(best[1], 0)
    name = metric_name(group.metric)
    text = f"{worst[0].capitalize()} objects lose most, {most} % of their clean {name}; {best[0]} ones {least} %"
    return f"{text}{_on_average(group)}"


def class_point(group: Group) -> str:
    """What the figure of classes says."""
    rows = _means(group, class_rows(group))
    if not rows:
        return "Drop by class: no score by class in these cells"
    worst, best = max(rows, key=lambda r: r[1]), min(rows, key=lambda r: r[1])
    most, least = percent(worst[1], 0), percent(best[1], 0)
    first, last = shorten(worst[0], 24), shorten(best[0], 24)
    return f"“{first}” loses most ({most} % of clean), “{last}” least ({least} %){_on_average(group)}"


def draw_sizes(group: Group) -> Figure | None:
    """Drop by object size, or None without such scores."""
    return _figure(group, size_rows(group), size_point(group))


def draw_classes(group: Group) -> Figure | None:
    """Drop by class, or None without such scores; of many classes, those with the largest and smallest drops."""
    rows = class_rows(group)
    if len(rows) > MOST_CLASSES:
        rows = [*rows[: MOST_CLASSES // 2], ("…", [None] * len(group.runs)), *rows[-MOST_CLASSES // 2 :]]
    return _figure(group, rows, class_point(group))


def _figure(group: Group, rows: list[Row], text: str) -> Figure | None:
    if not rows:
        return None
    with mpl.rc_context(RC):
        return _draw(group, rows, text)


def _draw(group: Group, rows: list[Row], text: str) -> Figure:
    from matplotlib.lines import Line2D

    step = 0.13 if len(rows) > 5 else 0.26
    columns = 3 if max(len(run.name) for run in group.runs) <= 18 else 2
    legend_rows = -(-len(group.runs) // columns)
    head, foot = 0.42, 0.36 + 0.105 * legend_rows
    height = head + foot + step * len(rows)
    figure = new_figure(height)
    names = shortened([word for word, _ in rows], 20)
    left = 0.035 + max(len(n) for n in names) * 6.5 * 0.68 / 72 / 3.4
    axes = figure.add_axes((left, foot / height, 0.97 - left, 1 - (head + foot) / height))
    colours = model_colours(len(group.runs))
    many = len(group.runs) > 6
    for y, (_, values) in enumerate(rows):
        there = [v for v in values if v is not None]
        if there:
            axes.plot([100 * min(there), 100 * max(there)], [y, y], color=RULE, linewidth=1.4, zorder=1)
        for index, value in enumerate(values):
            if value is not None:
                axes.plot(
                    [100 * value],
                    [y],
                    linestyle="",
                    marker=MARKERS[index % len(MARKERS)],
                    markersize=2.6 if many else 3.4,
                    color=colours[index],
                )
    every = [100 * v for _, values in rows for v in values if v is not None]
    pad = 0.03 * (max(every) - min(0.0, *every))
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(min(0.0, min(every) - pad), max(max(every) + pad, 1)))
    axes.set_xlabel(f"drop of {metric_name(group.metric)}, % of its clean score")
    axes.set_yticks(range(len(rows)), names, fontsize=5.6 if len(rows) > 5 else 6.5)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_color(SOFT)
    handles = [
        Line2D([], [], linestyle="", marker=MARKERS[i % len(MARKERS)], markersize=3, color=colours[i])
        for i in range(len(group.runs))
    ]
    figure.legend(
        handles,
        shortened([run.name for run in group.runs], 24 if columns == 3 else 36),
        loc="lower center",
        ncols=columns,
        fontsize=5.2,
        handletextpad=0.2,
        columnspacing=1.2,
        labelspacing=0.25,
        borderpad=0.1,
    )
    title(axes, text)
    return figure


def _means(group: Group, rows: Sequence[Row]) -> list[tuple[str, float]]:
    """The mean drop of each row over the models that a sentence may be made of."""
    found = []
    for word, values in rows:
        there = [v for run, v in zip(group.runs, values, strict=True) if v is not None and run in group.claimed]
        if there:
            found.append((word, math.fsum(there) / len(there)))
    return found


def _on_average(group: Group) -> str:
    return f", mean of {len(group.claimed)} models" if len(group.claimed) > 1 else ""
