"""Drop by family of corruptions, and by how much each model's drop differs from the baseline's."""

from __future__ import annotations

from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rtx.corruptions import FAMILIES
from rtx.reports.figures.style import (
    COLUMN,
    FAMILY_COLOURS,
    INK,
    MARKERS,
    PAPER,
    RC,
    SOFT,
    legend,
    legend_height,
    name_rows,
    new_figure,
    title,
    width_of,
)
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import MEMBERS, Resamples, difference
from rtx.reports.runs.runs import Run
from rtx.reports.text.wording import percent, shortened, signed
from rtx.results.intervals import Ends

FEW = 6


def drop(run: Run, family: str) -> float | None:
    """1 - (mean score of the family) / P; None unless all its cells are there."""
    row = run.summary.families.get(family)
    whole = row is not None and row.cells == 5 * len(MEMBERS[family])
    return row.drop if row is not None and whole and row.drop == row.drop else None


def drop_interval(run: Run, family: str) -> Ends | None:
    """Interval of a family's drop."""
    return run.intervals.read(partial(Resamples.drop, corruptions=MEMBERS[family]))


def paired(group: Group, run: Run, family: str) -> tuple[float, Ends | None] | None:
    """A run's drop minus the baseline's, with its paired interval; None where they must not be compared."""
    if run not in group.comparable or group.baseline not in group.complete or run is group.baseline:
        return None
    mine, base = drop(run, family), drop(group.baseline, family)
    if mine is None or base is None:
        return None
    return mine - base, difference(
        group.baseline.intervals, run.intervals, partial(Resamples.drop, corruptions=MEMBERS[family])
    )


