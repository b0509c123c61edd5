"""Score under attack against the size of the perturbation."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from rtx.reports.figures.style import RC, looks, new_figure, title
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import Run
from rtx.reports.text.wording import metric_name, percent, shortened
from rtx.results.attack_text import eps_text
from rtx.types import CLEAN, THREATS, Condition


def threats(group: Group) -> list[str]:
    """The norms that the runs were attacked in, in the order of `rtx.types.THREATS`."""
    there = {condition.corruption for run in group.runs for condition in run.attacks}
    return [name for name in THREATS if name in there]


def points(run: Run, threat: str) -> list[tuple[float, Condition]]:
    """Eps and cell of a run in one norm, the clean images at 0; cells where the metric is undefined left out."""
    cells = [CLEAN, *(condition for condition in run.attacks if condition.corruption == threat)]
    return [(float(cell.severity), cell) for cell in cells if run.score(cell) is not None]


def point(group: Group) -> str:
    """The main finding of the figure."""
    shared = set.intersection(*(set(run.attacks) for run in group.runs))
    if not shared:
        return f"{metric_name(group.metric)} under attack; no eps is common to all models"
    largest = max(shared, key=lambda condition: (condition.corruption == threats(group)[0], condition.severity))
    scores = [(group.called(run), percent(run.score(largest)), percent(run.score(CLEAN))) for run in group.runs]
    found = [f"{name} {score} % (clean {clean})" for name, score, clean in scores]
    more = ", ..." if found[4:] else ""
    return f"{metric_name(group.metric)} at {eps_text(largest.key)}: {', '.join(found[:4])}{more}"


@mpl.rc_context(RC)
def draw(group: Group) -> Figure | None:
    """The figure, one panel for each norm, or None where nothing was attacked."""
    norms = threats(group)
    if not norms:
        return None
    figure = new_figure(2.6)
    panels = figure.subplots(1, len(norms), squeeze=False, sharey=True)[0]
    look, names = looks(len(group.runs)), shortened([run.name for run in group.runs], 27)
    for axes, norm in zip(panels, norms, strict=True):
        for index, run in enumerate(group.runs):
            row = points(run, norm)
            if len(row) < 2:
                continue
            scores = [100 * (run.score(cell) or 0.0) for _, cell in row]
            axes.plot([eps for eps, _ in row], scores, linewidth=1.2, markersize=3, label=names[index], **look[index])
            for (eps, cell), score in zip(row, scores, strict=True):
                span = run.intervals.cell(cell)
                if span:
                    ends = [[score - 100 * span[0]], [100 * span[1] - score]]
                    axes.errorbar([eps], [score], yerr=ends, linewidth=0.7, capsize=1.5, color=look[index]["color"])
        axes.set_xlabel(f"eps ({norm.capitalize()}, {THREATS[norm]})")
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel(f"{metric_name(group.metric)}, %")
    panels[-1].legend(frameon=False, fontsize=5.5)
    title(panels[0], point(group))
    figure.tight_layout(rect=(0, 0, 1, 0.86))
    return figure
