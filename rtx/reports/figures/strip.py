"""An example strip as a figure for print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from rtx.reports.examples import IGNORED, Box, Choice, Example, Examples, judge, picture, quality, read_map
from rtx.reports.style import INK, RC, SOFT, new_figure, title
from rtx.reports.wording import corruption_name, percent, shorten
from rtx.types import CLEAN, SEVERITIES, Condition

WIDE = 7.0
"""Inches: six columns of images need the width of the page."""
HIT, ALARM, MISS = "#36d0a3", "#ff9248", "#ffffff"


def draw(choice: Choice, runs: Sequence[tuple[str, Examples]]) -> Figure:
    """One image under one corruption: severities in columns, models in rows."""
    with mpl.rc_context(RC):
        return _draw(choice, runs)


def _draw(choice: Choice, runs: Sequence[tuple[str, Examples]]) -> Figure:
    first = runs[0][1].images[choice.image]
    tile = (WIDE - 0.35) / 6
    tall = tile * first.height / first.width
    height = 0.5 + (tall + 0.16) * len(runs) + 0.18
    figure = new_figure(height, WIDE)
    conditions = [CLEAN, *(Condition(choice.corruption, level) for level in SEVERITIES)]
    for row, (name, examples) in enumerate(runs):
        example = examples.images[choice.image]
        bottom = 1 - (0.5 + (tall + 0.16) * (row + 1) - 0.02) / height
        figure.text(
            0.008, bottom + tall / 2 / height, shorten(name, 20), rotation=90, va="center", ha="left", fontsize=5.6
        )
        for column, condition in enumerate(conditions):
            axes = figure.add_axes(((0.3 + tile * column) / WIDE, bottom, (tile - 0.03) / WIDE, tall / height))
            _tile(axes, example, condition, first)
            if row == 0:
                axes.set_title("clean" if condition == CLEAN else f"severity {condition.severity}", fontsize=6, pad=2)
    figure.text(
        0.3 / WIDE,
        0.05 / height,
        "boxes: hit (green, solid), false alarm (orange, dotted), missed (white, dashed)"
        if first.truth_map is None
        else "hatched: wrong label; grey: not labelled",
        fontsize=5.6,
        color=SOFT,
    )
    title(
        figure.axes[0],
        f"{corruption_name(choice.corruption).capitalize()}, {choice.reason}: "
        f"image {shorten(choice.image, 24)} {choice.cost}",
        110,
    )
    return figure


def _tile(axes: Any, example: Example, condition: Condition, seen: Example) -> None:
    view = example.views[condition]
    axes.imshow(picture(seen, condition), extent=(0, example.width, example.height, 0), interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if example.truth_map is not None and view.map is not None:
        truth, found = read_map(example.truth_map), read_map(view.map)
        wrong = ((truth != found) & (truth != IGNORED)).astype(float)
        axes.contourf(
            np.linspace(0, example.width, truth.shape[1]),
            np.linspace(0, example.height, truth.shape[0]),
            wrong,
            levels=[0.5, 1.5],
            colors=[ALARM],
            alpha=0.55,
            hatches=["////"],
        )
    else:
        verdicts = judge(example.truth, view.boxes)
        for index in verdicts.missed:
            _outline(axes, example.truth[index], MISS, (0, (3, 2)))
        for index in verdicts.false_alarms:
            _outline(axes, view.boxes[index], ALARM, (0, (1, 1)))
        for index in verdicts.hits:
            _outline(axes, view.boxes[index], HIT, "-")
    value = quality(example, condition)
    axes.set_xlabel(f"{percent(value, 0)} %", fontsize=5, labelpad=1, color=INK)


def _outline(axes: Any, box: Box, colour: str, dashes: Any) -> None:
    left, top, right, bottom = box.bbox
    for under in (True, False):  # a dark line underneath keeps the outline visible on any photo
        axes.add_patch(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor="#000000" if under else colour,
                linewidth=1.4 if under else 0.8,
                linestyle="-" if under else dashes,
                alpha=0.6 if under else 1,
            )
        )
    for ring in box.polygons:
        axes.add_patch(Polygon(np.reshape(ring, (-1, 2)), closed=True, facecolor=colour, alpha=0.25, lw=0))
