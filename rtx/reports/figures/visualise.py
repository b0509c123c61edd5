"""A sheet of images that were searched for: networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rtx.reports.figures.style import INK, RC, SOFT, new_figure
from rtx.reports.figures.style import title as put_title
from rtx.reports.text.wording import shorten

_SIDE, _GAP, _LINE, _HEAD = 1.1, 0.05, 0.13, 0.62


@dataclass(frozen=True)
class SheetImage:
    """An image of a sheet: RGB uint8 (H, W, 3), and what stands below it."""

    pixels: NDArray[np.uint8]
    caption: str


@mpl.rc_context(RC)
def sheet(
    rows: Sequence[tuple[str, SheetImage | None, Sequence[SheetImage]]], heads: Sequence[str], title: str
) -> Figure:
    """One row for each image that was looked for, one column for each network.

    Args:
        rows: what was looked for, the image in front, if any, and one cell for each of `heads`.
        heads: names of the networks.
        title: of the sheet.
    """
    front = any(first is not None for _, first, _ in rows)
    columns, left = len(heads) + front, 0.55
    width = left + columns * (_SIDE + _GAP) + 0.05
    height = _HEAD + len(rows) * (_SIDE + _LINE + _GAP)
    figure = new_figure(height, max(width, 2.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    names = [*(["given"] if front else []), *(shorten(name, 22) for name in heads)]
    for n, name in enumerate(names):
        axes.text(left + n * (_SIDE + _GAP), height - _HEAD + 0.05, name, fontsize=5.6, color=SOFT)
    for number, (what, first, cells) in enumerate(rows):
        top = height - _HEAD - number * (_SIDE + _LINE + _GAP)
        axes.text(left - 0.05, top - _SIDE / 2, shorten(what, 12), ha="right", va="center", fontsize=5.6, color=INK)
        for place, cell in enumerate([*([first] if front else []), *cells]):
            if cell is None:
                continue
            x = left + place * (_SIDE + _GAP)
            axes.imshow(
                cell.pixels, extent=(x, x + _SIDE, top - _SIDE, top), interpolation="antialiased", aspect="auto"
            )
            axes.text(x, top - _SIDE - 0.02, shorten(cell.caption, 26), fontsize=5, color=SOFT, va="top")
    axes.set(xlim=(0, figure.get_figwidth()), ylim=(0, height))
    put_title(axes, title, width=int(16 * figure.get_figwidth()))
    return figure
