"""The sweep: every cell of an evaluation that is not there yet, shared between processes, one file each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rtx.errors import BadValue, DataError
from rtx.evaluation.sweep.batches import image_path
from rtx.evaluation.sweep.claims import Claims
from rtx.evaluation.sweep.events import CellDone, CellStarted, OnEvent, Planned, Waiting
from rtx.evaluation.sweep.forward import Job, evaluate, loader_died, plan_batches
from rtx.evaluation.sweep.scoring import ScoredCell
from rtx.evaluation.sweep.share import Share
from rtx.files import write_whole
from rtx.results.cell import Cell
from rtx.results.evaluation import sound_cells
from rtx.results.folder import PREDICTIONS, CellFolder, evidence_path, predictions_path, remove_halves
from rtx.types import Condition

__all__ = ["Job", "run"]

log = logging.getLogger(__name__)

MAX_RESTARTS = 3
_FIRST_POLL, _LAST_POLL = 0.1, 2.0
_WAITING_SECONDS = 1.0

OnCell = Callable[[Cell, int, int], None]
Passes = Callable[[Job, Iterable[Condition], list[list[int]], str, OnEvent], Generator[ScoredCell, None, None]]
"""The function that scores cells: `rtx.evaluation.sweep.forward.evaluate`, or one that has predictions already."""


def run(
    job: Job,
    conditions: Sequence[Condition],
    *,
    overwrite: bool = False,
    share: Share | None = None,
    on_cell: OnCell | None = None,
    on_event: OnEvent | None = None,
    complete: Callable[[dict[Condition, Cell]], None] | None = None,
    claims: Claims | None = None,
    passes: Passes = evaluate,
) -> dict[Condition, Cell]:
    """Evaluate the cells missing in `job.out`, together with other processes that work there, and return all of them.

    Args:
        job: what to evaluate.
        conditions: the cells that are wanted.
        overwrite: evaluate all of them again, and drop cells of another protocol.
        share: the ranks of one job; a single process when None.
        on_cell: called after each cell with (cell, number of cells done here, number of cells to do in all).
        on_event: called with what happens, see `rtx.evaluation.sweep.events`.
        complete: called with all cells once they are there, by one process after the other, while each still counts as
            at work in the folder: the place to write what is made of them.
        claims: this process's claims in `job.out`; made when None.
        passes: scores the cells that this process takes.

    Raises:
        RunConflict: the folder belongs to another protocol, or `overwrite` while another process works in it.
        BadValue: there is no image to evaluate, or label maps are to be kept of images that share a name.
        DataError: an image cannot be prepared, or loader processes are killed again and again.
        DeviceError: the device's memory does not hold a single image.
        OutputError: the folder cannot be written. Finished cells stay, in this case and in every other.
    """
    if not job.indices:
        raise BadValue("no image to evaluate: the test set is empty (or --limit is 0)")
    if job.keep_predictions and (job.card.get("metric") or {}).get("scorer") == "miou":
        _refuse_equal_names(job)
    share = share or Share()
    batches = plan_batches(job)
    CellFolder(job.out, job.card, overwrite=overwrite)  # a conflict shows before anything is written
    if overwrite and share.rank != 0:
        share.first(lambda: None)
    with claims or Claims(job.out) as claims:
        sweep = _OneSweep(job, tuple(conditions), claims, on_event or (lambda event: None), on_cell)
        if overwrite and share.rank == 0:
            share.first(lambda: sweep.open(overwrite=True))
        else:
            sweep.open()
        cells = sweep.finish(batches, passes)
        # One after the other: what comes later keeps the intervals that are there instead of writing over them, and the
        # last one to leave sees that it is.
        with claims.lock("summary"):
            if complete:
                complete(cells)
            claims.done()
            sweep.tidy()
        return cells


def _refuse_equal_names(job: Job) -> None:
    """Kept label maps are files of one folder, named after their images."""
    first: dict[str, str] = {}
    for index in job.indices:
        path = image_path(job.dataset, index)
        other = first.setdefault(Path(path).stem, path)
        if other != path:
            raise BadValue(
                f"--keep-predictions: two images are named {Path(path).stem!r}, {other} and {path}; label maps are "
                "kept under these names, so rename one"
            )


@dataclass
class _OneSweep:
    """One process's part of a sweep.

    Attributes:
        todo: cells that were missing when it started.
        done: how many it has written.
    """

    job: Job
    conditions: tuple[Condition, ...]
    claims: Claims
    tell: OnEvent
    on_cell: OnCell | None
    todo: tuple[Condition, ...] = ()
    done: int = 0

    def open(self, *, overwrite: bool = False) -> None:
        """Make the folder ready and list what is missing; one process at a time."""
        with self.claims.lock("opening"):
            if overwrite:
                self.claims.refuse_others()
            self.folder = CellFolder(self.job.out, self.job.card, overwrite=overwrite)
            self.folder.open()
            self.tidy()
            cached = sound_cells(self.folder, self.conditions)
            self._warn_of_missing_predictions(cached)
            self.claims.run_now()
        self.todo = tuple(c for c in self.conditions if c not in cached)
        n_images, todo, total = len(self.job.indices), len(self.todo), len(self.conditions)
        log.info("%d of %d cells to evaluate on %d images, %d cached", todo, total, n_images, total - todo)
        self.tell(Planned(todo, total - todo, total, n_images))

    def tidy(self) -> None:
        """Remove what processes that are gone have left behind; only in a lock."""
        self.claims.tidy()
        if self.claims.alone():
            remove_halves(self.job.out)

    def _warn_of_missing_predictions(self, cached: Iterable[Condition]) -> None:
        """Predictions exist only while a cell is evaluated, so those of finished cells cannot be written later."""
        bare = [c.key for c in cached if predictions_path(self.job.out, c) is None]
        if self.job.keep_predictions and bare:
            log.warning(
                "%d finished cells have no predictions, e.g. %s, and get none now: evaluate them again with "
                "--overwrite, or into another --out",
                len(bare),
                bare[0],
            )

    def finish(self, batches: list[list[int]], passes: Passes) -> dict[Condition, Cell]:
        """Evaluate free cells until none is missing; cells of other processes are waited for, or taken over."""
        restarts, done_before, poll, told = 0, 0, _FIRST_POLL, 0.0
        died: RuntimeError | None = None
        while True:
            try:
                if died is not None:
                    # In here, since one death can be noticed twice, by its socket and by its signal.
                    error, died = died, None
                    restarts = restarts + 1 if self.done == done_before else 1
                    done_before = self.done
                    self._warn_of_restart(restarts, error)
                if self._take_and_score(batches, passes):
                    poll = _FIRST_POLL
                missing = self._missing()
                if not missing and len(cells := self._all_cells()) == len(self.conditions):
                    return cells
                if not missing:
                    continue  # a damaged cell was moved aside just now
            except RuntimeError as error:
                if not loader_died(error):
                    raise
                died = error
                continue
            if time.monotonic() - told >= _WAITING_SECONDS:
                told = time.monotonic()
                self.tell(Waiting(missing, self.done, len(self.todo), self._elsewhere()))
            time.sleep(poll)
            poll = min(poll * 1.5, _LAST_POLL)

    def _missing(self) -> tuple[Condition, ...]:
        return tuple(c for c in self.conditions if not self.folder.path(c).is_file())

    def _all_cells(self) -> dict[Condition, Cell]:
        """All cells, once none is missing; a damaged one is left out."""
        with self.claims.lock("opening"):
            self.tidy()
            return sound_cells(self.folder, self.conditions, with_evidence=False)

    def _take_and_score(self, batches: list[list[int]], passes: Passes) -> bool:
        """Evaluate and write every cell that can be taken, in one life of the loader; whether there was one."""
        taken = self._taken()
        first = next(taken, None)
        if first is None:
            return False
        with closing(passes(self.job, chain([first], taken), batches, self.folder.key, self.tell)) as cells:
            for scored in cells:
                self._write(scored)
        return True

    def _taken(self) -> Iterator[Condition]:
        """The missing cells that no other process holds; each is claimed when the iterator reaches it."""
        for condition in self.conditions:
            path = self.folder.path(condition)
            if path.is_file() or not self.claims.take(condition):
                continue
            if path.is_file():  # its owner wrote it between the two looks
                self.claims.release(condition)
                continue
            self.tell(CellStarted(condition))
            yield condition

    def _warn_of_restart(self, restarts: int, error: RuntimeError) -> None:
        """Say that the loader starts again.

        Raises:
            DataError: it did too often since the last cell was written.
        """
        if restarts > MAX_RESTARTS:
            cell = next((c.key for c in self._missing()), "sweep")
            raise DataError(
                f"{cell}: loader processes were killed {restarts} times in a row ({error}); that is usually the system "
                "running out of memory: use fewer --workers, or 0"
            ) from error
        log.warning("a loader process was killed (%s); its cell starts again", str(error).strip())

    def _write(self, scored: ScoredCell) -> None:
        """Write a cell; it comes last: where it is, everything that belongs to it is."""
        root, condition = self.job.out, scored.cell.condition
        if scored.predictions:
            ending, content = scored.predictions
            write_whole(root / PREDICTIONS / f"{condition.key}{ending}", content)
        write_whole(evidence_path(root, condition), scored.evidence)
        self.folder.write(scored.cell)
        self.claims.release(condition)
        self.done += 1
        if self.on_cell:
            self.on_cell(scored.cell, self.done, len(self.todo))
        headline = self.job.scorer.headline
        self.tell(CellDone(scored.cell, self.done, len(self.todo), self._elsewhere(), headline, scored.ends))

    def _elsewhere(self) -> int:
        return sum(self.folder.path(condition).is_file() for condition in self.todo) - self.done
