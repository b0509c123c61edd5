"""The sweep: every cell of an evaluation that is not there yet, shared between processes, one file each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from rtx.errors import BadValue, DataError
from rtx.evaluation.sweep.batches import image_path
from rtx.evaluation.sweep.claims import Claims
from rtx.evaluation.sweep.events import CellDone, CellStarted, OnEvent, Planned, Waiting
from rtx.evaluation.sweep.forward import Job, evaluate, loader_died, plan_batches
from rtx.evaluation.sweep.scoring import Inline, Scored, Scorer, scoring_place
from rtx.evaluation.sweep.share import Share
from rtx.files import write_whole
from rtx.results.cell import Cell
from rtx.results.evaluation import sound_cells
from rtx.results.folder import PREDICTIONS, CellFolder, evidence_path, predictions_path, remove_halves
from rtx.types import Condition

__all__ = ["Job", "Scorer", "run"]

log = logging.getLogger(__name__)

MAX_RESTARTS = 3
_FIRST_POLL, _LAST_POLL = 0.1, 2.0
_WAITING_SECONDS = 1.0

OnCell = Callable[[Cell, int, int], None]


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
) -> dict[Condition, Cell]:
    """Evaluate the cells that are missing in `job.out`, together with whoever else works there, and return all of them.

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
        share.once("opened", lambda: None)
    with claims or Claims(job.out) as claims:
        state = _State(job, tuple(conditions), claims, on_event or (lambda event: None), on_cell)
        if overwrite and share.rank == 0:
            share.once("opened", lambda: state.open(overwrite=True))
        else:
            state.open()
        place = scoring_place(job.scoring, job.scorer, n_images=len(job.indices) * len(state.todo), workers=job.workers)
        try:
            cells = state.finish(share, batches, place)
        finally:
            place.close()
        # One after the other: what comes later keeps the intervals that are there instead of writing over them, and the
        # last one to leave sees that it is.
        with claims.lock("summary"):
            if complete:
                complete(cells)
            claims.done()
            if claims.alone():
                remove_halves(job.out)
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
class _State:
    """One process's part of a sweep.

    Attributes:
        todo: cells that were missing when it started.
        handed: cells that are being scored.
        done: how many it has written.
    """

    job: Job
    conditions: tuple[Condition, ...]
    claims: Claims
    tell: OnEvent
    on_cell: OnCell | None
    todo: tuple[Condition, ...] = ()
    handed: set[Condition] = field(default_factory=set)
    done: int = 0
    _done_at_restart: int = -1

    def open(self, *, overwrite: bool = False) -> None:
        """Make the folder ready and list what is missing; one process at a time."""
        with self.claims.lock("opening"):
            if overwrite:
                self.claims.refuse_others()
            self.folder = CellFolder(self.job.out, self.job.card, overwrite=overwrite)
            self.folder.open()
            self.claims.tidy()
            if self.claims.alone():
                remove_halves(self.job.out)
            cached = sound_cells(self.folder, self.conditions)
            self._say_what_was_not_kept(cached)
            self.claims.run_now()
        self.todo = tuple(c for c in self.conditions if c not in cached)
        n_images, total = len(self.job.indices), len(self.conditions)
        log.info(
            "%d of %d cells to evaluate on %d images, %d cached",
            len(self.todo),
            total,
            n_images,
            total - len(self.todo),
        )
        self.tell(Planned(len(self.todo), total - len(self.todo), total, n_images))

    def _say_what_was_not_kept(self, cached: Iterable[Condition]) -> None:
        """Predictions exist only while a cell is evaluated, so those of finished cells cannot be written later."""
        bare = [c.key for c in cached if predictions_path(self.job.out, c) is None]
        if self.job.keep_predictions and bare:
            log.warning(
                "%d finished cells have no predictions, e.g. %s, and get none now: evaluate them again with "
                "--overwrite, or into another --out",
                len(bare),
                bare[0],
            )

    def finish(self, share: Share, batches: list[list[int]], place: Inline) -> dict[Condition, Cell]:
        """Evaluate what can be taken until nothing is missing; what others hold is waited for, or taken over."""
        # Ranks may have listed different cells as missing, so what is handed out are all of them.
        order: Iterable[Condition] = share.claim(self.conditions)
        restarts, poll, told = 0, _FIRST_POLL, 0.0
        died: RuntimeError | None = None
        while True:
            try:
                if died:
                    # Handled in here: one death can be noticed twice, by its socket and by its signal.
                    restarts, died = self._restarted(restarts, died), None
                self._drain(place)
                taken = self._taken(order)
                first = next(taken, None)
                order = self.conditions
                if first is not None:
                    poll = _FIRST_POLL
                    self._pass(first, taken, batches, place)
                    continue
            except RuntimeError as error:
                if not loader_died(error):
                    raise
                died = error
                continue
            missing = tuple(c for c in self.conditions if not self.folder.path(c).is_file())
            if not missing:
                with self.claims.lock("opening"):
                    cells = sound_cells(self.folder, self.conditions, with_evidence=False)
                    self.claims.tidy()
                    if self.claims.alone():
                        remove_halves(self.job.out)
                if len(cells) == len(self.conditions):
                    return cells
                continue
            if time.monotonic() - told >= _WAITING_SECONDS:
                told = time.monotonic()
                self.tell(Waiting(missing, self.done, len(self.todo), self._elsewhere()))
            time.sleep(poll)
            poll = min(poll * 1.5, _LAST_POLL)

    def _taken(self, conditions: Iterable[Condition]) -> Iterator[Condition]:
        """The cells that are missing and nobody else's, each from the moment it is asked for."""
        for condition in conditions:
            path = self.folder.path(condition)
            if condition in self.handed or path.is_file() or not self.claims.take(condition):
                continue
            if path.is_file():  # its owner wrote it between the two looks
                self.claims.release(condition)
                continue
            self.tell(CellStarted(condition))
            yield condition

    def _pass(self, first: Condition, more: Iterator[Condition], batches: list[list[int]], place: Inline) -> None:
        """One life of the loader."""

        def conditions() -> Iterator[Condition]:
            yield first
            yield from more

        with closing(evaluate(self.job, conditions(), batches, self.folder.key, self.tell)) as works:
            for work in works:
                if work is not None:
                    place.submit(work)
                    self.handed.add(work.condition)
                for scored in place.results():
                    self._write(scored)
        self._drain(place)

    def _restarted(self, before: int, error: RuntimeError) -> int:
        """Count restarts since the last cell that was written."""
        restarts = before + 1 if self.done == self._done_at_restart else 1
        self._done_at_restart = self.done
        cell = next((c.key for c in self.conditions if not self.folder.path(c).is_file()), "sweep")
        if restarts > MAX_RESTARTS:
            raise DataError(
                f"{cell}: loader processes were killed {restarts} times in a row ({error}); that is usually the system "
                "running out of memory: use fewer --workers, or 0"
            ) from error
        log.warning("a loader process was killed (%s); its cell starts again", str(error).strip())
        return restarts

    def _drain(self, place: Inline) -> None:
        """Write every cell that was handed over; after an error, one that got lost on the way is nobody's again."""
        for scored in place.results(wait=True):
            self._write(scored)
        self.handed.clear()

    def _write(self, scored: Scored) -> None:
        """Write a cell; it comes last: where it is, everything that belongs to it is."""
        root, condition = self.job.out, scored.condition
        if scored.predictions:
            ending, content = scored.predictions
            write_whole(root / PREDICTIONS / f"{condition.key}{ending}", content)
        write_whole(evidence_path(root, condition), scored.evidence)
        cell = Cell(condition, scored.metrics, scored.n_images, self.job.card, scored.flags, scored.timing)
        self.folder.write(cell)
        self.claims.release(condition)
        self.handed.discard(condition)
        self.done += 1
        if self.on_cell:
            self.on_cell(cell, self.done, len(self.todo))
        headline = self.job.scorer.headline
        self.tell(CellDone(cell, self.done, len(self.todo), self._elsewhere(), headline, scored.ends))

    def _elsewhere(self) -> int:
        return sum(self.folder.path(condition).is_file() for condition in self.todo) - self.done
