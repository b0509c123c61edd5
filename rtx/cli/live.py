"""What a sweep shows while it runs: one live line on a terminal, one plain line a cell elsewhere."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

from rtx.cli.words import duration, encodes, named
from rtx.evaluation.sweep.events import CellDone, CellStarted, Event, Planned, Progress, Waiting
from rtx.results.summary import interval_text
from rtx.types import Condition

REDRAW_SECONDS = 0.1
WAITING_SECONDS = 300.0


class Display(ABC):
    """Takes the events of a sweep and keeps count; a context manager around the sweep.

    Args:
        limit: how many images were asked for; None for all.
        metric: the one that is shown; each cell's first when None.
        stream: where the lines go; standard error when None.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        metric: str | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream or sys.stderr
        self.metric = metric
        self.limit = limit
        self.preview = ""
        self.clock = clock
        self.plan: Planned | None = None
        self.started = 0.0
        self.done = self.elsewhere = 0
        self.now: Progress | None = None
        self.passed: set[Condition] = set()  # through the model, and still being scored

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was found."""
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
        self.show(event)

    @abstractmethod
    def show(self, event: Event) -> None:
        """Write what there is to say."""

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
        wanted = (name for name in (self.metric, event.headline) if name in event.cell.metrics)
        name = next(wanted, next(iter(event.cell.metrics)))
        ends = f" {interval_text(event.ends)}" if event.ends and name == event.headline else ""
        return f"{self.preview}{name} {100 * event.cell.metrics[name]:6.2f}{ends}"


class PlainLines(Display):
    """For logs and files: one whole line a cell."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._waited: float | None = None

    def show(self, event: Event) -> None:
        """Write a line for each finished cell, and now and then while waiting for others."""
        if isinstance(event, CellDone):
            seconds = event.cell.timing.get("seconds", 0.0)
            pace = event.cell.timing.get("images_per_second")
            words = [f"{seconds:.1f} s", *([f"{pace:.1f} img/s"] if pace else []), f"ETA {duration(self.left())}"]
            words += [f"{event.elsewhere} by other processes"] if event.elsewhere else []
            flags = f"  [{', '.join(event.cell.flags)}]" if event.cell.flags else ""
            key = event.cell.condition.key
            self._line(f"cell {self._place()}  {key:<22} {self.score(event)}  {', '.join(words)}{flags}")
        elif isinstance(event, Waiting):
            now = self.clock()
            if self._waited is None or now - self._waited >= WAITING_SECONDS:
                self._waited = now
                self._line(f"waiting for {named(event.conditions)}, which other processes hold")

    def _place(self) -> str:
        cached, total = (self.plan.cached, self.plan.total) if self.plan else (0, 0)
        return f"{cached + self.done + self.elsewhere}/{total}"

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


class LiveLine(Display):
    """For terminals: one line that is rewritten in place; whatever else is written to standard error comes above it."""

    def __init__(self, *, width: Callable[[], int] | None = None, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._width = width or self._terminal_width
        self._shown = ""
        self._drawn = -REDRAW_SECONDS
        self._bar = "█░" if encodes(self.stream, "█░") else "#."
        self._undo = contextlib.ExitStack()
        self._text = ""

    def __enter__(self) -> LiveLine:
        """Send what others write to standard error through the line."""
        above = _Above(self)
        for name in (None, "rtx", "mmengine"):
            for handler in logging.getLogger(name).handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is self.stream:
                    handler.setStream(above)
                    self._undo.callback(handler.setStream, self.stream)
        if self.stream is sys.stderr:
            self._undo.enter_context(contextlib.redirect_stderr(above))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line away."""
        self.wipe()
        self._undo.close()

    def show(self, event: Event) -> None:
        """Draw the line, ten times a second at most."""
        now = self.clock()
        if isinstance(event, Progress) and now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        if isinstance(event, Waiting):
            self._text = self._with_bar(f"waiting for {named(event.conditions)} of other processes")
        elif isinstance(event, Progress):
            self._text = self._with_bar(
                f"{event.condition.key}  {event.images_done}/{event.n_images} images  "
                f"{event.images_per_second:.1f} img/s"
            )
        elif isinstance(event, CellDone):
            self._text = self._with_bar(f"{event.cell.condition.key}  {self.score(event)}")
        elif isinstance(event, CellStarted) and self.now is None and not self.done:
            self._text = self._with_bar(f"{event.condition.key}  loading")
        self.draw()

    def draw(self) -> None:
        """Write the line over itself."""
        text = self._text[: max(self._width() - 1, 10)]
        # Written in one piece: a line that is wiped first and drawn after flickers.
        self.stream.write("\r" + text + " " * max(0, len(self._shown) - len(text)))
        self.stream.flush()
        self._shown = text

    def wipe(self) -> None:
        """Make room for another line."""
        if self._shown:
            self.stream.write("\r" + " " * len(self._shown) + "\r")
            self.stream.flush()
            self._shown = ""

    def _with_bar(self, text: str) -> str:
        assert self.plan is not None, "a sweep says first what it plans"
        cached, total, todo = self.plan.cached, self.plan.total, self.plan.todo
        ready = cached + self.done + self.elsewhere
        full = round(10 * ready / max(total, 1))
        bar = self._bar[0] * full + self._bar[1] * (10 - full)
        number = min(ready + 1, total) if ready < total else total
        words = [f"{bar} {self.preview}cell {number}/{total}", text]
        words += [f"ETA {duration(self.left())}"] if todo else []
        words += [f"{cached} cached"] if cached else []
        words += [f"{self.elsewhere} by others"] if self.elsewhere else []
        return "  ".join(words)

    def _terminal_width(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or shutil.get_terminal_size().columns
        except (OSError, ValueError, io.UnsupportedOperation):
            return shutil.get_terminal_size().columns


class _Above(io.TextIOBase):
    """Standard error while a live line is shown: whole lines come above it, and it is drawn again below them."""

    def __init__(self, line: LiveLine) -> None:
        self.line = line

    def write(self, text: str) -> int:
        self.line.wipe()
        self.line.stream.write(text)
        if text.endswith("\n"):
            self.line.draw()
        return len(text)

    def flush(self) -> None:
        self.line.stream.flush()

    def isatty(self) -> bool:
        return self.line.stream.isatty()

    def fileno(self) -> int:
        return self.line.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.line.stream.encoding


class Silence(Display):
    """For the second and further processes on one terminal."""

    def show(self, event: Event) -> None:
        """Nothing to say."""


@contextlib.contextmanager
def display(*, limit: int | None = None, metric: str | None = None, quiet: bool = False) -> Iterator[Display]:
    """The display that suits standard error.

    Args:
        limit: how many images were asked for; None for all.
        metric: the one that is shown; each cell's first when None.
        quiet: leave a terminal to another process.
    """
    live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    kind: type[Display] = (Silence if quiet else LiveLine) if live else PlainLines
    with kind(limit=limit, metric=metric) as shown:
        yield shown
