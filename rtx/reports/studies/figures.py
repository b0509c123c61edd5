"""Figures of a study: score by size of the training set, by epoch, and by eps, one panel for each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rtx.datasets.classification import TARGETS
from rtx.reports.figures.style import COLUMN, RC, SOFT, legend, looks, new_figure, title
from rtx.reports.runs.naming import SourceName
from rtx.reports.studies.order import size_name, sizes_of, sources_of, target_name, targets_of
from rtx.reports.studies.rows import Setting, Study
from rtx.reports.studies.salman import EpsCurve, by_eps
from rtx.reports.studies.utrera import References, curves_of, groups_of
from rtx.reports.text.wording import shortened
from rtx.results.over_seeds import Scores, Spread, paired, spread
from rtx.results.studies import curve_difference, degrees, learning_curve

Line = Mapping[Any, Spread]
MOST_LINES = 12
_DASHES = (0, (3, 1.5))


@dataclass(frozen=True)
class Pair:
    """Two figures side by side: scores of two sources, and their difference, a line for each target.

    Attributes:
        name: file name without ending.
        heading: what it shows.
        label: of the horizontal axis.
        source: solid lines.
        reference: dashed lines.
        scores: target -> (of the source, of the reference).
        gains: target -> source minus reference.
        logarithmic: whether the horizontal axis is.
    """

    name: str
    heading: str
    label: str
    source: SourceName
    reference: SourceName
    scores: Mapping[str, tuple[Line, Line]]
    gains: Mapping[str, Line]
    logarithmic: bool


def by_size(study: Study, reference: References) -> list[Pair]:
    """Figure 2 of Utrera et al.: for each source and its reference, scores by size, where there are two or more."""
    found: list[Pair] = []
    for (transfer, view, training), part in groups_of(study):
        for source in sources_of(part):
            other = reference(source)
            if other is None or other == source:
                continue
            scores, gains = {}, {}
            for target in targets_of(part):
                mine, theirs = (_sizes(part, one, target) for one in (source, other))
                both = {
                    n: paired(mine[n], theirs[n]).difference for n in mine if mine[n].keys() & theirs.get(n, {}).keys()
                }
                if len(both) > 1:
                    scores[target] = (_spreads(mine, both), _spreads(theirs, both))
                    gains[target] = both
            if gains:
                heading = f"{source.text} against {other.text}: {transfer}, {training}{f', {view}' if view else ''}"
                name = f"by_size_{len(found) + 1}"
                found.append(Pair(name, heading, "training images", source, other, scores, gains, True))
    return found


def _sizes(part: Mapping[Setting, Scores], source: SourceName, target: str) -> dict[int, Scores]:
    """Images -> scores; all images stand at the size of the published training set, or are left out; a part's are."""
    found: dict[int, Scores] = {}
    for s, scores in part.items():
        size = s.images or (None if s.partial else TARGETS[target].train)
        if (s.source, s.target) == (source, target) and size is not None:
            found[size] = scores
    return dict(sorted(found.items()))


def _spreads(scores: Mapping[int, Scores], wanted: Line) -> Line:
    return {n: spread(scores[n]) for n in wanted}


def by_epoch(study: Study, reference: References) -> list[Pair]:
    """Figure 3 of Utrera et al.: for each source, its reference and a size, scores by epoch."""
    found: list[Pair] = []
    for (transfer, _, training), part in groups_of(study):
        for source in sources_of(part):
            other = reference(source)
            if other is None or other == source:
                continue
            for size in _of_figure_3(sizes_of(part)):
                scores, gains = {}, {}
                for s in part:
                    mine = study.epochs.get(s, {})
                    theirs = curves_of(study, s, other)
                    if (s.source, s.images) != (source, size) or not mine.keys() & theirs.keys():
                        continue
                    change = curve_difference(mine, theirs)
                    if len(change) > 1:
                        scores[s.target] = (learning_curve(mine), learning_curve(theirs))
                        gains[s.target] = change
                if gains:
                    heading = f"{source.text} against {other.text}: {size_name(size)} images, {transfer}, {training}"
                    name = f"by_epoch_{len(found) + 1}"
                    found.append(Pair(name, heading, "epoch", source, other, scores, gains, False))
    return found


def _of_figure_3(sizes: Sequence[int | None]) -> list[int | None]:
    """The sizes of Figures 3 and 10; of another study the largest three."""
    return [size for size in sizes if size in (800, 3200, 12_800)] or list(sizes)[-3:]


