"""Heat map: what each corruption leaves of each model's clean score."""

from __future__ import annotations

import statistics
from typing import Any

import matplotlib as mpl
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rtx.corruptions import BENCHMARK, FAMILIES
from rtx.reports.figures.style import FAMILY_COLOURS, INK, PAPER, RC, SOFT, new_figure, ramp_colour, title, width_of
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import MEMBERS
from rtx.reports.runs.runs import Run
from rtx.reports.text.wording import corruption_name, in_two_lines, metric_name, percent, shortened

# Ends and middle of one perceptual ramp, light where much is left: dark cells are where a model breaks.
_RAMP = (
    (0x3B, 0x0F, 0x52),
    (0x7A, 0x2E, 0x6F),
    (0xB8, 0x5C, 0x74),
    (0xE8, 0x9A, 0x7A),
    (0xF8, 0xD9, 0xA8),
    (0xFF, 0xF8, 0xE4),
)


def shade(value: float) -> str:
    """Colour of a fraction of the clean score, dark at 0 and pale at 1 and above."""
    return ramp_colour(_RAMP, min(max(value, 0.0), 1.0))


def ink_on(colour: str) -> str:
    """Black or white, whichever is readable on a colour (WCAG contrast)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if light > 0.179 else "#ffffff"


def values(run: Run) -> dict[str, float | None]:
    """Corruption -> mean score over severities divided by P."""
    return {name: run.corruption_ratio(name) for name in BENCHMARK}


def point(group: Group) -> str:
    """The main finding of the figure."""
    medians = {}
    for name in BENCHMARK:
        there = [v for run in group.claimed if (v := run.corruption_ratio(name)) is not None]
        if there:
            medians[name] = statistics.median(there)
    if not medians:
        return "What each corruption leaves of the clean score: no corruption is complete"
    worst, best = min(medians, key=lambda n: medians[n]), max(medians, key=lambda n: medians[n])
    who = "leaves the median model"
    if len(group.claimed) == 1:
        who = f"leaves {group.called(group.claimed[0])}" if len(group.runs) > 1 else "leaves"
    return (
        f"{corruption_name(worst).capitalize()} {who} {percent(medians[worst], 0)} % of its clean "
        f"{metric_name(group.metric)}, {corruption_name(best)} {percent(medians[best], 0)} %"
    )


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, or None where no corruption is complete for any run."""
    if not any(v is not None for run in group.runs for v in values(run).values()):
        return None
    rows = len(group.runs)
    # Names in two lines leave the cells room for three digits.
    names = [in_two_lines(name, 15) for name in shortened([run.name for run in group.runs], 26)]
    row_height, head, foot = 0.18 if any("\n" in name for name in names) else 0.145, 0.44, 0.6
    height = head + foot + rows * row_height
    figure = new_figure(height)
    left = 0.02 + min(width_of("\n".join(names).split("\n"), 5.0), 0.26)
    axes = figure.add_axes((left, foot / height, 0.985 - left, 1 - (head + foot) / height))
    axes.set(xlim=(0, 16.3), ylim=(rows, 0))
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    corners, faces = [], []
    for y, run in enumerate(group.runs):
        cells = [*values(run).values(), run.summary.rPC if run.summary.complete else None]
        for number, value in enumerate(cells):
            x = number + (0.3 if number == len(BENCHMARK) else 0)
            if value is None or value != value:
                axes.add_patch(Rectangle((x, y), 1, 1, facecolor=PAPER, edgecolor=SOFT, hatch="////", lw=0.3))
                continue
            colour = shade(value)
            corners.append([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)])
            faces.append(colour)
            weight = "bold" if number == len(BENCHMARK) else "normal"
            look: dict[str, Any] = dict(ha="center", va="center", fontsize=5, color=ink_on(colour), weight=weight)
            axes.text(x + 0.5, y + 0.53, percent(value, 0), **look)
    axes.add_collection(PolyCollection(corners, facecolors=faces, edgecolors=PAPER, linewidths=0.5), autolim=False)
    axes.set_yticks([y + 0.5 for y in range(rows)], names, fontsize=5)
    columns = [*(corruption_name(name, short=True) for name in BENCHMARK), "rPC"]
    axes.set_xticks([*(x + 0.5 for x in range(15)), 15.8], columns, rotation=90, fontsize=5.2)
    axes.tick_params(length=0, pad=5.5, axis="x", labelcolor=INK)
    axes.tick_params(length=0, pad=1.5, axis="y", colors=INK)
    start = 0
    strip = 0.045 / row_height
    for family in FAMILIES:
        width = len(MEMBERS[family])
        corner, colour = (start + 0.05, rows + 0.12), FAMILY_COLOURS[family]
        axes.add_patch(Rectangle(corner, width - 0.1, strip, facecolor=colour, lw=0, clip_on=False))
        place = (start + width / 2, rows + (foot - 0.03) / row_height)
        axes.text(*place, family, ha="center", fontsize=5.6, color=INK, weight="bold")
        start += width
    title(axes, point(group))
    return figure
