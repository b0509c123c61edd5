"""What is written once all cells are there: scores by class, examples, the summary, its intervals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rtx.errors import BadValue, MissingConditions
from rtx.evaluation.by_class import write_classes
from rtx.evaluation.examples import write_examples
from rtx.evaluation.forward import Job
from rtx.evaluation.runs import add_confidence, read_run
from rtx.evaluation.scores import Cell, protocol_key
from rtx.evaluation.summary import build_summary, write_summary
from rtx.types import Condition

log = logging.getLogger(__name__)


def complete(
    job: Job, conditions: Sequence[Condition], cells: dict[Condition, Cell], *, rank: int = 0, resamples: int = 0
) -> dict[str, Any]:
    """Write what is made of the cells, and return the summary.

    Every process writes the same summary with its intervals, so that it does not matter which of them live to see the
    end; the first one computes them and the others find them there. What else takes long is the first rank's.

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
        names = getattr(job.scorer, "class_names", ())  # a scorer need not know any
        write_classes(job.out, cells, headline, card, names)
        if job.keep_predictions:
            write_examples(job.out, job.dataset, job.indices, conditions, key=protocol_key(card))
    if resamples:
        log.info("resampling the images %d times for intervals", resamples)
        try:
            return add_confidence(job.out, build_summary(cells, headline, card), resamples=resamples)
        except (BadValue, MissingConditions) as error:
            log.warning("no intervals: %s", error)
    return write_summary(job.out, cells, headline, card)
