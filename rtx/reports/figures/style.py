"""How every figure looks, and how it is saved so that the same input gives the same bytes."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rtx.reports.text.wording import unbroken

COLUMN = 3.4
"""Inches: the width of one column of a two-column paper."""

INK, SOFT, RULE, PAPER = "#1c1c1e", "#62656a", "#cfd2d6", "#ffffff"
# Okabe and Ito's palette, told apart with any common colour blindness; report.css has the same.
FAMILY_COLOURS = {
    "noise": "#d55e00",
    "blur": "#0072b2",
    "weather": "#009e73",
    "digital": "#cc79a7",
    "held_out": "#85888c",
    "clean": INK,
}
# Models are told apart by lightness, marker and label, never by hue alone; family colours stay free for families.
_MODEL_RAMP = ((0x2B, 0x1B, 0x5E), (0x5A, 0x3D, 0x9A), (0x8C, 0x5F, 0xC4), (0xB9, 0x8A, 0x3A), (0xD9, 0xA9, 0x11))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "*")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
FORMATS = ("pdf", "svg", "png")
FONT = "DejaVu Sans"  # Matplotlib brings it along

RC = {
    "font.family": [FONT],
    "font.size": 6.5,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 6.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.35,
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "legend.frameon": False,
    "legend.fontsize": 6,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "rtx",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # TrueType, embedded; journals refuse Type 3
    "pdf.compression": 6,
    "path.simplify": True,
}


@contextmanager
def settings() -> Iterator[None]:
    """Within it, Matplotlib is as it was made, whatever a user's matplotlibrc says: same input, same bytes."""
    with mpl.rc_context():
        mpl.rcdefaults()
        yield


def new_figure(height: float, width: float = COLUMN) -> Figure:
    """An empty figure; call it, and draw, inside `mpl.rc_context(RC)`."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def not_drawn(texts: Iterable[str]) -> str:
    """The letters of texts that the font does not have; in a figure they are boxes."""
    known = font_manager.get_font(font_manager.findfont(FONT)).get_charmap()
    return "".join(sorted({letter for text in texts for letter in text if letter.isprintable()} - set(map(chr, known))))


def ramp_colour(ramp: Sequence[tuple[int, int, int]], place: float) -> str:
    """The colour at a place, 0 to 1, between the RGB colours of a ramp."""
    step = place * (len(ramp) - 1)
    low = min(int(step), len(ramp) - 2)
    mixed = (round(a + (b - a) * (step - low)) for a, b in zip(ramp[low], ramp[low + 1], strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def looks(count: int) -> list[dict[str, Any]]:
    """Colour, from dark to light, and marker of each of `count` models, as `Axes.plot` and `Line2D` take them."""
    return [
        {"color": ramp_colour(_MODEL_RAMP, n / max(count - 1, 1)), "marker": MARKERS[n % len(MARKERS)]}
        for n in range(count)
    ]


def tint(colour: str, strength: float = 0.28) -> str:
    """A colour mixed into white, for backgrounds."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - v) * strength):02x}" for v in (red, green, blue))


def title(axes: Any, text: str, width: int = 55) -> None:
    """Say the figure's point over its axes, wrapped to the column."""
    axes.figure.text(
        0.01, 0.995, wrap(unbroken(text), width), ha="left", va="top", fontsize=7.2, fontweight="bold", linespacing=1.25
    )


def columns_for(names: Sequence[str]) -> int:
    """How many columns a legend of such names has."""
    return 3 if max(map(len, names)) <= 18 else 2


def legend_height(count: int, columns: int) -> float:
    """Inches that a legend of so many models takes."""
    return 0.105 * -(-count // columns)


def legend(figure: Figure, handles: Sequence[Line2D], names: Sequence[str], columns: int, **look: Any) -> None:
    """Name the models below the axes."""
    spacing = dict(columnspacing=1.2, labelspacing=0.25, borderpad=0.1)
    figure.legend(handles, names, loc="lower center", ncols=columns, fontsize=5.2, **{**spacing, **look})


def wrap(text: str, width: int) -> str:
    r"""Break a line at spaces.

    Example:
        >>> wrap("one two three", 8)
        'one two\nthree'
    """
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\u00a0", " ")


def names_beside(axes: Any, xs: Sequence[float], ys: Sequence[float], texts: Sequence[str], size: float) -> None:
    """Name points right of their axes, one text a point, joined by thin lines and none over another."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    gap = size * 1.25 / 72 / (axes.figure.get_figheight() * axes.get_position().height) * (high - low)
    edge, step = right + 0.03 * (right - left), 0.01 * (right - left)
    for x, y, text, place in zip(xs, ys, texts, spread(ys, gap, low + gap / 2, high - gap / 2), strict=True):
        axes.plot([x, right, edge], [y, place, place], color=RULE, linewidth=0.35, clip_on=False, zorder=0)
        axes.text(edge + step, place, text, va="center", fontsize=size, color=INK, clip_on=False)


def name_rows(axes: Any, places: Sequence[float], names: Sequence[str], size: float) -> None:
    """Name the rows of a figure that has no scale on its vertical axis."""
    axes.set_yticks(places, names, fontsize=size)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.grid(visible=False, axis="y")


def width_of(names: Iterable[str], size: float, more: int = 0) -> float:
    """Part of the figure's width that the longest of some names takes, and so many letters more."""
    return (max(map(len, names)) + more) * size * 0.6 / 72 / COLUMN


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels near `values`, at least `gap` apart and between `low` and `high` where they fit.

    Example:
        >>> spread([1.0, 1.0], 1.0, 0.0, 5.0)
        [0.5, 1.5]
    """
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    clusters: list[tuple[float, int]] = []  # middle, how many
    for index in order:
        middle, count = min(max(values[index], low), high), 1
        clusters.append((middle, count))
        while len(clusters) > 1:
            (m1, n1), (m2, n2) = clusters[-2:]
            if m2 - m1 >= gap * (n1 + n2) / 2:
                break
            merged = (m1 * n1 + m2 * n2) / (n1 + n2)
            total = n1 + n2
            merged = min(max(merged, low + gap * (total - 1) / 2), max(high - gap * (total - 1) / 2, low))
            clusters[-2:] = [(merged, total)]
    places = [m - gap * (n - 1) / 2 + gap * k for m, n in clusters for k in range(n)]
    result = [0.0] * len(values)
    for place, index in zip(places, order, strict=True):
        result[index] = place
    return result


def save(figure: Figure, stem: Path, formats: Iterable[str] = FORMATS) -> None:
    """Write a figure as files, without dates or program names in them."""
    options: dict[str, dict[str, Any]] = {
        "pdf": {"metadata": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}},
        "svg": {"metadata": {"Date": None, "Creator": None}},
        "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 1}},
        "jpg": {"pil_kwargs": {"quality": 75}, "dpi": 150},
    }
    stem.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # a report says that once
        for kind in formats:
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, **{"dpi": 220, **options[kind]})
            stem.with_name(f"{stem.name}.{kind}").write_bytes(stream.getvalue())


def inline_svg(text: str, prefix: str, label: str) -> str:
    """An SVG file's text as an element of a page: its own ids, a label, and no size.

    Args:
        text: what `save` wrote.
        prefix: makes its ids unique in the page.
        label: what a screen reader says; already escaped for an attribute.
    """
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    return body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
