"""Figures of influence: the matrix sorted by label, label match of the most helpful images, and galleries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from rtx.reports.figures.style import INK, PAPER, RC, RULE, SOFT, columns_for, legend, legend_height, looks, new_figure
from rtx.reports.figures.style import title as put_title
from rtx.reports.text.wording import percent, shorten

_HELPS, _HARMS = "#0072b2", "#d55e00"
_NAMED = 25  # classes whose names fit an axis


@dataclass(frozen=True)
class Tile:
    """An image of a gallery: RGB uint8 (H, W, 3), the name of its class, and whether that is the test image's."""

    pixels: NDArray[np.uint8]
    label: str
    same: bool


@mpl.rc_context(RC)
def heat(
    values: NDArray[np.float64],
    test_labels: NDArray[np.int64],
    train_labels: NDArray[np.int64],
    classes: Sequence[str],
    name: str,
    unit: str = "images",
) -> Figure:
    """I / |I|_F (m, n), positive where a training image helps, rows and columns sorted by label."""
    rows, columns = (np.argsort(labels, kind="stable") for labels in (test_labels, train_labels))
    shown = (values / (np.linalg.norm(values) or 1.0))[np.ix_(rows, columns)]
    # Single pairs reach a hundred times what most have; beyond this one in a hundred is cut.
    top = float(np.quantile(np.abs(shown), 0.99)) or 1.0
    figure = new_figure(3.35)
    axes = figure.add_axes((0.17, 0.17, 0.68, 0.69))
    colours = mpl.colors.LinearSegmentedColormap.from_list("influence", [_HARMS, PAPER, _HELPS])
    image = axes.imshow(shown, cmap=colours, vmin=-top, vmax=top, aspect="auto", interpolation="antialiased")
    axes.grid(visible=False)
    sides: tuple[tuple[Any, ...], ...] = (
        (train_labels, axes.set_xticks, axes.axvline, {"rotation": 90}),
        (test_labels, axes.set_yticks, axes.axhline, {}),
    )
    for labels, ticks, line, look in sides:
        ends = np.cumsum(np.bincount(labels, minlength=len(classes)))
        for end in ends[:-1]:
            line(end - 0.5, color=RULE, linewidth=0.3)
        if len(classes) <= _NAMED:
            middles = (np.concatenate([[0], ends[:-1]]) + ends) / 2 - 0.5
            ticks(middles, [shorten(one, 14) for one in classes], fontsize=5, **look)
        else:
            ticks([])
    axes.tick_params(length=0, colors=INK)
    axes.set_xlabel(f"{len(train_labels)} training {unit}", labelpad=2)
    axes.set_ylabel(f"{len(test_labels)} test {unit}", labelpad=2)
    scale = figure.add_axes((0.875, 0.17, 0.02, 0.69))
    bar = figure.colorbar(image, cax=scale, ticks=[-top, 0, top], extend="both")
    bar.ax.set_yticklabels(["harms", "0", "helps"], fontsize=5)
    bar.outline.set_linewidth(0.3)
    bar.ax.tick_params(length=0, colors=INK)
    same = train_labels == test_labels[:, None]
    inside, outside = (float(np.abs(values[part]).mean()) if part.any() else 0.0 for part in (same, ~same))
    if outside > 0:
        put_title(axes, f"{name}: a pair of one class weighs {inside / outside:.1f} times a pair of two classes")
    else:
        put_title(axes, f"{name}: influence of training images on test images")
    return figure


@mpl.rc_context(RC)
def label_match(curves: Sequence[tuple[str, NDArray[np.float64]]], chance: float) -> Figure:
    """Share of test images whose k-th most helpful training image has their label, for k = 1, 2, ..., of each model."""
    names = [shorten(name, 40) for name, _ in curves]
    columns = columns_for(names)
    low = 0.42 + legend_height(len(names), columns)
    figure = new_figure(2.3 + low - 0.42)
    height = figure.get_figheight()
    axes = figure.add_axes((0.115, low / height, 0.865, 1 - (low + 0.34) / height))
    handles = []
    for (_, curve), look in zip(curves, looks(len(curves)), strict=True):
        at = sorted({0, *range(9, len(curve), 10)})
        handles += axes.plot(np.arange(1, len(curve) + 1), 100 * curve, markevery=at, **look)
    axes.axhline(100 * chance, color=SOFT, linewidth=0.6, linestyle=":")
    axes.text(1, 100 * chance + 1, "chance", fontsize=5.2, color=SOFT, va="bottom")
    axes.set(xlabel="rank of the training image, from the most helpful on", ylabel="test images of its label, %")
    axes.set(xlim=(0, max(len(curve) for _, curve in curves) + 1), ylim=(0, 102))
    legend(figure, handles, names, columns)
    best = max(range(len(curves)), key=lambda n: curves[n][1][0])
    start = (
        f"{percent(float(curves[best][1][0]), 0)} % of test images have the label of their most helpful training image"
    )
    put_title(axes, start + (f" ({names[best]})" if len(curves) > 1 else ""))
    return figure


@mpl.rc_context(RC)
def gallery(rows: Sequence[tuple[Tile, Sequence[Tile], Sequence[Tile]]], name: str) -> Figure:
    """Test images, each beside its most helpful and its most harmful training images, in order."""
    count = max(len(part) for _, *parts in rows for part in parts)
    size, gap, line, head = 0.58, 0.14, 0.11, 0.5
    width = size * (1 + 2 * count) + 2 * gap + 0.1
    height = head + (size + line) * len(rows) + 0.04
    figure = new_figure(height, width)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    starts = (0.05, 0.05 + size + gap, 0.05 + size * (1 + count) + 2 * gap)
    for left, text in zip(starts, ("test image", "most helpful training images", "most harmful ones"), strict=True):
        axes.text(left, height - head + 0.04, text, fontsize=5.6, color=SOFT)
    for number, (test, helpful, harmful) in enumerate(rows):
        top = height - head - number * (size + line)
        for start, tiles in zip(starts, ((test,), helpful, harmful), strict=True):
            for place, tile in enumerate(tiles):
                left = start + place * size
                box = (left, left + size - 0.02, top - size + 0.02, top)
                axes.imshow(tile.pixels, extent=box, interpolation="antialiased", aspect="auto")
                colour = INK if start == starts[0] else _HELPS if tile.same else _HARMS
                edge = Rectangle(
                    (box[0], box[2]), size - 0.02, size - 0.02, fill=False, edgecolor=colour, linewidth=0.8
                )
                axes.add_patch(edge)
                text = shorten(tile.label, 13)
                axes.text(left, box[2] - 0.015, text, fontsize=4.4, color=colour, va="top")
    axes.set(xlim=(0, width), ylim=(0, height))
    put_title(axes, f"{name}: what helps and what harms (blue: of the same class; orange: of another)", width=80)
    return figure
