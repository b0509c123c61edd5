"""Transfer views: score and drop against the source's eps, and the source axis against the target axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rtx.reports.figures.style import (
    DASHES,
    PAPER,
    RC,
    SOFT,
    legend,
    looks,
    names_beside,
    new_figure,
    title,
    width_of,
    wrap,
)
from rtx.reports.published import sources
from rtx.reports.runs.eps_lines import MANY, EpsLine, eps_lines, eps_notes, eps_point, rank
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import Resamples
from rtx.reports.runs.models import NORMS, mean_of
from rtx.reports.runs.runs import Run
from rtx.reports.text.verdict import bracketed, doubt
from rtx.reports.text.wording import metric_name, shortened

__all__ = ["axis_point", "draw_axes", "draw_eps", "eps_lines", "eps_point", "source_axis"]

NOTE_WIDTH = 82
TITLE_WIDTH = 55


def source_axis(group: Group) -> list[tuple[Run, float]]:
    """Runs whose source has a published mean accuracy on ImageNet-C, as (run, that accuracy)."""
    known = {record.source: record.value for record in sources.records() if record.quantity == "mPC"}
    found = []
    for run in group.comparable:
        recipe = "in1k" if run.source.recipe == "in1k_v1" else run.source.recipe  # other ImageNet recipes are others
        if recipe in known and run.source.arch == "resnet50" and not run.preview:
            found.append((run, known[recipe]))
    return found


def axis_point(group: Group) -> str:
    """The main finding of the figure of the two axes."""
    pairs = source_axis(group)
    if len(pairs) < 3:
        return "Source robustness against target robustness"
    first = max(pairs, key=lambda row: row[1])[0]
    best = max(pairs, key=lambda row: row[0].summary.rPC)[0]
    sure = bracketed(doubt(best, [run for run, _ in pairs], Resamples.ratio))
    if first is best:
        return f"{group.called(best)} is the most robust on ImageNet-C and on the target{sure}"
    return f"Most robust source: {group.called(first)}; most robust on the target: {group.called(best)}{sure}"


def axis_notes(group: Group) -> list[str]:
    """Comparable runs that are not in the figure of the two axes."""
    there = {run.name for run, _ in source_axis(group)}
    left_out = [group.called(run) for run in group.comparable if not run.preview and run.name not in there]
    return [f"Not drawn (no published ImageNet-C accuracy of their source): {', '.join(left_out)}."] if left_out else []


@mpl.rc_context(RC)
def draw_eps(group: Group) -> Figure | None:
    """Score (clean and corrupted) and drop against eps, or None where no two radii can be compared."""
    lines = eps_lines(group)
    if not lines:
        return None
    norms = list(dict.fromkeys(line.norm for line in lines))
    row = 1.55
    modes = list(dict.fromkeys(line.mode for line in sorted(lines, key=lambda li: rank(li.mode))))
    columns = len(modes) + 2 if sum(map(len, modes)) < 32 else 2
    below, notes = _below(eps_notes(group))
    foot = 0.1 + 0.1 * -(-(len(modes) + 2) // columns) + below
    heading = max(0.42, 0.06 + 0.125 * len(wrap(eps_point(group), TITLE_WIDTH).split("\n")))
    height = heading + row * len(norms) + foot
    figure = new_figure(height)
    look = dict(zip(modes, looks(max(2, len(modes))), strict=False))
    for number, norm in enumerate(norms):
        bottom = (foot + row * (len(norms) - 1 - number) + 0.36) / height
        size = (row - 0.5) / height
        left = figure.add_axes((0.1, bottom, 0.38, size))
        right = figure.add_axes((0.6, bottom, 0.385, size))
        mine = [line for line in lines if line.norm == norm]
        radii = sorted({point.eps for line in mine for point in line.points})
        floor = min(eps for eps in radii if eps) / 3.0
        bands = len(mine) <= MANY  # more would be indistinguishable
        for line in mine:
            for axes, quantity in ((left, "P"), (left, "mPC"), (right, "drop")):
                _with_band(axes, line, quantity, floor, look[line.mode], bands=bands)
        for axes, text in ((left, f"{metric_name(group.metric)}, %"), (right, "drop, % of P")):
            axes.set_xscale("log")
            axes.set_xticks([max(t, floor) for t in radii], [f"{t:g}" if t else "0" for t in radii], fontsize=5)
            axes.minorticks_off()
            unit = "" if norm == "l2" else "/255"
            axes.set_xlabel(f"source's eps, {NORMS[norm]}{unit} (0: standard)", fontsize=5.6)
            axes.set_ylabel(text)
            axes.set_ylim(0, axes.get_ylim()[1] * 1.04)
    handles = [Line2D([], [], **look[mode]) for mode in modes]
    plain: dict[str, Any] = dict(color=SOFT, marker="o", markersize=3)
    handles += [Line2D([], [], markerfacecolor=PAPER, linestyle=DASHES[1], **plain), Line2D([], [], **plain)]
    names, place = [*shortened(modes, 36), "clean (P)", "corrupted (mPC)"], (0.5, below / height)
    legend(figure, handles, names, columns, bbox_to_anchor=place, handlelength=2, columnspacing=1.1, borderpad=0)
    _write_notes(figure, notes)
    title(figure.axes[0], eps_point(group), TITLE_WIDTH)
    return figure


def _with_band(
    axes: Any,
    line: EpsLine,
    quantity: str,
    floor: float,
    look: dict[str, Any],
    *,
    bands: bool,
) -> None:
    """One quantity of a line; the interval of a drop is that of rPC from the other side."""
    xs = [max(point.eps, floor) for point in line.points]
    ys = [100 * point.mean(quantity) for point in line.points]
    name = "rPC" if quantity == "drop" else quantity
    # A mean over repeats has no interval over images.
    spans = [point.runs[0].intervals.of(name) if len(point.runs) == 1 else None for point in line.points]
    if all(spans) and bands:
        ends = [(1 - s[1], 1 - s[0]) if name == "rPC" else s for s in spans if s]
        low, high = ([100 * end for end in side] for side in zip(*ends, strict=True))
        axes.fill_between(xs, low, high, color=look["color"], alpha=0.16, lw=0)
    face, dashes = (PAPER, DASHES[1]) if name == "P" else (look["color"], "-")
    axes.plot(xs, ys, markersize=3, markerfacecolor=face, linestyle=dashes, linewidth=1, **look)
    for x, point in zip(xs, line.points, strict=True):
        if len(point.runs) > 1:
            values = [100 * mean_of([run], quantity) for run in point.runs]
            dots = dict(linestyle="", marker=".", markersize=2, alpha=0.7)
            axes.plot([x] * len(values), values, color=look["color"], **dots)


@mpl.rc_context(RC)
def draw_axes(group: Group) -> Figure | None:
    """Robustness on the source's task against robustness on the target, or None for fewer than two known sources."""
    pairs = source_axis(group)
    if len({value for _, value in pairs}) < 2:
        return None
    below, notes = _below(axis_notes(group))
    height = max(2.4, 0.9 + 0.1 * len(pairs)) + below
    figure = new_figure(height)
    names = shortened([run.name for run, _ in pairs], 26)
    room = min(width_of(names, 5.4, 3), 0.42)
    axes = figure.add_axes((0.125, (0.36 + below) / height, 0.85 - room, 1 - (0.8 + below) / height))
    xs, ys = [100 * value for _, value in pairs], [100 * run.summary.rPC for run, _ in pairs]
    pad_x, pad_y = max(0.1 * (max(xs) - min(xs)), 1), max(0.12 * (max(ys) - min(ys)), 1)
    axes.set(xlim=(min(xs) - pad_x, max(xs) + pad_x), ylim=(min(ys) - pad_y, max(ys) + pad_y))
    axes.set(xlabel="source: top-1 on ImageNet-C, %", ylabel="target: rPC, %")
    modes = sorted({run.transfer for run, _ in pairs}, key=rank)
    look = dict(zip(modes, looks(max(2, len(modes))), strict=False))
    for (run, _), x, y in zip(pairs, xs, ys, strict=True):
        span = run.intervals.of("rPC")
        if span:
            axes.plot([x, x], [100 * v for v in span], color=look[run.transfer]["color"], linewidth=0.7)
        axes.plot([x], [y], linestyle="", markersize=4.5, zorder=3, **look[run.transfer])
    names_beside(axes, xs, ys, names, 5.4)
    _write_notes(figure, notes)
    title(axes, axis_point(group))
    return figure


def _below(notes: Sequence[str]) -> tuple[float, list[str]]:
    """The lines of notes below a figure, and the inches that they take."""
    lines = [line for note in notes for line in wrap(note, NOTE_WIDTH).split("\n")]
    return 0.085 * len(lines), lines


def _write_notes(figure: Figure, notes: Sequence[str]) -> None:
    for number, note in enumerate(reversed(notes)):
        figure.text(0.01, (0.02 + 0.085 * number) / figure.get_figheight(), note, fontsize=5, color=SOFT, va="bottom")
