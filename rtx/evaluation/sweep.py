"""The sweep: every cell of an evaluation that is not there yet, shared between ranks, one file each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from rtx.errors import BadValue
from rtx.evaluation.batches import CorruptedView, cut, size_groups, stream
from rtx.evaluation.events import CellDone, CellStarted, OnEvent, Planned, Progress
from rtx.evaluation.evidence import Evidence, save, write_whole
from rtx.evaluation.runs import evidence_path
from rtx.evaluation.scores import Cell, CellFolder
from rtx.evaluation.share import Share
from rtx.types import Condition

log = logging.getLogger(__name__)


class Scorer(Protocol):
    """What a metric back end offers; see `rtx.evaluation.scorers`."""

    headline: str
    metrics: tuple[str, ...]
    keep: bool

    def reset(self) -> None:
        """Forget everything."""

    def process(self, data_samples: list[Any]) -> None:
        """Take the predictions of one batch."""

    def compute(self) -> dict[str, float]:
        """Metrics as fractions, full precision."""

    def flags(self) -> list[str]:
        """Remarks on what was processed."""

    def card(self) -> dict[str, Any]:
        """The definition and version of the metric."""

    def evidence(self) -> Evidence:
        """What the score can be computed again from, for any resampling of the images."""

    def predictions(self) -> tuple[str, bytes]:
        """File name ending and content of the predictions, where `keep` was set."""


@dataclass(frozen=True)
class Job:
    """Everything a sweep needs.

    Attributes:
        model: a model with mmengine's `test_step`, on its device, weights loaded.
        dataset: the built test set with `Corrupt` in its pipeline.
        scorer: the metric back end.
        card: the protocol card.
        out: the output folder.
        indices: which images are evaluated.
        batch_size: images a forward pass; batches hold one image size.
        workers: loader processes.
        amp: autocast the forward pass (float16 on CUDA, bfloat16 on the CPU); named in the card as precision.
        keep_predictions: write the predictions of each cell too, in `predictions/`, so that another metric needs no
            inference.
    """

    model: nn.Module
    dataset: Any
    scorer: Scorer
    card: dict[str, Any]
    out: Path
    indices: Sequence[int]
    batch_size: int = 1
    workers: int = 2
    amp: bool = False
    keep_predictions: bool = False


def run(
    job: Job,
    conditions: Sequence[Condition],
    *,
    overwrite: bool = False,
    share: Share | None = None,
    on_cell: Callable[[Cell, int, int], None] | None = None,
    on_event: OnEvent | None = None,
) -> dict[Condition, Cell]:
    """Evaluate the cells that are missing in `job.out` and return all of them.

    Args:
        job: what to evaluate.
        conditions: the cells that are wanted.
        overwrite: evaluate all of them again, and drop cells of another protocol.
        share: how ranks share the cells; a single process when None.
        on_cell: called after each cell with (cell, number of cells done here, number of cells to do in all).
        on_event: called with what happens, see `rtx.evaluation.events`.

    Raises:
        RunConflict: the folder belongs to another protocol.
        BadValue: there is no image to evaluate.
        DataError: an image cannot be prepared.
    """
    if not job.indices:
        raise BadValue("no image to evaluate: the test set is empty (or --limit is 0)")
    share = share or Share()
    folder = CellFolder(job.out, job.card, overwrite=overwrite)
    if share.rank == 0:
        folder.open()
    share.wait("opened")
    todo = [c for c in conditions if c not in folder.read(conditions)]
    log.info(
        "%d of %d cells to evaluate on %d images, %d cached",
        len(todo),
        len(conditions),
        len(job.indices),
        len(conditions) - len(todo),
    )
    tell = on_event or (lambda event: None)
    tell(Planned(len(todo), len(conditions) - len(todo), len(conditions), len(job.indices)))
    # Every rank must have listed what is missing before the first new cell appears.
    share.wait("listed")
    done = 0
    job.scorer.keep = job.keep_predictions
    for cell in _evaluate(job, share.claim(todo), tell):
        # The cell comes last: where it is, everything that belongs to it is.
        save(
            evidence_path(job.out, cell.condition), job.scorer.evidence(), key=folder.key, condition=cell.condition.key
        )
        if job.keep_predictions:
            ending, content = job.scorer.predictions()
            write_whole(job.out / "predictions" / f"{cell.condition.key}{ending}", content)
        folder.write(cell)
        done += 1
        if on_cell:
            on_cell(cell, done, len(todo))
        tell(CellDone(cell, done, len(todo), sum(folder.path(c).is_file() for c in todo) - done))
    share.wait("evaluated")
    return folder.read(conditions)


def _started(conditions: Iterable[Condition], tell: OnEvent) -> Iterator[Condition]:
    for condition in conditions:
        tell(CellStarted(condition))
        yield condition


def _evaluate(job: Job, conditions: Iterable[Condition], tell: OnEvent) -> Iterator[Cell]:
    batches = cut(size_groups(job.dataset, job.indices), job.batch_size)
    model = job.model
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    scorer = job.scorer
    scorer.reset()
    started, images = time.perf_counter(), 0
    try:
        for condition, last, batch in stream(
            CorruptedView(job.dataset), _started(conditions, tell), batches, workers=job.workers
        ):
            dtype = torch.bfloat16 if device.type == "cpu" else torch.float16
            with torch.inference_mode(), torch.autocast(device.type, dtype) if job.amp else nullcontext():
                samples = model.test_step(batch)  # type: ignore[operator]
            scorer.process(samples)
            images += len(samples)
            tell(Progress(condition, images, len(job.indices), images / (time.perf_counter() - started)))
            if not last:
                continue
            metrics = scorer.compute()
            seconds = time.perf_counter() - started
            timing = {
                "seconds": seconds,
                "images_per_second": images / seconds,
                "batch_size": job.batch_size,
                "workers": job.workers,
            }
            yield Cell(condition, metrics, images, job.card, tuple(scorer.flags()), timing)
            scorer.reset()
            started, images = time.perf_counter(), 0
    finally:
        model.train(was_training)
