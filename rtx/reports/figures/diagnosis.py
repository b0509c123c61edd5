"""Why the score falls: what the loss under each corruption consists of, and how far confidences are right."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rtx.metrics.error_names import TYPES, WORDS
from rtx.reports.figures.style import (
    INK,
    PAPER,
    RC,
    RULE,
    columns_for,
    legend,
    legend_height,
    looks,
    name_rows,
    new_figure,
    title,
    width_of,
)
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run
from rtx.reports.text.wording import corruption_name, percent, shortened
from rtx.results.command import read_commands, remedy
from rtx.results.folder import PREDICTIONS
from rtx.results.losses import MEAN, calibration_errors, error_losses, largest, sentence, undefined_reasons
from rtx.types import CLEAN

COLOURS = {
    "missed": "#2f3440",
    "background": "#8a6d9e",
    "localisation": "#4f7cac",
    "classification": "#c2703d",
    "both": "#e3b98f",
    "duplicate": "#b9c4a0",
}
"""From dark to light in the order in which bars are stacked; the colours of families stay free for these."""
MOST_BARS = 3
_TRUTH = {"coco": "--coco FILE", "voc": "--voc DIR", "accuracy": "--class-folders DIR"}


def losses_of(group: Group, run: Run) -> Mapping[str, Any] | None:
    """What a run's losses consist of, of masks where the headline is of masks, else of boxes; None where unknown."""
    found = error_losses(run.cells)
    kind = "segm" if group.metric.startswith("segm") else "bbox"
    mine: Mapping[str, Any] | None = found.get(kind)
    return mine if mine and mine["corruptions"] else None


def curve_of(group: Group, run: Run) -> tuple[str, dict[int, float]]:
    """Name of a run's calibration error, and its mean by severity; ("", {}) where it is not defined."""
    found = calibration_errors(run.cells)
    kind = "segm" if group.metric.startswith("segm") else next(iter(found), "")
    if kind not in found:
        return "", {}
    name = next((n for n, value in found[kind]["clean"].items() if value is not None), "")
    levels = {int(level): row.get(name) for level, row in found[kind]["severities"].items()}
    return name, {level: value for level, value in levels.items() if value is not None} if name else {}


def barred(group: Group) -> list[tuple[Run, Mapping[str, Any]]]:
    """The runs whose losses are drawn: of more than three that have any, the baseline, the best and the worst."""
    there = [run for run in group.runs if losses_of(group, run)]
    shown = group.standing_out(there, MOST_BARS) or there[:MOST_BARS]
    return [(run, losses) for run in shown if (losses := losses_of(group, run))]


def point(group: Group) -> str:
    """The main finding of the figure."""
    bars = barred(group)
    parts = []
    if len(bars) == 1:
        parts.append(sentence(bars[0][1]))
    elif bars:
        for run, losses in bars:
            row = losses["corruptions"].get(MEAN, {})
            if most := largest(row):
                share = f"{percent(most[1], 0)} % of {percent(row['loss'])} points"
                parts.append(f"{group.called(run, 24)}: {share} of AP50 lost are {WORDS[most[0]]}")
    curves = [(run, *curve_of(group, run)) for run in group.claimed]
    ends = [(name, levels[0], levels[5]) for _, name, levels in curves if 0 in levels and 5 in levels]
    if len(curves) == 1 and ends:
        name, first, last = ends[0]
        parts.append(f"{name} {percent(first)} → {percent(last)} at severity 5")
    text = "; ".join(filter(None, parts)) or "Nothing was lost that could be divided"
    return text[0].upper() + text[1:] if len(bars) < 2 else text


def lacking(group: Group) -> tuple[tuple[str, str, str], ...]:
    """Runs without error types or without a calibration error, why, and the command that adds them."""
    rows = []
    for run in group.runs:
        reasons = undefined_reasons(run.cells)
        detector = (run.card.get("metric") or {}).get("scorer") in ("coco", "voc")
        clean = run.cells.get(CLEAN)
        if clean is None or run.card.get("origin"):
            continue
        if not clean.diagnosis:
            what = "no error types and no calibration" if detector else "no calibration"
            rows.append((run.name, f"{what}: its cells are of an earlier rtx", _command(run)))
        elif reasons:
            rows.append((run.name, f"no calibration: {'; '.join(sorted(set(reasons.values())))}", ""))
    return tuple(rows)


def absent(group: Group) -> str:
    """Why there is no figure."""
    if all(run.card.get("origin") for run in group.runs):
        return "Imported results hold no error types and no confidences."
    return "No run here has error types or a calibration error in its clean and its corrupted cells."


