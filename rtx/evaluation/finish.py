"""The files written after the last cell: scores by class, examples, the summary, its intervals."""

from __future__ import annotations

import logging
from typing import Any

from rtx.errors import BadValue, MissingConditions
from rtx.evaluation.sweep.forward import Job
from rtx.results.by_class import write_classes
from rtx.results.cell import Cell
from rtx.results.confidence import write_results
from rtx.results.evaluation import Evaluation
from rtx.results.examples import write_examples
from rtx.types import Condition

log = logging.getLogger(__name__)


def complete(job: Job, cells: dict[Condition, Cell], *, rank: int = 0, resamples: int = 0) -> dict[str, Any]:
    """Write what is made of the cells, and return the summary.

    Every process writes the same summary with its intervals, so that it does not matter which of them live to see the
    end; the first one computes them and the others find them there. What else takes long is the first rank's.

    The summary is of all that the folder holds, whatever part of it was wanted this time.

    Args:
        job: what was evaluated.
        cells: all that were wanted.
        rank: of this process.
        resamples: resamplings of the images for intervals; 0 for none.

    Raises:
        OutputError: the folder cannot be written.
    """
    headline = job.scorer.headline
    evaluation = Evaluation.whole(job.out, cells)
    if rank == 0:
        write_classes(evaluation, headline, getattr(job.scorer, "class_names", ()))  # a scorer need not know any
        if job.keep_predictions:
            every = tuple(dict.fromkeys((*job.conditions, *evaluation.cells)))
            labels = getattr(job.scorer, "label_names", ())
            write_examples(job.out, job.dataset, job.indices, every, key=evaluation.key, names=labels)
    if resamples:
        log.info("resampling the images %d times for intervals", resamples)
        try:
            return write_results(evaluation, headline, resamples=resamples)
        except (BadValue, MissingConditions) as error:
            log.warning("no intervals: %s", error)
    return write_results(evaluation, headline, resamples=0)
