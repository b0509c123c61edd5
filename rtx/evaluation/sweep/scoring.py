"""From the predictions of a cell to what is written about it, and from all cells to the files beside them.

Scoring runs between the forward passes, in the process and thread of the model: about a millisecond an image (COCO, 100
boxes each), a few per cent of a sweep. In a thread beside the passes it slows them by more than it takes here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtx.errors import BadValue, MissingConditions
from rtx.results.arrays import to_bytes
from rtx.results.by_class import write_classes
from rtx.results.cell import Cell
from rtx.results.confidence import write_results
from rtx.results.evaluation import Evaluation
from rtx.results.examples import write_examples
from rtx.types import Condition

if TYPE_CHECKING:
    from rtx.evaluation.sweep.forward import Job

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredCell:
    """A cell that is ready to be written.

    Attributes:
        cell: the scores and the protocol card.
        evidence: content of the evidence file.
        predictions: ending and content of the predictions file, where they are kept.
        ends: of the headline's interval, for a preview.
    """

    cell: Cell
    evidence: bytes
    predictions: tuple[str, bytes] | None
    ends: tuple[float, float] | None = None


def score(
    scorer: Any,
    condition: Condition,
    n_images: int,
    card: dict[str, Any],
    *,
    key: str,
    keep: bool = False,
    timing: Mapping[str, Any],
    flags: Sequence[str] = (),
) -> ScoredCell:
    """Compute everything that is written about a cell.

    Args:
        scorer: has processed the cell's images, see `rtx.evaluation.scorers.base`.
        condition: which cell.
        n_images: how many images that was.
        card: the protocol card.
        key: of the card.
        keep: whether the predictions are wanted too.
        timing: what the forward passes took.
        flags: remarks about the pixels, beside those of the scorer.

    Raises:
        BadValue: no image was processed.
    """
    started = time.perf_counter()
    metrics = scorer.compute()
    found = scorer.evidence()
    evidence = to_bytes(found, key=key, condition=condition.key)
    ends = None
    if card.get("limit") is not None:
        from rtx.results.intervals import ends_of_one  # previews only

        ends = ends_of_one(found, scorer.headline)
    diagnosis: dict[str, Any] = getattr(scorer, "diagnosis", dict)()  # a scorer need not know any
    predictions = scorer.predictions() if keep else None
    flags = (*scorer.flags(), *flags)
    seconds = {**timing, "scoring_seconds": time.perf_counter() - started}
    return ScoredCell(Cell(condition, metrics, n_images, card, flags, seconds, diagnosis), evidence, predictions, ends)


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
