"""Whether a ranking says more than chance: what titles and verdicts add to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtx.reports.runs.groups import TINY
from rtx.reports.runs.intervals import Floats, Resamples, difference, interval
from rtx.reports.runs.runs import Run

CHANCE, BARE = "may be chance", "no interval"


def doubt(best: Run, others: Sequence[Run], read: Callable[[Resamples], Floats | None] = Resamples.mean) -> str:
    """The reservation for a run that is called better than others: "" where every paired interval lies above 0.

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
    few = best.n_images is not None and best.n_images < TINY
    return CHANCE if (spans and few) or any(span and span[0] <= 0 for span in spans) else ""


def doubt_of_sign(run: Run, read: Callable[[Resamples], Floats | None]) -> str:
    """The reservation for a value that is called positive or negative, as `doubt` gives for a difference."""
    spread = interval(read(run.intervals.resamples)) if run.intervals.resamples else None
    if spread is None:
        return BARE
    few = run.n_images is not None and run.n_images < TINY
    return CHANCE if few or spread[0] <= 0 <= spread[1] else ""


def bracketed(words: str) -> str:
    """A doubt behind a sentence.

    Example:
        >>> bracketed("may be chance"), bracketed("")
        (' (may be chance)', '')
    """
    return f" ({words})" if words else ""