@mpl.rc_context(RC)
def draw_pair(pair: Pair) -> Figure:
    """Scores on the left, the difference with its bootstrapped 95 % interval over seeds on the right."""
    targets = list(pair.gains)
    columns = 3
    foot = (0.44 if pair.logarithmic else 0.34) + 0.11 * -(-(len(targets) + 2) // columns)
    figure = new_figure(1.75 + foot, width=2 * COLUMN)
    bottom, height = foot / figure.get_figheight(), 1.3 / figure.get_figheight()
    left = figure.add_axes((0.065, bottom, 0.41, height))
    right = figure.add_axes((0.56, bottom, 0.42, height))
    for target, look in zip(targets, looks(len(targets)), strict=True):
        for line, dashes in zip(pair.scores[target], ("-", _DASHES), strict=True):
            _draw(left, line, {**look, "linestyle": dashes})
        _draw(right, pair.gains[target], look)
    right.axhline(0, color=SOFT, linewidth=0.6)
    for axes, text in ((left, "score, %"), (right, "difference, points")):
        axes.set(xlabel=pair.label, ylabel=text)
        if pair.logarithmic:
            ticks = sorted({n for line in pair.gains.values() for n in line if n <= 25_600 or len(line) < 3})
            axes.set_xscale("log")
            axes.set_xticks(ticks, [f"{n:,}" for n in ticks], fontsize=4.6, rotation=30)
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    source, reference = shortened([pair.source.text, pair.reference.text], 30)
    names = [*map(target_name, targets), source, f"{reference} (dashed)"]
    handles = [Line2D([], [], **look) for look in looks(len(targets))]
    handles += [Line2D([], [], color=SOFT), Line2D([], [], color=SOFT, linestyle=_DASHES)]
    legend(figure, handles, names, columns)
    title(left, pair.heading, 110)
    return figure


def _draw(axes: Any, line: Line, look: Mapping[str, Any]) -> None:
    xs = sorted(line)
    axes.plot(xs, [100 * line[x].mean for x in xs], markersize=2.2, linewidth=0.9, **look)
    spans = [(x, ends) for x in xs if (ends := line[x].bootstrap)]
    if len(spans) > 1:
        low, high = ([100 * ends[side] for _, ends in spans] for side in (0, 1))
        axes.fill_between([x for x, _ in spans], low, high, color=look["color"], alpha=0.15, lw=0)


@mpl.rc_context(RC)
def draw_eps(study: Study, transfer: str) -> Figure | None:
    """Score against the eps of L2 sources, a panel for each target and a line for each architecture (Figures 5 to 7).

    Bars run from the lowest to the highest seed. None where no line has two points.
    """
    lines = [(key, found) for key, found in by_eps(study) if key.transfer == transfer]
    if not lines:
        return None
    targets = list(dict.fromkeys(key.target for key, _ in lines))
    labels = list(dict.fromkeys(_line_name(key) for key, _ in lines))[:MOST_LINES]
    across = min(4, len(targets))
    down = -(-len(targets) // across)
    foot = 0.42 + 0.11 * -(-len(labels) // 3)
    figure = new_figure(1.05 * down + foot + 0.3, width=2 * COLUMN)
    grid = figure.subplots(down, across, squeeze=False, sharex=True)
    total = figure.get_figheight()
    figure.subplots_adjust(left=0.06, right=0.99, top=1 - 0.42 / total, bottom=foot / total, hspace=0.35, wspace=0.25)
    radii = sorted({eps for _, found in lines for eps in found})
    floor = min(eps for eps in radii if eps) / 3
    look = dict(zip(labels, looks(len(labels)), strict=True))
    for place, target in enumerate(targets):
        axes = grid[place // across][place % across]
        axes.set_title(target_name(target), fontsize=6)
        for key, found in lines:
            if key.target == target and _line_name(key) in look:
                spreads = [spread(scores, resamples=0) for scores in found.values()]
                means = [100 * s.mean for s in spreads]
                reach = [[100 * (s.mean - s.lowest) for s in spreads], [100 * (s.highest - s.mean) for s in spreads]]
                xs = [max(eps, floor) for eps in found]
                axes.errorbar(xs, means, reach, markersize=2.2, linewidth=0.8, elinewidth=0.5, **look[_line_name(key)])
        axes.set_xscale("log")
        axes.set_xticks([max(eps, floor) for eps in radii], [f"{eps:g}" for eps in radii], fontsize=4.2, rotation=45)
        axes.minorticks_off()
    for axes in grid.flat[len(targets) :]:
        axes.set_visible(False)
    legend(figure, [Line2D([], [], **look[name]) for name in labels], shortened(labels, 34), 3)
    title(
        grid[0][0], f"Score (%) by eps of the source (L2; 0: standard), {transfer}; bars: lowest to highest seed", 110
    )
    return figure


@mpl.rc_context(RC)
def draw_degree(study: Study) -> Figure | None:
    """P, mPC and what corruptions take, by learning rate: Figure 5 of Yamada & Otani; None without two rates."""
    lines = {
        f"{s.source.text}, {target_name(s.target)}, {size_name(s.images)}, {s.transfer}": degrees(runs)
        for s, runs in study.rates.items()
        if len(runs) > 1
    }
    lines = dict(list(lines.items())[:MOST_LINES])
    if not lines:
        return None
    foot = 0.44 + 0.11 * (2 + len(lines))
    figure = new_figure(1.75 + foot, width=2 * COLUMN)
    bottom, height = foot / figure.get_figheight(), 1.3 / figure.get_figheight()
    left = figure.add_axes((0.065, bottom, 0.41, height))
    right = figure.add_axes((0.56, bottom, 0.42, height))
    for found, look in zip(lines.values(), looks(len(lines)), strict=True):
        _draw(left, {one.rate: one.clean for one in found}, {**look, "linestyle": "-"})
        _draw(left, {one.rate: one.corrupted for one in found}, {**look, "linestyle": _DASHES})
        _draw(right, {one.rate: one.drop for one in found}, look)
    rates = sorted({one.rate for found in lines.values() for one in found})
    for axes, text in ((left, "score, %"), (right, "1 − mPC / P, %")):  # noqa: RUF001
        axes.set(xlabel="learning rate", ylabel=text, xscale="log")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
    handles = [Line2D([], [], **look) for look in looks(len(lines))]
    handles += [Line2D([], [], color=SOFT), Line2D([], [], color=SOFT, linestyle=_DASHES)]
    legend(figure, handles, [*shortened(list(lines), 90), "P", "mPC (dashed)"], 1)
    title(left, "Degree of fine-tuning: scores, and the share that corruptions take, by learning rate", 110)
    return figure


def _line_name(line: EpsCurve) -> str:
    return ", ".join(filter(None, (line.arch, line.training, line.view)))