def point(group: Group) -> str:
    """The main finding of the figure."""
    means = {}
    for family in FAMILIES:
        there = [d for run in group.claimed if (d := drop(run, family)) is not None]
        if there:
            means[family] = sum(there) / len(there)
    if not means:
        return "Drop by family: no family is complete"
    worst, best = max(means, key=lambda f: means[f]), min(means, key=lambda f: means[f])
    if len(group.claimed) == 1:
        lead = f"{group.called(group.claimed[0])}: " if len(group.runs) > 1 else ""
        most, least = percent(means[worst], 0), percent(means[best], 0)
        return f"{lead}{worst} costs most, {most} % of clean; {best} least, {least} %"
    changes = [
        (found[1] is None or found[1][1] >= 0 or run.tiny, *found, run, family)
        for run in group.runs
        for family in FAMILIES
        if (found := paired(group, run, family)) is not None
    ]
    text = f"{worst.capitalize()} costs most and {best} least"
    if changes:
        unsure, gain, spread, run, family = min(changes, key=lambda row: row[:2])
        if gain < -0.0005:
            chance = ("" if not unsure else " (may be chance)") if spread else " (no interval)"
            who = f"{group.called(run)}, {family}, {signed(gain)} points{chance}"
            return f"{text}; the largest gain over {group.called(group.baseline)}: {who}"
        return f"{text}; no model drops less than {group.called(group.baseline)} in any family"
    return text


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, or None where no family is complete for any run."""
    runs = group.runs
    drops = {(n, f): value for n, run in enumerate(runs) for f in FAMILIES if (value := drop(run, f)) is not None}
    if not drops:
        return None
    few = len(runs) <= FEW
    # On one line the intervals of many models would cover each other.
    spans = {(n, f): drop_interval(runs[n], f) for n, f in drops} if few else {}
    changes = {(n, f): found for n, f in drops if (found := paired(group, runs[n], f))} if few else {}
    step = 0.115
    block = step * len(runs) + 0.09 if few else 0.42
    head, foot = 0.5, 0.34 + (0 if few else legend_height(len(runs), 2))
    height = head + foot + block * len(FAMILIES)
    figure = new_figure(height)
    bottom, size = foot / height, 1 - (head + foot) / height
    names = shortened([run.name for run in runs], 26)
    left = 0.16 + (min(width_of(names, 5.0), 0.34) if few else 0)
    split = 0.66 if changes else 0.97
    axes = figure.add_axes((left, bottom, split - left - 0.02, size))
    other = figure.add_axes((split + 0.02, bottom, 0.97 - split, size)) if changes else None
    # A cut interval would look narrower than it is.
    reached = [*drops.values(), *(end for span in spans.values() for end in span or ())]
    low, high = min(0, 100 * min(reached) - 4), 100 * max(reached) * (1.14 if few else 1.04)
    axes.set(ylim=(block * len(FAMILIES), 0), xlim=(low, high), xlabel="drop, % of P")
    ticks = []
    for row, family in enumerate(FAMILIES):
        colour, top = FAMILY_COLOURS[family], block * row
        middle = top + block / 2
        place = -left / (split - left - 0.02) + 0.005
        look: dict[str, Any] = dict(transform=axes.get_yaxis_transform(), va="center", weight="bold", color=INK)
        axes.text(place, middle, family, **look)
        for panel in (axes, other) if row else ():
            if panel is not None:
                panel.axhline(top, color=SOFT, linewidth=0.3)
        for number, name in enumerate(names):
            y = top + 0.045 + step * (number + 0.5) if few else middle
            ticks += [(y, name)] if few else []
            value, span = drops.get((number, family)), spans.get((number, family))
            if value is None:
                continue
            if span:
                axes.plot([100 * v for v in span], [y, y], color=colour, linewidth=0.8)
            if few:
                axes.plot([0, 100 * value], [y, y], color=colour, linewidth=2.4, alpha=0.35, solid_capstyle="butt")
                beside: dict[str, Any] = dict(textcoords="offset points", va="center", fontsize=5, color=INK)
                axes.annotate(percent(value, 0), (100 * max(value, span[1] if span else 0), y), (4, 0), **beside)
            mark: dict[str, Any] = dict(color=colour, marker=MARKERS[number % len(MARKERS)], linestyle="")
            axes.plot([100 * value], [y], markersize=3.4 if few else 4, alpha=1 if few else 0.75, **mark)
            if other is not None and (number, family) in changes:
                change, ends = changes[number, family]
                if ends:
                    other.plot([100 * v for v in ends], [y, y], color=colour, linewidth=0.9)
                # A hollow marker has no interval: it may be chance.
                other.plot([100 * change], [y], markersize=3, markerfacecolor=colour if ends else PAPER, **mark)
        if not few:
            _ends(axes, group, family, middle)
    name_rows(axes, [y for y, _ in ticks], [name for _, name in ticks], 5.2)
    if other is not None:
        other.axvline(0, color=INK, linewidth=0.6)
        limit = 1.1 * max(abs(v) for v in other.get_xlim())
        other.set(ylim=axes.get_ylim(), xlim=(-limit, limit), xlabel="points vs the baseline")
        name_rows(other, [], [], 5.2)
        other.spines["left"].set_visible(False)
        for x, text, align in ((0.0, "← drops less", "left"), (1.0, "more →", "right")):
            other.text(x, 1.01, text, transform=other.transAxes, fontsize=5, color=SOFT, ha=align)
    if not few:
        marks = [MARKERS[n % len(MARKERS)] for n in range(len(runs))]
        handles = [Line2D([], [], color=SOFT, marker=mark, linestyle="", markersize=3) for mark in marks]
        legend(figure, handles, shortened([run.name for run in runs], 36), 2, handletextpad=0.2)
    title(axes, point(group))
    return figure


def _ends(axes: Any, group: Group, family: str, y: float) -> None:
    there = [(d, run) for run in group.runs if (d := drop(run, family)) is not None]
    if not there:
        return
    low, high = min(there, key=lambda r: r[0]), max(there, key=lambda r: r[0])
    # The smallest above its row and the largest below: two names side by side would run into each other.
    left, right = axes.get_xlim()
    for (value, run), align, offset in ((low, "left", -0.1), (high, "right", 0.145)):
        text = f"{group.called(run, 26)} {percent(value, 0)}"
        # A name that starts in the right half would leave the axes.
        align = "right" if 100 * value > (left + right) / 2 else align
        wide = len(text) * 5 * 0.58 / 72 / (axes.get_position().width * COLUMN) * (right - left)
        place = max(100 * value, left + wide) if align == "right" else min(100 * value, right - wide)
        axes.text(place, y + offset, text, ha=align, fontsize=5, color=INK)