def _command(run: Run) -> str:
    """What adds a diagnosis to an evaluation: scoring kept predictions, else evaluating again."""
    truth = _TRUTH.get((run.card.get("metric") or {}).get("scorer", ""))
    kept = run.folder / PREDICTIONS
    if truth and kept.is_dir():
        return f"rtx score {shlex.quote(str(kept))} {truth} --out {shlex.quote(str(run.folder))}"
    line = remedy(run.folder, run.card, BENCHMARK_CELLS)
    return f"{line} --overwrite" if read_commands(run.folder) else line


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure: bars where there are error types, lines where there are calibration errors; None without either."""
    bars = barred(group)
    curves = [(run, name, levels) for run in group.runs for name, levels in [curve_of(group, run)] if len(levels) > 1]
    if not bars and not curves:
        return None
    names = list(dict.fromkeys(name for _, losses in bars for name in losses["corruptions"]))
    names = [*(name for name in names if name != MEAN), *([MEAN] if MEAN in names else [])]
    head = 0.09 + 0.115 * (1 + len(point(group)) // 52)
    rows = 0.112 * len(names) + (0.68 if bars else 0)
    lines = 1.15 if curves else 0.0
    columns = columns_for([run.name for run in group.runs])
    foot = legend_height(len(group.runs), columns) + 0.04 if len(group.runs) > 1 and curves else 0.0
    height = head + rows + lines + foot
    figure = new_figure(height)
    if bars:
        box = (foot + lines + 0.48) / height, (0.112 * len(names)) / height
        _bars(figure, group, bars, names, *box)
        handles = [Patch(color=COLOURS[t]) for t in COLOURS]
        place = (0.5, (foot + lines) / height)
        words = [WORDS[t] for t in COLOURS]
        figure.legend(handles, words, loc="lower center", bbox_to_anchor=place, ncols=3, fontsize=5.2, **_TIGHT)
    if curves:
        _curves(figure, group, curves, (foot + 0.3) / height, (lines - 0.38) / height)
        if foot:
            look = looks(len(group.runs))
            marks = [Line2D([], [], markersize=3, **one) for one in look]
            legend(figure, marks, shortened([run.name for run in group.runs], 24 if columns == 3 else 36), columns)
    title(figure.axes[0], point(group))
    return figure


_TIGHT: dict[str, Any] = dict(columnspacing=1.0, labelspacing=0.25, borderpad=0.1, handlelength=0.9, handleheight=0.7)


def _bars(
    figure: Figure,
    group: Group,
    bars: list[tuple[Run, Mapping[str, Any]]],
    names: list[str],
    bottom: float,
    height: float,
) -> None:
    """One panel a run on one scale: the length is the loss, its parts are the shares."""
    words = [corruption_name(name) if name != MEAN else "all (mean)" for name in names]
    left, gap = 0.03 + width_of(words, 6.4), 0.04
    width = (0.985 - left - gap * (len(bars) - 1)) / len(bars)
    longest = max((100 * row["loss"] for _, losses in bars for row in losses["corruptions"].values()), default=1.0)
    for n, (run, losses) in enumerate(bars):
        axes = figure.add_axes((left + n * (width + gap), bottom, width, height))
        for y, name in enumerate(names):
            row = losses["corruptions"].get(name)
            if row is None:
                axes.text(0, y, " not evaluated", fontsize=5.0, va="center", color=INK)
                continue
            start = 0.0
            for kind in COLOURS if row["share"] else ():
                part = 100 * row["loss"] * row["share"][kind]
                axes.barh(y, part, 0.78, left=start, color=COLOURS[kind], edgecolor=PAPER, linewidth=0.25)
                start += part
            axes.text(start, y, f" {percent(row['loss'])}", fontsize=5.0, va="center", color=INK)
        if MEAN in names:
            axes.axhline(len(names) - 1.5, color=RULE, linewidth=0.5)
        axes.set(ylim=(len(names) - 0.45, -0.55), xlim=(0, max(longest, 1.0) * (1.12 + 0.08 * len(bars))))
        name_rows(axes, range(len(names)), words if n == 0 else [""] * len(names), 5.4)
        axes.tick_params(axis="x", labelsize=5.2, pad=1.5)
        axes.set_xlabel("points of AP50 lost" if len(bars) < 3 or n == 1 else "", fontsize=5.8, labelpad=1)
        if len(group.runs) > 1:
            axes.set_title(group.called(run, 40 // len(bars)), fontsize=5.8, fontweight="normal", loc="left", pad=2)


def _curves(
    figure: Figure, group: Group, curves: list[tuple[Run, str, dict[int, float]]], bottom: float, height: float
) -> None:
    """Calibration error by severity, one line a run."""
    axes = figure.add_axes((0.115, bottom, 0.865, height))
    look = looks(len(group.runs))
    top = max(100 * value for *_, levels in curves for value in levels.values())
    for run, _, levels in curves:
        xs = sorted(levels)
        axes.plot(xs, [100 * levels[x] for x in xs], clip_on=False, markersize=3, **look[group.runs.index(run)])
    name = " or ".join(dict.fromkeys(name for _, name, _ in curves))
    axes.set(xlim=(-0.12, 5.12), ylim=(0, max(1.12 * top, 1.0)), xticks=range(6))
    axes.set_xlabel("severity (0 = clean), mean over the 15 corruptions", fontsize=5.8, labelpad=1)
    axes.set_ylabel(f"{name}, %", fontsize=5.8)
    axes.tick_params(labelsize=5.2)


assert set(COLOURS) == set(TYPES), "every type has a colour"
