"""Progress of a running sweep: one live line on a terminal, one plain line a cell elsewhere."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rtx.cli.words import bar, duration, named
from rtx.evaluation.sweep.events import CellDone, CellStarted, Event, Planned, Progress, Waiting
from rtx.results.summary import interval_text
from rtx.types import Condition

REDRAW_SECONDS = 0.1
WAITING_SECONDS = 300.0


class Display:
    """Takes the events of a sweep and says how far it is; a context manager around the sweep.

    Args:
        limit: how many images were asked for; None for all.
        quiet: leave a terminal to another process.
        stream: where the lines go; standard error when None.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream or sys.stderr
        self.limit = limit
        self.quiet = quiet
        self.preview = ""
        self.clock = clock
        self.plan: Planned | None = None
        self.started = 0.0
        self.done = self.elsewhere = 0
        self.now: Progress | None = None
        self.passed: set[Condition] = set()  # through the model, and still being scored
        console = Console(file=self.stream)
        self.terminal = console.is_terminal and not console.is_dumb_terminal
        # Drawn by events alone: a thread of its own would be copied into forked data loaders.
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._ascii_only = console.options.ascii_only
        self._undo = contextlib.ExitStack()
        self._last = -math.inf  # when something was written that is not written at every event

    def __enter__(self) -> Display:
        """On a terminal, let what others write to standard error come above the line."""
        if self.terminal and not self.quiet:
            self._undo.enter_context(self._live)
            for name in (None, "rtx", "mmengine"):
                for handler in logging.getLogger(name).handlers:
                    if isinstance(handler, logging.StreamHandler) and handler.stream is self.stream:
                        handler.setStream(sys.stderr)
                        self._undo.callback(handler.setStream, self.stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was found."""
        self._undo.close()
        self.stream.flush()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Planned):
            self.plan, self.started = event, self.clock()
            # A limit beyond what is there is none.
            self.preview = "PREVIEW " if self.limit is not None and event.n_images >= self.limit else ""
        elif isinstance(event, Progress):
            self.now = event
            if event.images_done >= event.n_images:
                self.passed.add(event.condition)
        elif isinstance(event, CellDone | Waiting):
            self.done, self.elsewhere = event.done, event.elsewhere
            if isinstance(event, CellDone):
                self.passed.discard(event.cell.condition)
                self.preview = "PREVIEW " if event.cell.protocol.get("limit") is not None else ""
            # The next cell's images may be under way while this one was scored.
            if isinstance(event, Waiting) or (self.now and self.now.condition == event.cell.condition):
                self.now = None
        if not self.terminal:
            self._write_line(event)
        elif not self.quiet:
            self._draw(event)

    def left(self) -> float | None:
        """Seconds until all cells are there, by the pace of all processes so far; None before there is one."""
        if self.plan is None:
            return None
        under_way = self.now if self.now and self.now.condition not in self.passed else None
        part = under_way.images_done / max(under_way.n_images, 1) if under_way else 0.0
        finished = self.done + self.elsewhere + len(self.passed) + part
        spent = self.clock() - self.started
        if finished <= 0 or spent <= 0:
            return None
        return max(0.0, self.plan.todo - finished) * spent / finished

    def score(self, event: CellDone) -> str:
        """The score of a cell, e.g. `bbox_mAP  36.30`, and its interval where it is a preview's."""
        name = event.headline if event.headline in event.cell.metrics else next(iter(event.cell.metrics))
        ends = f" {interval_text(event.ends)}" if event.ends and name == event.headline else ""
        return f"{self.preview}{name} {100 * event.cell.metrics[name]:6.2f}{ends}"

    def _write_line(self, event: Event) -> None:
        """Write a line for each finished cell, and now and then while waiting for others."""
        if isinstance(event, CellDone):
            seconds = event.cell.timing.get("seconds", 0.0)
            pace = event.cell.timing.get("images_per_second")
            words = [f"{seconds:.1f} s", *([f"{pace:.1f} img/s"] if pace else []), f"ETA {duration(self.left())}"]
            words += [f"{event.elsewhere} by other processes"] if event.elsewhere else []
            flags = f"  [{', '.join(event.cell.flags)}]" if event.cell.flags else ""
            ready, total = self._counts()
            text = f"{event.cell.condition.key:<22} {self.score(event)}  {', '.join(words)}{flags}"
            print(f"cell {ready}/{total}  {text}", file=self.stream, flush=True)
        elif isinstance(event, Waiting) and self._seldom(WAITING_SECONDS):
            print(f"waiting for {named(event.conditions)} of other processes", file=self.stream, flush=True)

    def _draw(self, event: Event) -> None:
        """Redraw the line, ten times a second at most while images pass."""
        if isinstance(event, CellDone):
            text = f"{event.cell.condition.key}  {self.score(event)}"
        elif isinstance(event, Waiting):
            text = f"waiting for {named(event.conditions)} of other processes"
        elif isinstance(event, Progress) and self._seldom(REDRAW_SECONDS):
            images = f"{event.images_done}/{event.n_images} images"
            text = f"{event.condition.key}  {images}  {event.images_per_second:.1f} img/s"
        elif isinstance(event, CellStarted) and self.now is None and not self.done:
            text = f"{event.condition.key}  loading"
        else:
            return
        ready, total = self._counts()
        drawn = bar(ready, total, 10, ascii_only=self._ascii_only)
        words = [f"{drawn} {self.preview}cell {min(ready + 1, total)}/{total}", text, f"ETA {duration(self.left())}"]
        words += [f"{self.plan.cached} cached"] if self.plan and self.plan.cached else []
        words += [f"{self.elsewhere} by others"] if self.elsewhere else []
        self._live.update(Text("  ".join(words), no_wrap=True, overflow="crop"), refresh=True)

    def _counts(self) -> tuple[int, int]:
        """Cells that are there, and cells that are wanted."""
        assert self.plan is not None, "a sweep says first what it plans"
        return self.plan.cached + self.done + self.elsewhere, self.plan.total

    def _seldom(self, seconds: float) -> bool:
        """Whether so much time has passed since this was last true."""
        now = self.clock()
        if now - self._last < seconds:
            return False
        self._last = now
        return True
