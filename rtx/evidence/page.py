"""The page that says which claims hold: a table, a figure, and each claim with what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

import matplotlib as mpl
from matplotlib.figure import Figure

from rtx.evidence.claim import AGREES, CANNOT_TELL, DISAGREES, OVER_SEEDS, Estimate, Finding, verdict_of
from rtx.evidence.kept import Measured
from rtx.reports.figures.style import INK, RC, RULE, SOFT, new_figure, title
from rtx.reports.published import PAPERS

FIGURE = "evidence.png"
_OWN = "Questions of our own"
_WIDTH = 74
"""Characters that fit beside each other in the figure."""
_COLOURS = {AGREES: "#009e73", DISAGREES: "#d55e00", CANNOT_TELL: SOFT}


def page(experiments: Sequence[Measured], *, command: str, figure: str) -> str:
    """The page as Markdown.

    Args:
        experiments: in the order in which their findings are shown within their papers.
        command: what wrote it.
        figure: path of the figure, as the page links it.
    """
    findings = [finding for one in experiments for finding in one.findings]
    count = Counter(finding.verdict for finding in findings)
    lines = [
        "# Evidence",
        "",
        f"Written by `{command}` from its result files; not edited by hand.",
        "",
        f"{len(findings)} claims: {count[AGREES]} agree, {count[DISAGREES]} disagree, of {count[CANNOT_TELL]} these "
        "data cannot tell. A claim agrees if the 95 % interval of what was measured lies on its side of zero, and "
        "disagrees if it lies on the other side. Intervals over seeds hold the draw of training images and "
        "initialisation (Student's t, paired by seed) and the test images as they are; intervals over images hold the "
        "draw of the test images (bootstrap, paired by image) and the trained networks as they are; none holds what "
        "another training of the sources would change. No correction is made for their number.",
        "",
        f"![Every measured difference with its 95 % interval]({figure})",
        "",
        "| claim | found here | verdict |",
        "|---|---|---|",
        *(f"| [{f.claim.claim}](#{f.claim.name}) | {short(f)} | **{f.verdict}** |" for f in findings),
        "",
    ]
    for paper in dict.fromkeys(finding.claim.paper for finding in findings):
        lines += [f"## {PAPERS[paper].citation if paper else _OWN}", ""]
        for finding in (one for one in findings if one.claim.paper == paper):
            lines += [*section(finding), ""]
    models = sum(one.models for one in experiments)
    lines += ["## What was measured", ""]
    lines += [
        f"{models:,} models, {took(experiments)}, evaluations included. Means over seeds, %.",
        "",
    ]
    for one in experiments:
        title = f"{one.title[:1].upper()}{one.title[1:]}"
        lines += [f"{title} (`rtx experiments run {one.name}`, {one.date}, {one.models:,} models, {took([one])}):", ""]
        lines += [*one.scores, ""]
    return "\n".join(lines)


def took(experiments: Sequence[Measured]) -> str:
    """Minutes by the clock, added up over workers, and of the processor, where they are known.

    Example:
        >>> took([Measured("a", "", "", (), seconds=240, processor_seconds=420)] * 2)
        '8 minutes, 14 of the processor'
    """
    clock = f"{sum(one.seconds for one in experiments) / 60:,.0f} minutes"
    known = [one.processor_seconds for one in experiments if one.processor_seconds is not None]
    if not known:
        return clock
    of = "" if len(known) == len(experiments) else " where that was measured"
    return f"{clock}, {sum(known) / 60:,.0f} of the processor{of}"


def section(finding: Finding) -> list[str]:
    """One claim."""
    claim = finding.claim
    lines = [f'### <a id="{claim.name}"></a>{claim.claim}', ""]
    place = f" ({claim.place})" if claim.place else ""
    lines += [f"Paper{place}: {claim.found}." if claim.paper else f"Expected: {claim.found}.", ""]
    what = {"P": "clean score", "mPC": "mPC", "drop": "drop, 1 - mPC / P,"}[claim.quantity.partition(":")[0]]
    family = claim.quantity.partition(":")[2]
    what += f" under {family}" if family else ""
    if finding.estimates:
        over = finding.estimates[0].over
        lines += [f"| {', '.join(claim.by) if over == OVER_SEEDS else 'runs'} | difference of the {what}, points | "
                  f"95 % interval | {over} |", "|---|---|---|---|"]  # fmt: skip
        lines += [f"| {e.name or 'all'} | {points(e.value)} | {ends(e)} | {e.n} |" for e in finding.estimates]
        lines.append("")
    if finding.text:
        lines += [f"{finding.text[0].upper()}{finding.text[1:]}.", ""]
    minutes = f", {finding.seconds / 60:,.1f} minutes" if finding.seconds else ""
    command = f", by `{finding.command}`" if finding.command else ""
    lines.append(f"**{finding.verdict.capitalize()}**{power(finding)} ({finding.models} models{minutes}{command}).")
    return lines


def power(finding: Finding) -> str:
    """What would tell, where nothing was told."""
    if finding.verdict != CANNOT_TELL or not finding.estimates:
        return ""
    first = finding.estimates[0]
    needed = first.needed()
    if first.ends is None:
        return f": of {first.n} {first.over} there is no interval"
    if needed is None:
        return ": no difference was found that more repetitions could confirm"
    return f": if the difference were {points(first.value)} points, about {needed:,} {first.over} would tell"


def short(finding: Finding) -> str:
    """The finding in a cell of a table."""
    if not finding.estimates:
        return finding.text
    first = finding.estimates[0]
    return f"{points(first.value)} {ends(first)} points, {first.n} {first.over}"


def points(value: float) -> str:
    """A fraction as signed points."""
    return f"{100 * value:+.1f}".replace("-", "−")  # noqa: RUF001


def ends(estimate: Estimate) -> str:
    """The interval in points."""
    return "-" if estimate.ends is None else f"[{points(estimate.ends[0])}, {points(estimate.ends[1])}]"


@mpl.rc_context(RC)
def draw(findings: Sequence[Finding]) -> Figure:
    """Every estimate with its interval, a row each, the mean of several first, in the colour of what it says itself."""
    rows: list[tuple[str, Estimate | None, str]] = []
    for finding in findings:
        if finding.estimates:
            rows += [(line, None, "") for line in wrap(finding.claim.claim, _WIDTH)]
            rows += [(e.name or "all", e, verdict_of(e, finding.claim.expect)) for e in finding.estimates]
    figure = new_figure(0.5 + 0.13 * max(len(rows), 4))
    height = figure.get_figheight()
    axes = figure.add_axes((0.3, 0.3 / height, 0.66, 1 - 0.55 / height))
    axes.axvline(0, color=INK, linewidth=0.6)
    for y, (name, estimate, verdict) in enumerate(rows):
        if estimate is None:
            axes.text(-0.44, y, name, transform=axes.get_yaxis_transform(), va="center", fontsize=5.4, weight="bold")
            continue
        colour = _COLOURS[verdict]
        axes.text(-0.02, y, name, transform=axes.get_yaxis_transform(), va="center", ha="right", fontsize=5)
        if estimate.ends is not None:
            axes.plot([100 * end for end in estimate.ends], [y, y], color=colour, linewidth=1.4)
        axes.plot([100 * estimate.value], [y], marker="o", markersize=2.6, color=colour)
    axes.set(ylim=(len(rows) - 0.4, -0.8), yticks=[], xlabel="difference, points")
    axes.grid(axis="x", color=RULE)
    axes.spines["left"].set_visible(False)
    title(axes, "What was claimed to differ, with 95 % intervals")
    return figure
