"""What is written once all cells are there: scores by class, examples, the summary, its intervals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rtx.errors import RtxError
from rtx.evaluation.by_class import write_classes
from rtx.evaluation.examples import write_examples
from rtx.evaluation.forward import Job
from rtx.evaluation.runs import add_confidence, read_run
from rtx.evaluation.scores import Cell
from rtx.evaluation.summary import write_summary
from rtx.types import Condition

log = logging.getLogger(__name__)


def complete(
    job: Job, conditions: Sequence[Condition], cells: dict[Condition, Cell], *, rank: int = 0, resamples: int = 0
) -> dict[str, Any]:
    """Write what is made of the cells, and return the summary.

    Every process writes the same summary, so that it does not matter which of them live to see the end; what takes
    longer is the first rank's.

    Args:
        job: what was evaluated.
        conditions: the cells that were wanted.
        cells: all of them.
        rank: of this process.
        resamples: resamplings of the images for intervals; 0 for none.

    Raises:
        OutputError: the folder cannot be written.
    """
    headline = job.scorer.headline
    card, _ = read_run(job.out)  # the folder's, since the processes may run on different devices
    if rank == 0:
        names = (getattr(job.dataset, "metainfo", None) or {}).get("classes") or ()
        write_classes(job.out, cells, headline, card, names)
        if job.keep_predictions:
            write_examples(job.out, job.dataset, job.indices, conditions)
    summary = write_summary(job.out, cells, headline, card)
    if resamples and rank == 0:
        log.info("resampling the images %d times for intervals", resamples)
        try:
            summary |= add_confidence(job.out, summary, resamples=resamples)
        except RtxError as error:
            log.warning("no intervals: %s", error)
    return summary
