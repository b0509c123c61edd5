"""The severity curve: the mean over the 15 corruptions from clean images to severity 5."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from rtx.reports.figures.style import DASHES, INK, RC, SOFT, looks, new_figure, spread, title
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import Run
from rtx.reports.text.verdict import bracketed, doubt
from rtx.reports.text.wording import metric_name, percent, shortened

LEVELS = (0, 1, 2, 3, 4, 5)
MOST_BANDS = 4


def drawn(group: Group) -> list[Run]:
    """Runs that have at least two points of the curve."""
    return [run for run in group.runs if len(points(run)) > 1]


def points(run: Run) -> list[tuple[int, float]]:
    """Severity and mean score, where the mean is defined."""
    values = ((level, run.severity_mean(level)) for level in LEVELS)
    return [(level, value) for level, value in values if value is not None]


def point(group: Group) -> str:
    """The main finding of the figure."""
    name = metric_name(group.metric)
    ends = [
        (run, p[0][1], p[-1][1])
        for run in group.claimed
        if len(p := points(run)) > 1 and p[0][0] == 0 and p[-1][0] == 5 and p[0][1]
    ]
    if not ends:
        return f"{name} by severity; the curve is not complete for any model"
    best = max(ends, key=lambda row: row[2] / row[1])
    worst = min(ends, key=lambda row: row[2] / row[1])
    kept = [percent(row[2] / row[1], 0) for row in (best, worst)]
    if len(ends) == 1:
        whose = f"{group.called(best[0])}: at" if len(group.runs) > 1 else "At"
        return f"{whose} severity 5, {kept[0]} % of the clean {name} is left ({percent(best[1])} → {percent(best[2])})"
    if kept[0] == kept[1]:
        return f"At severity 5, every model keeps about {kept[0]} % of its clean {name}"
    first, last = group.called(best[0]), group.called(worst[0])
    sure = bracketed(doubt(best[0], [worst[0]], lambda resamples: resamples.ratio(levels=LEVELS[-1:])))
    return f"At severity 5, {first} keeps {kept[0]} % of its clean {name}, {last} {kept[1]} %{sure}"


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, or None where no run has two points."""
    runs = drawn(group)
    if not runs:
        return None
    many = len(runs) > 8
    size = 5.0 if many else 5.8
    names = shortened([run.name for run in runs], 27)
    width = 0.3 + max(len(name) + 6 for name in names) * size * 0.62 / 72  # inches that lines and labels take
    figure = new_figure(max(2.35, 0.55 + 0.098 * len(runs)))
    right = 1 - min(width / figure.get_figwidth(), 0.5)
    bottom, top = 0.36 / figure.get_figheight(), 1 - 0.46 / figure.get_figheight()
    axes = figure.add_axes((0.105, bottom, right - 0.105 - 0.02, top - bottom))
    look = looks(len(group.runs))
    highest = max(value for run in runs for _, value in points(run))
    banded = group.standing_out(runs, MOST_BANDS)  # more would overlap
    tops = [span[1] for run in banded for x, _ in points(run) if (span := run.intervals.severity(x))]
    highest = max([highest, *tops])  # a cut band would look narrower than it is
    upper = 100 * highest * 1.06 or 1.0
    axes.set(xlim=(-0.12, 5.12), ylim=(0, upper), xticks=LEVELS, xlabel="severity (0 = clean)")
    axes.set_ylabel(f"mean {metric_name(group.metric)}, %")
    ends = []
    for run in runs:
        index = group.runs.index(run)
        xs, ys = zip(*points(run), strict=True)
        band = [(x, run.intervals.severity(x)) for x in xs if run in banded]
        spans = [(x, b[0], b[1]) for x, b in band if b]
        if len(spans) > 1:
            bx, low, high = zip(*spans, strict=True)
            below, above = [100 * v for v in low], [100 * v for v in high]
            axes.fill_between(bx, below, above, color=look[index]["color"], alpha=0.18, lw=0)
        style = DASHES[index // 3 % len(DASHES)] if many else DASHES[0]
        sizes: dict[str, Any] = dict(linewidth=0.8, markersize=2.0) if many else dict(linewidth=1.2, markersize=3)
        axes.plot(xs, [100 * y for y in ys], linestyle=style, clip_on=False, zorder=3, **sizes, **look[index])
        ends.append(100 * ys[-1])
    gap = size * 1.22 / 72 / (figure.get_figheight() * (top - bottom)) * upper
    for run, name, end, place in zip(runs, names, ends, spread(ends, gap, gap / 2, upper - gap / 2), strict=True):
        axes.plot([5.16, 5.5], [end, place], color=SOFT, linewidth=0.35, clip_on=False)
        axes.plot([5.62], [place], markersize=2.2, clip_on=False, **look[group.runs.index(run)])
        axes.text(5.76, place, f"{percent(end / 100)}  {name}", color=INK, fontsize=size, va="center", clip_on=False)
    title(axes, point(group))
    return figure
