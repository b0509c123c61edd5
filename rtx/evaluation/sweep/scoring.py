"""From the predictions of a cell to what is written about it.

Scoring runs between the forward passes, in the process and thread of the model: about a millisecond an image (COCO, 100
boxes each), a few per cent of a sweep. In a thread beside the passes it slows them by more than it takes here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtx.results.cell import Cell
from rtx.results.evidence_file import to_bytes
from rtx.types import Condition


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
    predictions = scorer.predictions() if keep else None
    flags = tuple(scorer.flags())
    seconds = {**timing, "scoring_seconds": time.perf_counter() - started}
    return ScoredCell(Cell(condition, metrics, n_images, card, flags, seconds), evidence, predictions, ends)
