"""Drop by family of corruptions, and by how much each model's drop differs from the baseline's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES
from rtx.reports.figures.style import (
    COLUMN,
    INK,
    MARKERS,
    PAPER,
    RC,
    SOFT,
    family_colour,
    legend,
    marked,
    new_figure,
    title,
)
from rtx.reports.runs.groups import TINY, Group
from rtx.reports.runs.intervals import Floats, Resamples, difference, interval
from rtx.reports.runs.runs import Run
from rtx.reports.text.wording import percent, shortened, signed
from rtx.results.intervals import Ends

FEW = 6
_MEMBERS = {family: tuple(n for n in BENCHMARK if CORRUPTIONS[n] == family) for family in FAMILIES}


def drop_reader(family: str) -> Callable[[Resamples], Floats | None]:
    """Reads the resampled drop of a family off a run."""

    def read(resamples: Resamples) -> Floats | None:
        ratio = resamples.ratio(_MEMBERS[family])
        return None if ratio is None else 1 - ratio

    return read


def drop(run: Run, family: str) -> float | None:
    """1 - (mean score of the family) / P; None unless all its cells are there."""
    row = run.summary.families.get(family)
    whole = row is not None and row.cells == 5 * len(_MEMBERS[family])
    return row.drop if row is not None and whole and row.drop == row.drop else None


def drop_interval(run: Run, family: str) -> Ends | None:
    """Interval of a family's drop."""
    return interval(drop_reader(family)(run.intervals.resamples)) if run.intervals.resamples else None


def paired(group: Group, run: Run, family: str) -> tuple[float, Ends | None] | None:
    """A run's drop minus the baseline's, with its paired interval; None where they must not be compared."""
    if run not in group.comparable or group.baseline not in group.complete or run is group.baseline:
        return None
    mine, base = drop(run, family), drop(group.baseline, family)
    if mine is None or base is None:
        return None
    return mine - base, difference(group.baseline.intervals, run.intervals, drop_reader(family))


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
        (not _surely_less(run, found[1]), found[0], found[1], run, family)
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


def _surely_less(run: Run, spread: Ends | None) -> bool:
    few = run.n_images is not None and run.n_images < TINY  # the interval itself is too narrow to trust
    return spread is not None and spread[1] < 0 and not few


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, or None where no family is complete for any run."""
    if not any(drop(run, family) is not None for run in group.runs for family in FAMILIES):
        return None
    runs = group.runs
    few = len(runs) <= FEW
    pairs = few and any(paired(group, run, family) for run in runs for family in FAMILIES)
    step = 0.115
    block = step * len(runs) + 0.09 if few else 0.42
    legend_rows = 0 if few else -(-len(runs) // 2)
    head, foot = 0.5, 0.34 + 0.105 * legend_rows
    height = head + foot + block * len(FAMILIES)
    figure = new_figure(height)
    bottom, size = foot / height, 1 - (head + foot) / height
    names = shortened([run.name for run in runs], 26)
    left = 0.16 + (min(max(len(n) for n in names) * 5.2 * 0.58 / 72 / 3.4, 0.34) if few else 0)
    split = 0.66 if pairs else 0.97
    axes = figure.add_axes((left, bottom, split - left - 0.02, size))
    other = figure.add_axes((split + 0.02, bottom, 0.97 - split, size)) if pairs else None
    top = 0.0
    ticks: list[tuple[float, str]] = []
    reached = [d for run in runs for family in FAMILIES if (d := drop(run, family)) is not None]
    if few:  # a cut interval would look narrower than it is
        reached += [v for run in runs for family in FAMILIES for v in drop_interval(run, family) or ()]
    largest, smallest = max(reached), min(reached)
    middles = []
    for family in FAMILIES:
        colour = family_colour(family)
        middle = top + block / 2
        axes.text(
            -left / (split - left - 0.02) + 0.005,
            middle,
            family,
            transform=axes.get_yaxis_transform(),
            va="center",
            weight="bold",
            color=INK,
        )
        for number, run in enumerate(runs):
            value = drop(run, family)
            y = top + 0.045 + step * (number + 0.5) if few else middle + 0.0
            if few:
                ticks.append((y, names[number]))
            if value is None:
                continue
            low_high = drop_interval(run, family)
            if few and low_high:  # on one line those of many models would cover each other
                axes.plot([100 * v for v in low_high], [y, y], color=colour, linewidth=0.8)
            if few:
                axes.plot([0, 100 * value], [y, y], color=colour, linewidth=2.4, alpha=0.35, solid_capstyle="butt")
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(
                [100 * value],
                [y],
                color=colour,
                marker=marker,
                markersize=3.4 if few else 4,
                alpha=1 if few else 0.75,
                linestyle="",
            )
            if few:
                offset = max(value, low_high[1] if low_high else 0)
                place = (100 * offset, y)
                text = percent(value, 0)
                axes.annotate(text, place, (4, 0), textcoords="offset points", va="center", fontsize=5, color=INK)
            _difference(group, run, family, other, y, colour, marker)
        middles.append((family, middle))
        top += block
        if family != FAMILIES[-1]:
            for panel in (axes, other):
                if panel is not None:
                    panel.axhline(top, color=SOFT, linewidth=0.3)
    axes.set(
        ylim=(top, 0), xlim=(min(0, 100 * smallest - 4), 100 * largest * (1.14 if few else 1.04)), xlabel="drop, % of P"
    )
    for family, middle in () if few else middles:
        _ends(axes, group, family, middle)
    axes.set_yticks([t[0] for t in ticks], [t[1] for t in ticks], fontsize=5.2)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.grid(visible=False, axis="y")
    if other is not None:
        other.axvline(0, color=INK, linewidth=0.6)
        other.set(ylim=(top, 0), xlabel="points vs the baseline")
        limit = max(abs(v) for v in other.get_xlim())
        other.set_xlim(-limit * 1.1, limit * 1.1)
        other.set_yticks([])
        other.spines["left"].set_visible(False)
        other.grid(visible=False, axis="y")
        other.text(0.0, 1.01, "← drops less", transform=other.transAxes, fontsize=5, color=SOFT, ha="left")
        other.text(1.0, 1.01, "more →", transform=other.transAxes, fontsize=5, color=SOFT, ha="right")
    if not few:
        handles = [marked(n, SOFT, linestyle="", markersize=3) for n in range(len(runs))]
        legend(figure, handles, shortened([run.name for run in runs], 36), 2, handletextpad=0.2)
    title(axes, point(group))
    return figure


def _difference(group: Group, run: Run, family: str, axes: Any, y: float, colour: str, marker: str) -> None:
    found = paired(group, run, family)
    if axes is None or found is None:
        return
    change, spread = found
    if spread:
        axes.plot([100 * v for v in spread], [y, y], color=colour, linewidth=0.9)
    # A hollow marker has no interval: it may be chance.
    face = colour if spread else PAPER
    axes.plot([100 * change], [y], color=colour, marker=marker, markersize=3, markerfacecolor=face, linestyle="")


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
        axes.text(
            place,
            y + offset,
            text,
            ha=align,
            fontsize=5,
            color=INK,
        )
