"""An example strip as a figure for print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from rtx.reports.figures.style import INK, RC, SOFT, new_figure, title
from rtx.reports.runs.naming import readable
from rtx.reports.strips.examples import Choice, Pixels, judge, quality, read_map
from rtx.reports.text.wording import corruption_name, in_two_lines, percent, shorten, shortened
from rtx.results.examples import IGNORED, Box, Example, Examples
from rtx.types import CLEAN, SEVERITIES, Condition

WIDE = 7.0
"""Inches: six columns of images need the width of the page."""
HEAD = 0.34
HIT, ALARM, MISS = "#36d0a3", "#ff9248", "#ffffff"


@dataclass(frozen=True)
class _Place:
    """Where a tile lies, in inches from the lower left corner of the figure."""

    left: float
    bottom: float
    width: float
    height: float

    def points(self, flat: Any, example: Example) -> Any:
        """Pixels of an image as places in the figure, none outside the tile: (n, 2)."""
        x, y = np.clip(np.reshape(flat, (-1, 2)) / (example.width, example.height), 0, 1).T
        return np.column_stack([self.left + x * self.width, self.bottom + (1 - y) * self.height])


@dataclass
class _Outlines:
    """Outlines of one style over all tiles of a figure: corners of boxes and rings of masks, each (n, 2)."""

    colour: str
    dashes: Any
    boxes: list[Any] = field(default_factory=list)
    masks: list[Any] = field(default_factory=list)

    def add(self, place: _Place, example: Example, found: Sequence[Box]) -> None:
        """Take the boxes of one tile."""
        for box in found:
            left, top, right, bottom = box.bbox
            self.boxes.append(place.points((left, top, right, top, right, bottom, left, bottom), example))
            self.masks += [place.points(ring, example) for ring in box.polygons]

    def draw(self, axes: Any) -> None:
        """A dark line underneath keeps an outline visible on any photo."""
        if self.masks:
            filled = PolyCollection(self.masks, facecolors=self.colour, alpha=0.25, linewidths=0)
            axes.add_collection(filled, autolim=False)
        if self.boxes:
            # All boxes are one path: one for each takes the time that the pictures take.
            corners = np.reshape([[*box, box[0]] for box in self.boxes], (-1, 2))
            one = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
            path = Path(corners, one * len(self.boxes))
            axes.add_artist(PathPatch(path, fill=False, edgecolor=(0, 0, 0, 0.6), linewidth=1.4))
            axes.add_artist(PathPatch(path, fill=False, edgecolor=self.colour, linewidth=0.8, linestyle=self.dashes))


@mpl.rc_context(RC)
def draw(choice: Choice, runs: Sequence[tuple[str, Examples]], pictures: Mapping[Condition, Pixels]) -> Figure:
    """One image under one corruption: severities in columns, models in rows.

    Args:
        choice: the image and the corruption.
        runs: name and examples of each model.
        pictures: the image under clean and under each severity, the same for every model.
    """
    first = runs[0][1].images[choice.image]
    tile = (WIDE - 0.35) / 6
    tall = tile * first.height / first.width
    height = HEAD + (tall + 0.16) * len(runs) + 0.18
    figure = new_figure(height, WIDE)
    # One pair of axes in inches for all tiles: one for each takes longer to lay out than its picture to draw.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, WIDE)
    axes.set_ylim(0, height)
    axes.autoscale(enable=False)
    conditions = [CLEAN, *(Condition(choice.corruption, level) for level in SEVERITIES)]
    outlines = (_Outlines(MISS, (0, (3, 2))), _Outlines(ALARM, (0, (1, 1))), _Outlines(HIT, "-"))
    names = shortened([name for name, _ in runs], 34)
    for row, (name, (_, examples)) in enumerate(zip(names, runs, strict=True)):
        example = examples.images[choice.image]
        bottom = height - (HEAD + (tall + 0.16) * (row + 1) - 0.02)
        axes.text(0.06, bottom + tall / 2, in_two_lines(name, 17), rotation=90, va="center", ha="left", fontsize=5.2)
        for column, condition in enumerate(conditions):
            place = _Place(0.3 + tile * column, bottom + 0.03, tile - 0.03, tall - 0.03)
            _tile(axes, place, example, condition, pictures[condition], outlines)
            if row == 0:
                words = "clean" if condition == CLEAN else f"severity {condition.severity}"
                axes.text(place.left, bottom + tall + 0.03, words, fontsize=6, fontweight="bold", va="baseline")
    for style in outlines:
        style.draw(axes)
    axes.text(
        0.3,
        0.04,
        "boxes: hit (green, solid), false alarm (orange, dotted), missed (white, dashed); below: F1 of the boxes"
        if first.truth_map is None
        else "hatched: wrong label; grey: not labelled; below: mean IoU of the image",
        fontsize=5.6,
        color=SOFT,
    )
    title(
        axes,
        f"{corruption_name(choice.corruption).capitalize()}, {choice.reason}: "
        f"image {shorten(readable(choice.image), 24)} {choice.cost}",
        110,
    )
    return figure


def _tile(
    axes: Any,
    place: _Place,
    example: Example,
    condition: Condition,
    pixels: Pixels,
    outlines: Sequence[_Outlines],
) -> None:
    view = example.views[condition]
    right, top = place.left + place.width, place.bottom + place.height
    axes.imshow(pixels, extent=(place.left, right, place.bottom, top), interpolation="none", aspect="auto")
    if example.truth_map is not None and view.map is not None:
        truth, found = read_map(example.truth_map), read_map(view.map)
        wrong = ((truth != found) & (truth != IGNORED)).astype(float)
        axes.contourf(
            np.linspace(place.left, right, truth.shape[1]),
            np.linspace(top, place.bottom, truth.shape[0]),
            wrong,
            levels=[0.5, 1.5],
            colors=[ALARM],
            alpha=0.55,
            hatches=["////"],
        )
    else:
        verdicts = judge(example.truth, view.boxes, example.ignored)
        missed, alarms, hits = outlines
        missed.add(place, example, [example.truth[i] for i in verdicts.missed])
        alarms.add(place, example, [view.boxes[i] for i in verdicts.false_alarms])
        hits.add(place, example, [view.boxes[i] for i in verdicts.hits])
    value = quality(example, condition)
    middle = place.left + place.width / 2
    axes.text(middle, place.bottom - 0.03, f"{percent(value, 0)} %", fontsize=5, color=INK, ha="center", va="top")
