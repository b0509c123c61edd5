"""The sweep: every cell of an evaluation that is not there yet, shared between ranks or shards, one file each."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from rtx.errors import BadValue, DataError
from rtx.evaluation.sweep.batches import image_path
from rtx.evaluation.sweep.events import CellDone, CellStarted, OnEvent, Planned, Waiting
from rtx.evaluation.sweep.forward import Job, choose_batch_size, evaluate, loader_died, plan_batches
from rtx.evaluation.sweep.interrupt import check_not_stopped
from rtx.evaluation.sweep.locks import Shard, alone, driving, guarded
from rtx.evaluation.sweep.scoring import ScoredCell
from rtx.evaluation.sweep.share import Share, part
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
"""What scores cells: `rtx.evaluation.sweep.forward.evaluate`, or something that has their predictions already."""


def run(
    job: Job,
    conditions: Sequence[Condition],
    *,
    overwrite: bool = False,
    share: Share | None = None,
    shard: Shard | None = None,
    on_cell: OnCell | None = None,
    on_event: OnEvent | None = None,
    complete: Callable[[dict[Condition, Cell]], None] | None = None,
    passes: Passes = evaluate,
    held: bool = False,
) -> dict[Condition, Cell]:
    """Evaluate the cells that are missing in `job.out`, and return all that are there at the end.

    Args:
        job: what to evaluate.
        conditions: the cells that are wanted.
        overwrite: evaluate all of them again, and drop cells of another protocol.
        share: the ranks of one job; a single process when None.
        shard: (i, n): evaluate every n-th cell only, from the i-th on, and wait for no other; all of them when None.
        on_cell: called after each cell with (cell, number of cells done here, number of cells to do in all).
        on_event: called with what happens, see `rtx.evaluation.sweep.events`.
        complete: called with all cells once they are there, by one process after the other: the place to write what is
            made of them. Not called where cells of other shards are missing.
        passes: scores the cells of this process.
        held: this process is the folder's driver already, see `rtx.evaluation.sweep.locks.driving`.

    Raises:
        RunConflict: the folder belongs to another protocol, or another process evaluates into it.
        BadValue: there is no image to evaluate, label maps are to be kept of images that share a name, or a shard that
            does not exist or is to overwrite.
        DataError: an image cannot be prepared, or loader processes are killed again and again.
        DeviceError: the device's memory does not hold a single image.
        OutputError: the folder cannot be written. Finished cells stay, in this case and in every other.
    """
    if not job.indices:
        raise BadValue("no image to evaluate: the test set is empty (or --limit is 0)")
    if job.keep_predictions and (job.card.get("metric") or {}).get("scorer") == "miou":
        _refuse_equal_names(job)
    if shard and overwrite:
        raise BadValue("--overwrite with --shard would remove the cells of other shards; choose another --out")
    share = share or Share()
    wanted = tuple(conditions)
    batches = plan_batches(job)
    with ExitStack() as lock:

        def first() -> tuple[tuple[Condition, ...], int | None]:
            CellFolder(job.out, job.card, overwrite=overwrite)  # a conflict shows before anything is written
            if not held:
                lock.enter_context(driving(job.out, shard))
            todo = _open(job, part(wanted, shard), shard, overwrite=overwrite)
            return todo, _batch_size(job, wanted) if todo else job.batch_size

        todo, batch_size = share.first(first)
        if batch_size != job.batch_size:
            job = replace(job, batch_size=batch_size)
            batches = plan_batches(job)
        folder = CellFolder(job.out, job.card)
        sweep = _OneSweep(job, folder, todo, share, on_event or (lambda event: None), on_cell)
        sweep.tell(Planned(len(todo), len(part(wanted, shard)) - len(todo), len(part(wanted, shard)), len(job.indices)))
        sweep.evaluate(batches, passes)
        sweep.wait()
        # One after the other: what comes later keeps the intervals that are there instead of writing over them.
        with guarded(job.out):
            cells = folder.read(wanted)
            if complete and len(cells) == len(wanted):
                complete(cells)
            if share.rank == 0 and alone(job.out, shard):
                remove_halves(job.out)
        return cells


def _open(
    job: Job, wanted: tuple[Condition, ...], shard: Shard | None, *, overwrite: bool = False
) -> tuple[Condition, ...]:
    """Make the folder ready, and list what is missing of the wanted cells."""
    with guarded(job.out):
        folder = CellFolder(job.out, job.card, overwrite=overwrite)
        folder.open()
        if alone(job.out, shard):
            remove_halves(job.out)
        cached = sound_cells(folder, wanted)
    # Predictions exist only while a cell is evaluated, so those of finished cells cannot be written later.
    bare = [c.key for c in cached if predictions_path(job.out, c) is None]
    if job.keep_predictions and bare:
        log.warning(
            "%d finished cells have no predictions, e.g. %s, and get none now: evaluate them again with "
            "--overwrite, or into another --out",
            len(bare),
            bare[0],
        )
    todo = tuple(c for c in wanted if c not in cached)
    log.info(
        "%d of %d cells to evaluate on %d images, %d cached", len(todo), len(wanted), len(job.indices), len(cached)
    )
    return todo


def _batch_size(job: Job, wanted: Sequence[Condition]) -> int | None:
    """That of the job; where it is left open that of finished cells, so that rounding is theirs too, or a probe's."""
    if job.batch_size is not None:
        return job.batch_size
    cells = CellFolder(job.out, job.card).read(wanted)
    return next((cell.timing["batch_size"] for cell in cells.values() if "batch_size" in cell.timing), None) or (
        choose_batch_size(job)
    )


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
        todo: cells that were missing when the sweep began, of all ranks.
        done: how many this process has written.
    """

    job: Job
    folder: CellFolder
    todo: tuple[Condition, ...]
    share: Share
    tell: OnEvent
    on_cell: OnCell | None
    done: int = 0

    def evaluate(self, batches: list[list[int]], passes: Passes) -> None:
        """Evaluate and write the cells of this process; those that a killed loader has cost start again."""
        mine = self.todo[self.share.rank :: self.share.size]
        restarts, done_before = 0, 0
        died: RuntimeError | None = None
        while True:
            try:
                if not (missing := self._missing(mine)):
                    return
                if died is not None:
                    # In here, since one death can be noticed twice, by its socket and by its signal.
                    error, died = died, None
                    restarts = restarts + 1 if self.done == done_before else 1
                    done_before = self.done
                    warn_of_restart(restarts, missing[0], error)
                with closing(passes(self.job, self._begun(missing), batches, self.folder.key, self.tell)) as cells:
                    for scored in cells:
                        self._write(scored)
            except RuntimeError as error:
                if not loader_died(error):
                    raise
                died = error

    def wait(self) -> None:
        """Wait for the cells of the other ranks; a rank that dies ends the job, so that no limit is needed."""
        poll, told = _FIRST_POLL, -math.inf
        while missing := self._missing(self.todo):
            if time.monotonic() - told >= _WAITING_SECONDS:
                told = time.monotonic()
                self.tell(Waiting(missing, self.done, len(self.todo), self._elsewhere()))
            time.sleep(poll)
            poll = min(poll * 1.5, _LAST_POLL)

    def _missing(self, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        return tuple(c for c in conditions if not self.folder.path(c).is_file())

    def _begun(self, conditions: Iterable[Condition]) -> Iterator[Condition]:
        for condition in conditions:
            self.tell(CellStarted(condition))
            yield condition

    def _write(self, scored: ScoredCell) -> None:
        """Write a cell; it comes last: where it is, everything that belongs to it is."""
        root, condition = self.job.out, scored.cell.condition
        if self.job.unchanged:
            self.job.unchanged(condition.key)
        if scored.predictions:
            ending, content = scored.predictions
            write_whole(root / PREDICTIONS / f"{condition.key}{ending}", content)
        write_whole(evidence_path(root, condition), scored.evidence)
        self.folder.write(scored.cell)
        self.done += 1
        if self.on_cell:
            self.on_cell(scored.cell, self.done, len(self.todo))
        headline = self.job.scorer.headline
        self.tell(CellDone(scored.cell, self.done, len(self.todo), self._elsewhere(), headline, scored.ends))

    def _elsewhere(self) -> int:
        return len(self.todo) - len(self._missing(self.todo)) - self.done


def warn_of_restart(restarts: int, condition: Condition, error: RuntimeError) -> None:
    """Say that the loader starts again.

    Raises:
        DataError: it did too often since the last cell was written.
    """
    check_not_stopped()
    if restarts > MAX_RESTARTS:
        raise DataError(
            f"{condition.key}: loader processes were killed {restarts} times in a row ({error}); that is usually the "
            "system running out of memory: use fewer --workers, or 0"
        ) from error
    log.warning("a loader process was killed (%s); its cell starts again", str(error).strip())
