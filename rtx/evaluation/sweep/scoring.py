"""From the predictions of a cell to its score, here or in a process of its own beside the forward passes.

The process is a fresh interpreter and no fork: it inherits neither CUDA nor any pool of threads, works where there is
no fork, and runs nobody's `__main__` again. It gets the scorer once and the predictions of each cell, and gives back
what is written to disk; it writes nothing itself.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Protocol

from rtx.errors import unknown_name
from rtx.metrics.per_image import Evidence
from rtx.results.evidence_file import to_bytes
from rtx.types import Condition

log = logging.getLogger(__name__)

Remark = tuple[str, int, str]
"""Name of a logger, level, and text."""

PLACES = ("auto", "process", "inline")
_WAITING = 2  # cells
_PAYS = 500  # images: below, starting an interpreter takes longer than scoring them
_THREADS = 4


class Scorer(Protocol):
    """What a metric back end offers; see `rtx.evaluation.scorers.base`."""

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
class Work:
    """A cell whose images all went through the model.

    Attributes:
        condition: which one.
        state: what the scorer has collected, see `take`.
        n_images: how many images that is.
        key: key of the protocol.
        keep: whether the predictions are wanted too.
        timing: what the forward passes took.
        preview: whether the images are a subset, so that the score is not shown without its interval.
    """

    condition: Condition
    state: dict[str, Any]
    n_images: int
    key: str
    keep: bool
    timing: dict[str, Any]
    preview: bool = False


@dataclass(frozen=True)
class Scored:
    """A cell that is ready to be written.

    Attributes:
        condition, n_images, timing: as in `Work`.
        metrics: name -> value.
        flags: remarks.
        evidence: content of the evidence file.
        predictions: ending and content of the predictions file, where they are kept.
        ends: of the headline's interval, for a preview.
    """

    condition: Condition
    n_images: int
    timing: dict[str, Any]
    metrics: dict[str, float]
    flags: tuple[str, ...]
    evidence: bytes
    predictions: tuple[str, bytes] | None
    ends: tuple[float, float] | None = None


def take(scorer: Any) -> dict[str, Any]:
    """What a scorer has collected since its last reset: the attributes that `reset` replaces. Resets it."""
    before = dict(vars(scorer))
    scorer.reset()
    return {name: before[name] for name, value in vars(scorer).items() if name in before and value is not before[name]}


def put(scorer: Any, state: dict[str, Any]) -> None:
    """Give a scorer what another copy of it has collected."""
    scorer.reset()
    vars(scorer).update(state)


def score(scorer: Any, work: Work) -> Scored:
    """Compute everything that is written about a cell."""
    started = time.perf_counter()
    scorer.keep = work.keep
    put(scorer, work.state)
    metrics = scorer.compute()
    found = scorer.evidence()
    evidence = to_bytes(found, key=work.key, condition=work.condition.key)
    ends = _ends(found, scorer.headline) if work.preview else None
    predictions = scorer.predictions() if work.keep else None
    flags = tuple(scorer.flags())
    timing = {**work.timing, "scoring_seconds": time.perf_counter() - started}
    return Scored(work.condition, work.n_images, timing, metrics, flags, evidence, predictions, ends)


def _ends(evidence: Evidence, headline: str) -> tuple[float, float] | None:
    from rtx.results.intervals import ends_of_one  # previews only

    return ends_of_one(evidence, headline)


class Inline:
    """Scores in this process, when a cell comes."""

    def __init__(self, scorer: Any) -> None:
        # A copy shares the ground truth, and leaves what the scorer collects for the next cell alone.
        self.scorer = copy.copy(scorer)
        self.finished: deque[Scored] = deque()

    def submit(self, work: Work) -> None:
        """Score a cell."""
        self.finished.append(score(self.scorer, work))

    def results(self, *, wait: bool = False) -> Iterator[Scored]:
        """Cells that are scored; each stays until the one after it is asked for, so that none gets lost."""
        while self.finished:
            yield self.finished[0]
            self.finished.popleft()

    def close(self) -> None:
        """Nothing to end."""


class Beside(Inline):
    """Scores in a process of its own; what that cannot do is done here.

    Args:
        scorer: goes to the process as it is, with its ground truth.
        threads: how many threads scoring may use there.
    """

    def __init__(self, scorer: Any, *, threads: int = 1) -> None:
        super().__init__(scorer)
        self._todo: queue.Queue[Work | None] = queue.Queue(_WAITING)
        self._done: queue.SimpleQueue[tuple[Scored | Work, list[Remark]]] = queue.SimpleQueue()
        self._pending = 0
        self._fault = ""
        self._told = False
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "rtx.evaluation.sweep.scoring_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": path},
        )
        self._thread = threading.Thread(target=self._talk, name="scoring", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Hand a cell over; waits while two are waiting already."""
        self._pending += 1
        self._todo.put(work)

    def results(self, *, wait: bool = False) -> Iterator[Scored]:
        """Cells that are scored, in order; with `wait`, all that were handed over."""
        yield from super().results()
        while self._pending and (wait or not self._done.empty()):
            item, remarks = self._done.get()
            self._pending -= 1
            for name, level, text in remarks:
                logging.getLogger(name).log(level, "%s", text)
            if isinstance(item, Work):
                if not self._told:
                    log.warning("scoring goes on in this process: %s", self._fault)
                    self._told = True
                item = score(self.scorer, item)
            self.finished.append(item)
            yield from super().results()

    def close(self) -> None:
        """End the process, finished or not."""
        self.process.kill()
        self.process.wait()
        with suppress(queue.Empty):
            while True:
                self._todo.get_nowait()
        self._todo.put(None)
        self._thread.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _talk(self) -> None:
        """Send cells and receive scores, one after the other; once the process fails, cells come back as they are."""
        try:
            send(self.process.stdin, self.scorer)
        except Exception as error:  # whatever it is, cells can still be scored here
            self._fault = f"the scorer cannot be sent to its process ({type(error).__name__}: {error})"
        while (work := self._todo.get()) is not None:
            answer: tuple[Scored | Work, list[Remark]] = (work, [])
            if not self._fault:
                try:
                    send(self.process.stdin, work)
                    got = receive(self.process.stdout)
                    if isinstance(got, str):
                        self._fault = got
                    else:
                        answer = got
                except Exception as error:
                    self._fault = f"its process ended ({type(error).__name__}: {error})"
            self._done.put(answer)


