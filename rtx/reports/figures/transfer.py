"""Transfer views: score and drop against the source's eps, and the source axis against the target axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from rtx.reports.groups import Group
from rtx.reports.intervals import Interval
from rtx.reports.published import sources
from rtx.reports.runs import Run
from rtx.reports.style import DASHES, INK, MARKERS, PAPER, RC, RULE, SOFT, model_colours, new_figure, spread, title
from rtx.reports.wording import metric_name, percent, shortened

MOST_BANDS = 2
MODE_ORDER = ("fixed", "full", "full_strict")


@dataclass(frozen=True)
class Line:
    """Runs that differ in eps only.

    Attributes:
        mode: transfer mode; with the model where the lines of a figure are not of one model.
        norm: `l2` or `linf`.
        runs: in order of eps, at most one for each.
    """

    mode: str
    norm: str
    runs: tuple[Run, ...]


def eps_lines(group: Group) -> list[Line]:
    """Complete, comparable runs by transfer mode and norm, where at least two radii are there.

    A source trained without adversary stands at eps 0 of every norm.
    """
    found: dict[tuple[str, str, str, str], dict[float, Run]] = {}
    runs = [run for run in group.comparable if run.source.eps is not None and not run.preview]
    norms = sorted({run.source.norm for run in runs if run.source.norm})
    for run in runs:
        for norm in [run.source.norm] if run.source.norm else norms:
            key = (run.transfer, str(norm), run.source.arch, run.method)
            # Two standard sources (in1k_v1 and l2_eps0) both stand at 0; the one of the same recipe is the fair one.
            row = found.setdefault(key, {})
            if float(run.source.eps or 0) not in row or run.source.norm:
                row[float(run.source.eps or 0)] = run
    kept = {key: row for key, row in found.items() if len(row) > 1}
    # Lines of unlike models say so: between them lies more than the transfer.
    several = [len({key[place] for key in kept}) > 1 for place in (3, 2)]
    lines = [
        Line(_line_name(mode, (method, arch), several), norm, tuple(row[eps] for eps in sorted(row)))
        for (mode, norm, arch, method), row in kept.items()
    ]
    return sorted(lines, key=lambda line: (line.norm, _rank(line.mode), line.mode))


def source_axis(group: Group) -> list[tuple[Run, float]]:
    """Runs whose source has a published mean accuracy on ImageNet-C, as (run, that accuracy)."""
    known = sources.corrupted_top1()
    found = []
    for run in group.comparable:
        recipe = "in1k" if run.source.recipe.startswith("in1k") else run.source.recipe
        if recipe in known and run.source.arch == "resnet50" and not run.preview:
            found.append((run, known[recipe]))
    return found


def eps_point(group: Group) -> str:
    """What the figure of eps says."""
    lines = eps_lines(group)
    if len(lines) > MOST_BANDS:
        best_at = [max(line.runs, key=lambda run: run.summary.mPC).source.eps or 0.0 for line in lines]
        eps = max(sorted(set(best_at)), key=best_at.count)
        return f"mPC is highest at eps {eps:g} in {best_at.count(eps)} of {len(lines)} transfers"
    parts = []
    for line in lines:
        best = max(line.runs, key=lambda run: run.summary.mPC)
        value = percent(best.summary.mPC)
        parts.append(f"{line.mode}: mPC highest at eps {best.source.eps:g} ({value})")
    return "; ".join(parts)


def axis_point(group: Group) -> str:
    """What the figure of the two axes says."""
    pairs = source_axis(group)
    if len(pairs) < 3:
        return "Source robustness against target robustness"
    first = max(pairs, key=lambda row: row[1])[0]
    best = max(pairs, key=lambda row: row[0].summary.rPC)[0]
    if first is best:
        return f"{group.called(best)} is the most robust on ImageNet-C and on the target"
    return f"Most robust source: {group.called(first)}; most robust on the target: {group.called(best)}"


def eps_colours(group: Group) -> int:
    """How many colours the figure of eps has: one for each transfer."""
    return max(2, len({line.mode for line in eps_lines(group)}))


def axis_colours(group: Group) -> int:
    """How many colours the figure of the two axes has: one for each transfer mode."""
    return max(2, len({run.transfer for run, _ in source_axis(group)}))


def draw_eps(group: Group) -> Figure | None:
    """Score (clean and corrupted) and drop against eps, or None where no two radii can be compared."""
    lines = eps_lines(group)
    if not lines:
        return None
    with mpl.rc_context(RC):
        return _eps_figure(group, lines)


def _eps_figure(group: Group, lines: Sequence[Line]) -> Figure:
    norms = list(dict.fromkeys(line.norm for line in lines))
    row = 1.55
    modes = list(dict.fromkeys(line.mode for line in sorted(lines, key=lambda li: _rank(li.mode))))
    columns = len(modes) + 2 if sum(map(len, modes)) < 32 else 2
    foot = 0.1 + 0.1 * -(-(len(modes) + 2) // columns)
    height = 0.42 + row * len(norms) + foot
    figure = new_figure(height)
    colours = dict(zip(modes, model_colours(eps_colours(group)), strict=False))
    for number, norm in enumerate(norms):
        bottom = (foot + row * (len(norms) - 1 - number) + 0.36) / height
        size = (row - 0.5) / height
        left = figure.add_axes((0.1, bottom, 0.38, size))
        right = figure.add_axes((0.6, bottom, 0.385, size))
        mine = [line for line in lines if line.norm == norm]
        floor = min(run.source.eps for line in mine for run in line.runs if run.source.eps) / 3.0
        ticks = sorted({run.source.eps or 0.0 for line in mine for run in line.runs})
        bands = len(mine) <= MOST_BANDS  # of more, none could be told from another
        for line in mine:
            xs = [max(run.source.eps or 0.0, floor) for run in line.runs]
            colour, marker = colours[line.mode], MARKERS[modes.index(line.mode) % len(MARKERS)]
            clean = [100 * run.summary.P for run in line.runs]
            spans = [run.intervals.of("P") for run in line.runs]
            _with_band(left, xs, clean, spans, colour, marker, DASHES[1], hollow=True, bands=bands)
            corrupted = [100 * run.summary.mPC for run in line.runs]
            _with_band(
                left, xs, corrupted, [run.intervals.of("mPC") for run in line.runs], colour, marker, "-", bands=bands
            )
            drops = [100 * run.summary.drop for run in line.runs]
            spans = [(1 - s[1], 1 - s[0]) if (s := run.intervals.of("rPC")) else None for run in line.runs]
            _with_band(right, xs, drops, spans, colour, marker, "-", bands=bands)
        unit = "" if norm == "l2" else "/255"
        for axes, text in ((left, f"{metric_name(group.metric)}, %"), (right, "drop, % of P")):
            axes.set_xscale("log")
            axes.set_xticks([max(t, floor) for t in ticks], [f"{t:g}" if t else "0" for t in ticks], fontsize=5)
            axes.minorticks_off()
            axes.set_xlabel(
                f"eps of the source, {norm.upper() if norm == 'l2' else 'Linf'}{unit} (0: standard)", fontsize=5.6
            )
            axes.set_ylabel(text)
            axes.set_ylim(0, axes.get_ylim()[1] * 1.04)
    _eps_legend(figure, modes, colours, columns)
    title(figure.axes[0], eps_point(group))
    return figure


def _with_band(
    axes: Any,
    xs: list[float],
    ys: list[float],
    spans: Sequence[Interval | None],
    colour: str,
    marker: str,
    dashes: Any,
    *,
    hollow: bool = False,
    bands: bool,
) -> None:
    if all(spans) and bands:
        low, high = zip(*((100 * s[0], 100 * s[1]) for s in spans if s), strict=True)
        axes.fill_between(xs, low, high, color=colour, alpha=0.16, lw=0)
    face = PAPER if hollow else colour
    axes.plot(xs, ys, color=colour, marker=marker, markersize=3, markerfacecolor=face, linestyle=dashes, linewidth=1)


def _eps_legend(figure: Figure, modes: list[str], colours: dict[str, str], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colours[m], marker=MARKERS[i % len(MARKERS)]) for i, m in enumerate(modes)]
    handles += [Line2D([], [], color=SOFT, marker="o", markersize=3, markerfacecolor=PAPER, linestyle=DASHES[1])]
    handles += [Line2D([], [], color=SOFT, marker="o", markersize=3)]
    figure.legend(
        handles,
        [*modes, "clean (P)", "corrupted (mPC)"],
        loc="lower center",
        ncols=columns,
        fontsize=5.4,
        handlelength=2,
        columnspacing=1.1,
        borderpad=0,
    )


def draw_axes(group: Group) -> Figure | None:
    """Robustness on the source's task against robustness on the target, or None for fewer than two known sources."""
    pairs = source_axis(group)
    if len({value for _, value in pairs}) < 2:
        return None
    with mpl.rc_context(RC):
        return _axes_figure(group, pairs)


