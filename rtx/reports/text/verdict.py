"""How sure a statement is, and one sentence a model: how good, how sure, what breaks it and what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtx.corruptions import BENCHMARK
from rtx.reports.runs.groups import Group
from rtx.reports.runs.intervals import Quantity, Resamples, difference
from rtx.reports.runs.runs import Run
from rtx.reports.text.banners import missing_text
from rtx.reports.text.wording import corruption_name, dataset_name, interval_text, metric_name, percent, signed
from rtx.results.attack_text import eps_text
from rtx.results.intervals import Ends


@dataclass(frozen=True)
class Verdict:
    """The sentence, and the numbers in it for the eye.

    Attributes:
        name: the model.
        sentence: the verdict without the name.
        big: what is printed large: mPC, or what stands for it.
        big_label: what `big` is.
        baseline: whether the others are compared with it.
        incomplete: whether `big` is no mPC of the whole test set.
    """

    name: str
    sentence: str
    big: str
    big_label: str
    baseline: bool
    incomplete: bool


def gain(group: Group, run: Run) -> tuple[float, Ends | None] | None:
    """A run's mPC minus the baseline's with its paired interval; None where they must not be compared."""
    if run is group.baseline or run not in group.comparable or group.baseline not in group.complete:
        return None
    if run.preview != group.baseline.preview:
        return None
    change = run.summary.mPC - group.baseline.summary.mPC
    return change, difference(group.baseline.intervals, run.intervals, Resamples.mean)


def extremes(run: Run) -> tuple[tuple[str, float], tuple[str, float]] | None:
    """(best corruption, what it leaves of P), (worst corruption, ...); None unless at least two are complete."""
    there = {name: v for name in BENCHMARK if (v := run.corruption_ratio(name)) is not None}
    if len(there) < 2:
        return None
    best, worst = max(there, key=lambda n: there[n]), min(there, key=lambda n: there[n])
    return (best, there[best]), (worst, there[worst])


def verdict(group: Group, run: Run) -> Verdict:
    """The verdict on one run."""
    summary, name = run.summary, metric_name(run.metric)
    images = f"{run.n_images} images" if run.n_images else "number of images not stated"
    where = f"on {dataset_name(run.dataset)} ({images})"
    incomplete = not summary.complete or run.preview
    if run.clean_only:
        ends_of_p = interval_text(run.intervals.of("P"))
        text = f"clean {name} {percent(summary.P)} {ends_of_p} {where}; no corruption was asked for."
        return Verdict(run.name, text, percent(summary.P), "P, no mPC", run is group.baseline, True)
    if run.attacks:
        largest = run.attacks[-1]
        scores = [
            f"{percent(run.score(cell))} {interval_text(run.intervals.cell(cell))} at {eps_text(cell.key)}"
            for cell in run.attacks
        ]
        lead = "PREVIEW, " if run.preview else ""
        text = f"{lead}{name} under attack {where}: {', '.join(scores)}; clean {percent(summary.P)}."
        label = f"{'PREVIEW ' if run.preview else ''}at {eps_text(largest.key)}"
        return Verdict(run.name, text, percent(run.score(largest)), label, run is group.baseline, run.preview)
    if not summary.complete:
        mean = f"{summary.label} {percent(summary.mPC)}" if summary.cells else "no corrupted cell"
        text = f"INCOMPLETE {where}: {mean}, clean {name} {percent(summary.P)}; missing: {missing_text(run)}."
        return Verdict(run.name, text, percent(summary.mPC), "partial, no mPC", run is group.baseline, incomplete)
    lead = "PREVIEW, " if run.preview else ""
    sure = {key: run.intervals.of(key) for key in ("P", "mPC", "rPC")}
    parts = [
        f"{lead}mPC {percent(summary.mPC)} {interval_text(sure['mPC'])} {where}",
        f"{percent(summary.rPC)} % {_optional(sure['rPC'])}of its clean {name} of {percent(summary.P)} "
        f"{_optional(sure['P'])}".rstrip(),
    ]
    ends = extremes(run)
    if ends:
        (best, high), (worst, low) = ends
        parts.append(
            f"best under {corruption_name(best)} ({percent(high, 0)} % left), worst under "
            f"{corruption_name(worst)} ({percent(low, 0)} % left)"
        )
    found = gain(group, run)
    if found:
        change, spread = found
        doubt = ", so it may be chance"
        if spread is not None:
            doubt = "" if spread[0] > 0 or spread[1] < 0 else ", which includes no difference"
        against = f"{signed(change)} mPC against {group.baseline.name}"
        parts.append(f"{against} {interval_text(spread, sign=True)}{doubt}")
    label = "PREVIEW mPC" if run.preview else "mPC"
    return Verdict(run.name, "; ".join(parts) + ".", percent(summary.mPC), label, run is group.baseline, incomplete)


def _optional(interval: Ends | None) -> str:
    return f"{interval_text(interval)} " if interval else ""


CHANCE, BARE = "may be chance", "no interval"


def doubt(best: Run, others: Sequence[Run], read: Quantity = Resamples.mean) -> str:
    """What to say of a run that is called better than others: "" where every paired interval lies above 0.

    Args:
        best: the run with the largest value.
        others: whom it is compared with; itself among them does not matter.
        read: the value, e.g. `Resamples.mean`.

    Returns:
        "", "may be chance" (an interval reaches 0, or there are too few images to trust it) or "no interval".
    """
    spans = [difference(other.intervals, best.intervals, read) for other in others if other is not best]
    if any(span is None for span in spans):
        return BARE
    return CHANCE if (spans and best.tiny) or any(span and span[0] <= 0 for span in spans) else ""


def doubt_of_sign(run: Run, read: Quantity) -> str:
    """What to say of a value that is called positive or negative, as `doubt` does of a difference."""
    spread = run.intervals.read(read)
    if spread is None:
        return BARE
    return CHANCE if run.tiny or spread[0] <= 0 <= spread[1] else ""


def bracketed(words: str) -> str:
    """A doubt behind a sentence.

    Example:
        >>> bracketed("may be chance"), bracketed("")
        (' (may be chance)', '')
    """
    return f" ({words})" if words else ""
