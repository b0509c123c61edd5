"""An example strip as a figure for print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, TransformedBbox

from rtx.reports.examples import IGNORED, Box, Choice, Example, Examples, judge, quality, read_map
from rtx.reports.pixels import Pixels
from rtx.reports.style import INK, RC, SOFT, new_figure, title
from rtx.reports.wording import corruption_name, percent, shorten
from rtx.types import CLEAN, SEVERITIES, Condition

WIDE = 7.0
"""Inches: six columns of images need the width of the page."""
HIT, ALARM, MISS = "#36d0a3", "#ff9248", "#ffffff"


@dataclass(frozen=True)
class _Place:
    """Where a tile lies, in inches from the lower left corner of the figure."""

    left: float
    bottom: float
    width: float
    height: float

    def points(self, flat: Any, example: Example) -> Any:
        """Pixels of an image as places in the figure: (n, 2)."""
        x, y = np.reshape(flat, (-1, 2)).T
        return np.column_stack(
            [self.left + x / example.width * self.width, self.bottom + (1 - y / example.height) * self.height]
        )


def draw(choice: Choice, runs: Sequence[tuple[str, Examples]], pictures: Mapping[Condition, Pixels]) -> Figure:
    """One image under one corruption: severities in columns, models in rows.

    Args:
        choice: the image and the corruption.
        runs: name and examples of each model.
        pictures: the image under clean and under each severity, the same for every model.
    """
    with mpl.rc_context(RC):
        return _draw(choice, runs, pictures)


def _draw(choice: Choice, runs: Sequence[tuple[str, Examples]], pictures: Mapping[Condition, Pixels]) -> Figure:
    first = runs[0][1].images[choice.image]
    tile = (WIDE - 0.35) / 6
    tall = tile * first.height / first.width
    height = 0.5 + (tall + 0.16) * len(runs) + 0.18
    figure = new_figure(height, WIDE)
    # One pair of axes in inches for all tiles: one for each takes longer to lay out than its picture to draw.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, WIDE)
    axes.set_ylim(0, height)
    axes.autoscale(enable=False)
    conditions = [CLEAN, *(Condition(choice.corruption, level) for level in SEVERITIES)]
    for row, (name, examples) in enumerate(runs):
        example = examples.images[choice.image]
        bottom = height - (0.5 + (tall + 0.16) * (row + 1) - 0.02)
        axes.text(0.06, bottom + tall / 2, shorten(name, 20), rotation=90, va="center", ha="left", fontsize=5.6)
        for column, condition in enumerate(conditions):
            place = _Place(0.3 + tile * column, bottom + 0.03, tile - 0.03, tall - 0.03)
            _tile(axes, place, example, condition, pictures[condition])
            if row == 0:
                words = "clean" if condition == CLEAN else f"severity {condition.severity}"
                axes.text(place.left, bottom + tall + 0.03, words, fontsize=6, fontweight="bold", va="baseline")
    axes.text(
        0.3,
        0.04,
        "boxes: hit (green, solid), false alarm (orange, dotted), missed (white, dashed)"
        if first.truth_map is None
        else "hatched: wrong label; grey: not labelled",
        fontsize=5.6,
        color=SOFT,
    )
    title(
        axes,
        f"{corruption_name(choice.corruption).capitalize()}, {choice.reason}: "
        f"image {shorten(choice.image, 24)} {choice.cost}",
        110,
    )
    return figure


def _tile(axes: Any, place: _Place, example: Example, condition: Condition, pixels: Pixels) -> None:
    view = example.views[condition]
    right, top = place.left + place.width, place.bottom + place.height
    axes.imshow(pixels, extent=(place.left, right, place.bottom, top), interpolation="none", aspect="auto")
    inside = TransformedBbox(Bbox([(place.left, place.bottom), (right, top)]), axes.transData)
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
        verdicts = judge(example.truth, view.boxes)
        for boxes, colour, dashes in (
            ([example.truth[i] for i in verdicts.missed], MISS, (0, (3, 2))),
            ([view.boxes[i] for i in verdicts.false_alarms], ALARM, (0, (1, 1))),
            ([view.boxes[i] for i in verdicts.hits], HIT, "-"),
        ):
            for drawn in _outlines(place, example, boxes, colour, dashes):
                axes.add_collection(drawn, autolim=False)
                drawn.set_clip_box(inside)
    value = quality(example, condition)
    middle = place.left + place.width / 2
    axes.text(middle, place.bottom - 0.03, f"{percent(value, 0)} %", fontsize=5, color=INK, ha="center", va="top")


def _outlines(
    place: _Place, example: Example, boxes: Sequence[Box], colour: str, dashes: Any
) -> Sequence[PolyCollection]:
    rings = [place.points(ring, example) for box in boxes for ring in box.polygons]
    corners = []
    for left, top, right, bottom in (box.bbox for box in boxes):
        corners.append(place.points((left, top, right, top, right, bottom, left, bottom), example))
    drawn = []
    if rings:
        drawn.append(PolyCollection(rings, facecolors=colour, alpha=0.25, linewidths=0))
    if corners:  # a dark line underneath keeps the outline visible on any photo
        drawn.append(PolyCollection(corners, facecolors="none", edgecolors=(0, 0, 0, 0.6), linewidths=1.4))
        drawn.append(PolyCollection(corners, facecolors="none", edgecolors=colour, linewidths=0.8, linestyles=[dashes]))
    return drawn
