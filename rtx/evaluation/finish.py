"""What is written once all cells are there: scores by class, examples, the summary, its intervals."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from rtx.errors import BadValue, MissingConditions, RunConflict
from rtx.evaluation.sweep.forward import Job
from rtx.results.by_class import write_classes
from rtx.results.cell import Cell, CellFolder
from rtx.results.confidence import add_confidence, read_card, stored_conditions
from rtx.results.examples import write_examples
from rtx.results.protocol import protocol_key
from rtx.results.repair import sound_cells
from rtx.results.summary import build_summary, write_summary
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
    card = read_card(job.out)  # the folder's, since the processes may run on different devices
    cells = cells | _others(CellFolder(job.out, card), cells)
    if rank == 0:
        names = getattr(job.scorer, "class_names", ())  # a scorer need not know any
        write_classes(job.out, cells, headline, card, names)
        if job.keep_predictions:
            every = tuple(dict.fromkeys((*job.conditions, *cells)))
            labels = getattr(job.scorer, "label_names", ())
            write_examples(job.out, job.dataset, job.indices, every, key=protocol_key(card), names=labels)
    if resamples:
        log.info("resampling the images %d times for intervals", resamples)
        try:
            return add_confidence(job.out, build_summary(cells, headline, card), resamples=resamples)
        except (BadValue, MissingConditions) as error:
            log.warning("no intervals: %s", error)
    return write_summary(job.out, cells, headline, card)


def _others(folder: CellFolder, cells: Collection[Condition]) -> dict[Condition, Cell]:
    """The sound cells that an earlier evaluation of this protocol left in the folder."""
    found: dict[Condition, Cell] = {}
    for condition in stored_conditions(folder.root):
        if condition in cells:
            continue
        try:
            sound = sound_cells(folder, [condition], aside=False)
        except RunConflict:
            sound = {}
        if not sound:
            log.warning("%s is damaged or of another protocol, the summary leaves it out", folder.path(condition))
        found |= sound
    return found
