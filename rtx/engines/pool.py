"""What every engine does: workers that are set up once and take units as they become free."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rtx.engines.engine import Engine

Work = Callable[[Any], Any]
Setup = Callable[[str], tuple[Work, Any]]
"""Called once in each worker with its kind of device ("cpu", "cuda" or "auto"): what does a unit, and facts about the
worker that the driver compares. Ray pickles it; a class or function of a module that the nodes have too."""
Task = tuple[str, Any]
"""Name of a unit, and what its worker is given."""
Take = Callable[[], Task | None]
"""Called whenever a worker is free: its next unit, or None where none is ready."""


@dataclass(frozen=True)
class Begun:
    """A worker has got a unit."""

    name: str
    worker: str


@dataclass(frozen=True)
class Retried:
    """A worker died with a unit, which another one gets."""

    name: str
    worker: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How a unit ended.

    Attributes:
        name: the unit's.
        result: what its worker returned.
        error: what it raised, or that its workers died; None when it succeeded.
        log: the traceback and what was logged, where it failed.
        seconds: in the worker.
        processor_seconds: of the worker and of the processes that it started and waited for.
        worker: where it ran, `node/process`.
    """

    name: str
    result: Any = None
    error: BaseException | None = None
    log: str = ""
    seconds: float = 0.0
    processor_seconds: float = 0.0
    worker: str = "here"


OnUnit = Callable[[Begun | Retried], None]


class Pool(Protocol):
    """Workers that are ready.

    Attributes:
        facts: what their setup said of them, worker -> facts.
        size: how many they are.
    """

    facts: dict[str, Any]
    size: int

    def outcomes(self, take: Take, tell: OnUnit) -> Iterator[Outcome]:
        """Do units until `take` has none and none is under way; in the order in which they end."""


@contextmanager
def opened(engine: Engine, setup: Setup, *, memory: int = 0) -> Iterator[Pool]:
    """Workers that are set up; they end with the context.

    Args:
        engine: where.
        setup: see `Setup`.
        memory: bytes that one worker needs; Ray puts no more of them on a node than it has memory for.

    Raises:
        MissingDependency, EngineError: see `rtx.engines.ray_pool`.
        RtxError: what the setup raised.
    """
    if engine.is_ray:
        from rtx.engines.ray_pool import ray_pool

        with ray_pool(engine, setup, memory=memory) as pool:
            yield pool
    else:
        yield _Here(setup)


class _Here:
    """The one worker that is this process."""

    def __init__(self, setup: Setup) -> None:
        self.work, facts = setup("auto")
        self.facts, self.size = {"here": facts}, 1

    def outcomes(self, take: Take, tell: OnUnit) -> Iterator[Outcome]:
        while (task := take()) is not None:
            tell(Begun(task[0], "here"))
            yield Outcome(task[0], **attempt(self.work, task[1]))


def attempt(work: Work, payload: Any) -> dict[str, Any]:
    """Do one unit; what it raises becomes a part of its outcome, with what it logged until then."""
    lines = _Lines()
    logging.getLogger().addHandler(lines)
    started, spent = time.perf_counter(), sum(os.times()[:4])
    try:
        found: dict[str, Any] = {"result": work(payload)}
    except (Exception, SystemExit) as error:  # a unit that exits must not end the process that has others to do
        found = {"error": error, "log": "\n".join([*lines.lines, traceback.format_exc()])}
    finally:
        logging.getLogger().removeHandler(lines)
    spent = sum(os.times()[:4]) - spent
    return {**found, "seconds": time.perf_counter() - started, "processor_seconds": spent}


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")
