"""Figures of drift: how alike clean and corrupted features, and those of source and run, are along the network."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from rtx.errors import BadValue
from rtx.reports.figures.heat import ink_on, shade
from rtx.reports.figures.style import INK, PAPER, RC, SOFT, columns_for, legend, legend_height, looks, new_figure
from rtx.reports.figures.style import title as put_title
from rtx.reports.runs.groups import Group
from rtx.reports.text.wording import MINUS, corruption_name, shorten
from rtx.results.conditions import grid_order
from rtx.results.drift import INSIDE, Drift, Similarity, is_corrupted, read_drift
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

_PLAIN, _DASHED = "-", (0, (3, 1.5))


def _clean(condition: Condition) -> bool:
    return condition == CLEAN


def steepest(drift: Drift) -> tuple[int, float]:
    """The layer at which CKA of clean and corrupted images has fallen most since the one before it, and by how much.

    Layers of the backbone alone: a neck mixes stages. The input itself counts as 1.
    """
    values = [one.value for one, layer in zip(drift.mean("run", "cka"), drift.layers, strict=True) if "stage" in layer]
    falls = [before - value for before, value in zip([1.0, *values], values, strict=False)]
    place = max(range(len(falls)), key=lambda n: -math.inf if math.isnan(falls[n]) else falls[n], default=0)
    return place, falls[place] if falls else math.nan


def drift_point(drifts: Sequence[Drift]) -> str:
    """The main finding, one sentence."""
    found = []
    for drift in drifts[:3]:
        place, fall = steepest(drift)
        if not math.isnan(fall):
            found.append(f"{drift.layers[place]} ({shorten(drift.name, 24)}, CKA {MINUS}{fall:.2f})")
    return f"Corruption moves features most in {', '.join(found)}" if found else "Drift of features along the network"


@mpl.rc_context(RC)
def by_layer(drifts: Sequence[Drift]) -> Figure:
    """Linear CKA by layer, mean over corruptions and severities: clean against corrupted, and source against run."""
    pairs = ["run", *(["source_to_run"] if any(drift.has("source_to_run") for drift in drifts) else [])]
    names = [shorten(drift.name, 34) for drift in drifts]
    columns = columns_for(names)
    layers = list(dict.fromkeys(layer for drift in drifts for layer in drift.layers))
    foot = 0.62 + legend_height(len(names) + 2, columns)
    figure = new_figure(1.75 + foot + 0.2)
    height = figure.get_figheight()
    width = 0.87 / len(pairs)
    shown_sources: set[str] = set()
    for n, pair in enumerate(pairs):
        axes = figure.add_axes((0.105 + n * (width + 0.015), foot / height, width - 0.02, 1 - (foot + 0.55) / height))
        for drift, look in zip(drifts, looks(len(drifts)), strict=True):
            at = [layers.index(layer) for layer in drift.layers]
            if pair == "run":
                _line(axes, at, drift.mean("run", "cka"), look, _PLAIN)
                source = str(drift.card.get("source_weights_sha256"))
                if drift.has("source") and source not in shown_sources:
                    shown_sources.add(source)
                    _line(axes, at, drift.mean("source", "cka"), {"color": SOFT, "marker": ""}, _DASHED)
            else:
                _line(axes, at, drift.mean(pair, "cka", _clean), look, _PLAIN)
                _line(axes, at, drift.mean(pair, "cka", is_corrupted), look, _DASHED)
        axes.set_xticks(range(len(layers)), layers, rotation=45, ha="right", fontsize=5)
        axes.set(xlim=(-0.3, len(layers) - 0.7), ylim=(min(0.0, axes.get_ylim()[0]), 1.03))
        axes.tick_params(labelleft=n == 0)
        words = "clean against corrupted images" if pair == "run" else "source against run"
        axes.set_title(words, fontsize=5.8, y=1.0, pad=2.5, fontweight="normal", color=INK)
    figure.axes[0].set_ylabel("linear CKA", labelpad=2)
    handles = [Line2D([], [], markersize=2.5, **look) for look in looks(len(drifts))]
    if shown_sources:
        handles.append(Line2D([], [], color=SOFT, linestyle=_DASHED))
        names.append("left: the source itself")
    if len(pairs) > 1:
        handles.append(Line2D([], [], color=INK, linestyle=_DASHED))
        names.append("right: on corrupted images")
    legend(figure, handles, names, columns)
    put_title(figure.axes[0], drift_point(drifts))
    return figure


def _line(axes: Any, at: Sequence[int], row: Sequence[Similarity], look: dict[str, Any], style: Any) -> None:
    there = [(x, one) for x, one in zip(at, row, strict=True) if not math.isnan(one.value)]
    if not there:
        return
    xs = [x for x, _ in there]
    axes.plot(xs, [one.value for _, one in there], linestyle=style, markersize=2.5, **look)
    ends = [one.low for _, one in there], [one.high for _, one in there]
    axes.fill_between(xs, *ends, color=look["color"], alpha=0.12, linewidth=0)


@mpl.rc_context(RC)
def by_corruption(drift: Drift) -> Figure:
    """Linear CKA of clean and corrupted images for each corruption (mean over its severities) and layer."""
    names = list(dict.fromkeys(c.corruption for c in sorted(drift.cells, key=grid_order) if c != CLEAN))
    rows = [drift.mean("run", "cka", _of(name)) for name in names]
    line, head, foot, left = 0.145, 0.42, 0.42, 0.2
    figure = new_figure(head + foot + line * len(names))
    height = figure.get_figheight()
    axes = figure.add_axes((left, foot / height, 0.98 - left, 1 - (head + foot) / height))
    for y, row in enumerate(rows):
        for x, one in enumerate(row):
            undefined = math.isnan(one.value)
            colour = PAPER if undefined else shade(one.value)
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=PAPER, lw=0.5))
            text = "-" if undefined else f"{one.value:.2f}"
            axes.text(x + 0.5, y + 0.53, text, ha="center", va="center", fontsize=5, color=ink_on(colour))
    axes.set(xlim=(0, len(drift.layers)), ylim=(len(names), 0))
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([y + 0.5 for y in range(len(names))], [corruption_name(name) for name in names], fontsize=5.4)
    axes.set_xticks([x + 0.5 for x in range(len(drift.layers))], drift.layers, rotation=45, ha="right", fontsize=5.2)
    axes.tick_params(length=0, pad=1.5, colors=INK)
    last = [row[drift.layers.index(deepest(drift))].value for row in rows]
    worst = min(range(len(names)), key=lambda n: math.inf if math.isnan(last[n]) else last[n])
    put_title(
        axes,
        f"{shorten(drift.name, 40)}: of clean {deepest(drift)} features, {corruption_name(names[worst])} leaves least "
        f"(linear CKA {last[worst]:.2f})",
    )
    return figure


def deepest(drift: Drift) -> str:
    """The last stage of the backbone."""
    return [layer for layer in drift.layers if layer.startswith("stage")][-1]


def _of(name: str) -> Callable[[Condition], bool]:
    return lambda condition: condition.corruption == name


def drifts_of(group: Group) -> list[Drift]:
    """The drift of each run of a report that lies beside its evaluation and is of the same weights."""
    found = []
    for run in group.runs:
        try:
            drift = read_drift(run.folder.resolve().parent / INSIDE)
        except BadValue as error:
            log.warning("%s", error)
            continue
        if drift is None or not any(condition != CLEAN for condition in drift.cells):
            continue
        if drift.card.get("weights_sha256") != run.card.get("weights_sha256"):
            log.warning("%s: its drift is of other weights and left out", run.name)
            continue
        found.append(Drift(run.name, drift.card, drift.cells))
    return found


def draw(group: Group) -> Figure | None:
    """The figure of a report, or None where no run has its drift beside it."""
    drifts = drifts_of(group)
    return by_layer(drifts) if drifts else None


def point(group: Group) -> str:
    """What it says."""
    return drift_point(drifts_of(group))