def _axes_figure(group: Group, pairs: Sequence[tuple[Run, float]]) -> Figure:
    height = max(2.4, 0.9 + 0.1 * len(pairs))
    figure = new_figure(height)
    names = shortened([run.name for run, _ in pairs], 26)
    room = min((max(len(n) for n in names) + 2) * 5.4 * 0.6 / 72 / 3.4, 0.42)
    axes = figure.add_axes((0.105, 0.36 / height, 0.87 - room, 1 - 0.8 / height))
    xs, ys = [100 * value for _, value in pairs], [100 * run.summary.rPC for run, _ in pairs]
    pad_x, pad_y = max(0.1 * (max(xs) - min(xs)), 1), max(0.12 * (max(ys) - min(ys)), 1)
    axes.set(xlim=(min(xs) - pad_x, max(xs) + pad_x), ylim=(min(ys) - pad_y, max(ys) + pad_y))
    axes.set(xlabel="source: top-1 on ImageNet-C, % (published, ResNet-50)", ylabel="target: rPC, %")
    low, high = axes.get_ylim()
    gap = 5.4 * 1.3 / 72 / (height - 0.8) * (high - low)
    edge = axes.get_xlim()[1]
    modes = sorted({run.transfer for run, _ in pairs}, key=_rank)
    colours = dict(zip(modes, model_colours(axis_colours(group)), strict=False))
    for (run, _), name, x, y, place in zip(
        pairs, names, xs, ys, spread(ys, gap, low + gap / 2, high - gap / 2), strict=True
    ):
        marker = MARKERS[modes.index(run.transfer) % len(MARKERS)]
        span = run.intervals.of("rPC")
        if span:
            axes.plot([x, x], [100 * v for v in span], color=colours[run.transfer], linewidth=0.7)
        axes.plot([x], [y], linestyle="", marker=marker, markersize=4.5, color=colours[run.transfer], zorder=3)
        axes.plot([x, edge, edge * 1.005], [y, place, place], color=RULE, linewidth=0.35, clip_on=False, zorder=0)
        axes.text(edge * 1.008, place, name, va="center", fontsize=5.4, color=INK, clip_on=False)
    title(axes, axis_point(group))
    return figure


def _line_name(mode: str, model: tuple[str, str], several: Sequence[bool]) -> str:
    parts = [part for part, told in zip(model, several, strict=True) if told]
    return f"{mode} ({', '.join(parts)})" if parts else mode


def _rank(mode: str) -> int:
    plain = mode.partition(" (")[0]
    return MODE_ORDER.index(plain) if plain in MODE_ORDER else len(MODE_ORDER)
