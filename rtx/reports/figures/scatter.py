"""Clean against corrupted score, with published detectors behind and the distance from their trend."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from rtx.reports.figures.style import RC, RULE, SOFT, looks, names_beside, new_figure, title, width_of
from rtx.reports.published import trend_points
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import Floats, Quantity, Resamples
from rtx.reports.runs.trend import Trend, residual, trend_of, why_none
from rtx.reports.text.verdict import bracketed, doubt, doubt_of_sign
from rtx.reports.text.wording import dataset_name, metric_name, percent, shortened, signed
from rtx.types import CLEAN


def background(group: Group) -> tuple[list[tuple[str, float, float]], bool]:
    """Published detectors to draw, and whether they are of the same test set and metric."""
    same = trend_points(group.dataset, group.metric)
    if same:
        return same, True
    is_box = group.metric.startswith("bbox")
    return trend_points("coco_val2017", "bbox_mAP") if is_box else [], False


def point(group: Group) -> str:
    """The main finding of the figure."""
    complete = [run for run in group.claimed if run.summary.complete]
    name = metric_name(group.metric)
    found = [(value, run) for run in group.claimed if (value := residual(group, run)) is not None]
    if found:
        value, run = max(found, key=lambda row: row[0])
        word = "above" if value > 0 else "below"
        lead = "" if len(found) == 1 else "Farthest up: "
        line = trend_of(group)
        sure = doubt(run, [other for _, other in found], _above(line)) or doubt_of_sign(run, _above(line))
        warn = [f"trend of only {len(line.points)}"] if line is not None and line.few else []
        warn += [sure] if sure else []
        text = f"{lead}{group.called(run)} lies {percent(abs(value))} {name} {word} the published trend"
        return f"{text}{bracketed(', '.join(warn))}"
    if not complete:
        return "Clean against corrupted score: no model has its whole grid"
    best = max(complete, key=lambda run: run.summary.mPC)
    first = max(complete, key=lambda run: run.summary.P)
    line = trend_of(group)
    if len(complete) == 1 and line is not None:
        return f"Clean against corrupted {name}; no distance from the published trend: {why_none(line, complete[0])}"
    if len(complete) == 1:
        return f"Clean against corrupted {name}; nothing comparable is published for this test set"
    text = f"{group.called(best)} is best under corruption"
    unsure, unsure_clean = doubt(best, complete), doubt(first, complete, lambda resamples: resamples.of(CLEAN))
    if best is not first:
        return f"{text}{bracketed(unsure)}, {group.called(first)} on clean images{bracketed(unsure_clean)}"
    apart = bracketed(unsure) if unsure != unsure_clean else ""
    return f"{text}{apart} and on clean images{bracketed(unsure_clean)}"


def _above(line: Trend | None) -> Quantity:
    """Reads the resampled distance from the trend."""

    def read(resamples: Resamples) -> Floats | None:
        corrupted, clean = resamples.mean(), resamples.of(CLEAN)
        if line is None or corrupted is None or clean is None:
            return None
        return corrupted - (line.slope * clean + line.offset)

    return read


def _paths(group: Group) -> dict[tuple[str, str], list[Any]]:
    """The complete runs between the same two models (`rtx weights interpolate`), by the share of the second."""
    paths: dict[tuple[str, str], list[Any]] = {}
    for run in sorted(group.complete, key=lambda run: (run.card.get("interpolation") or {}).get("alpha", 0)):
        if ends := run.card.get("interpolation"):
            paths.setdefault((ends["a_sha256"], ends["b_sha256"]), []).append(run)
    return paths


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, or None where no run is complete."""
    if not group.complete:
        return None
    behind, same = background(group)
    runs = group.complete
    size = 5.0 if len(runs) > 8 else 5.6
    figure = new_figure(max(2.8, 0.9 + 0.1 * len(runs)))
    height = figure.get_figheight()
    names = shortened([run.name for run in runs], 26)
    room = min(width_of(names, size, 11), 0.44)
    axes = figure.add_axes((0.115, 0.36 / height, 0.86 - room, 1 - 0.9 / height))
    xs = [100 * run.summary.P for run in runs]
    ys = [100 * run.summary.mPC for run in runs]
    bx, by = [100 * p for _, p, _ in behind], [100 * m for _, _, m in behind]
    every_x, every_y = (xs + bx, ys + by) if same or not behind else (xs, ys)
    line = trend_of(group)
    if line is not None:  # where a residual starts must be in the picture
        near = [100 * run.summary.P for run in runs if residual(group, run) is not None]
        every_y = every_y + [100 * (line.slope * x / 100 + line.offset) for x in near]
    # Intervals are drawn whole: a cut one would look narrower than it is.
    every_x = every_x + [100 * v for run in runs for v in run.intervals.of("P") or ()]
    every_y = every_y + [100 * v for run in runs for v in run.intervals.of("mPC") or ()]
    pad_x = max(0.12 * (max(every_x) - min(every_x)), 1.0)
    pad_y = max(0.12 * (max(every_y) - min(every_y)), 1.0)
    low_x, high_x = min(every_x) - pad_x, max(every_x) + pad_x
    low_y, high_y = max(min(every_y) - pad_y, -0.5), max(every_y) + pad_y
    axes.set(xlim=(low_x, high_x), ylim=(low_y, high_y))
    axes.locator_params(nbins=6, integer=high_y - low_y > 6)
    axes.set(xlabel=f"clean {metric_name(group.metric)} (P), %", ylabel="mPC, %")
    axes.plot([0, 100], [0, 100], color=RULE, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    if low_y < high_x and same:
        edge: dict[str, Any] = dict(markeredgecolor=SOFT, markeredgewidth=0.3)
        axes.plot(bx, by, linestyle="", marker="o", markersize=3.2, color=RULE, **edge)
    if line is not None:
        believed = [100 * p for p in line.reach]
        for ends, dashes in (((min(bx), max(bx)), "-"), (believed, (0, (1.5, 2)))):  # dotted where it is extrapolated
            heights = [100 * (line.slope * x / 100 + line.offset) for x in ends]
            axes.plot(ends, heights, color=SOFT, linewidth=0.8, linestyle=dashes, zorder=1)
    for between in _paths(group).values():  # from A to B, through the models that lie between them
        places = [(100 * run.summary.P, 100 * run.summary.mPC) for run in between]
        axes.plot(*zip(*places, strict=True), color=SOFT, linewidth=0.6, zorder=2)
    look = looks(len(group.runs))
    texts = []
    for run, name, x, y in zip(runs, names, xs, ys, strict=True):
        mark = look[group.runs.index(run)]
        for span, vertical in ((run.intervals.of("mPC"), True), (run.intervals.of("P"), False)):
            if span:
                ends = [100 * v for v in span]
                axes.plot(*(([x, x], ends) if vertical else (ends, [y, y])), color=mark["color"], linewidth=0.6)
        axes.plot([x], [y], linestyle="", markersize=4.2, zorder=4, **mark)
        value = residual(group, run)
        if value is not None and line is not None:
            axes.plot([x, x], [y, y - 100 * value], color=mark["color"], linewidth=0.7, linestyle=(0, (1, 1)))
        texts.append(name if value is None else f"{name}  {signed(value)}")
    names_beside(axes, xs, ys, texts, size)
    notes = []
    if same:
        rest = "line: their trend, as far as it reaches" if line is not None else "too few for a trend"
        notes.append(f"grey: {len(behind)} published, {dataset_name(group.dataset)}, BGR; {rest}")
    elif behind:
        notes.append("no published detector on this test set: no trend, no residual")
    figure.text(0.115, 1 - 0.52 / height, "; ".join(notes), fontsize=5, color=SOFT, va="bottom")
    title(axes, point(group))
    return figure