def send(stream: IO[bytes] | None, item: Any) -> None:
    """Write one pickled object, its length first."""
    assert stream is not None
    content = pickle.dumps(item, protocol=5)
    stream.write(len(content).to_bytes(8, "little"))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes] | None) -> Any:
    """Read one object that the other end of the pipe, a process of ours, has sent.

    Raises:
        EOFError: the other end is gone.
    """
    assert stream is not None
    length = int.from_bytes(_exactly(stream, 8), "little")
    return pickle.load(io.BytesIO(_exactly(stream, length)))


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError("the other end of the pipe is gone")
    return content


def scoring_place(place: str, scorer: Any, *, n_images: int, workers: int) -> Inline:
    """Where cells are scored.

    Args:
        place: `inline`, `process`, or `auto`: a process where it saves more than it costs.
        scorer: the metric back end.
        n_images: how many images will be scored in all cells.
        workers: loader processes that want processors too; with none of them everything stays in this process.

    Raises:
        UnknownName: no such place.
    """
    if place not in PLACES:
        raise unknown_name("scoring", place, place="rtx.evaluation.sweep.scoring.PLACES", choices=PLACES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if place == "inline" or (place == "auto" and (n_images < _PAYS or workers == 0 or cores < 2)):
        return Inline(scorer)
    return Beside(scorer, threads=max(1, min(_THREADS, cores - workers - 1)))
