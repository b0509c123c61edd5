"""How far a grid is: one live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from rtx.cli.words import duration
from rtx.engines import Begun, Outcome, Retried
from rtx.experiments.run import Tally
from rtx.experiments.units import Unit

REDRAW_SECONDS, LINE_SECONDS, SHOWN = 0.2, 10.0, 8


class GridTable:
    """Takes what happens to units; a context manager around `rtx.experiments.run.run_units`.

    Args:
        total: units in all.
        stream: standard error when None.
        clock: seconds that only go forward.
    """

    def __init__(self, total: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.stream, self.clock = total, stream or sys.stderr, clock
        console = Console(file=self.stream)
        self.terminal = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self.started: float | None = None
        self._last = -1e9

    def __enter__(self) -> GridTable:
        """Take the terminal, if it is one."""
        if self.terminal:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        if self.terminal:
            self._live.__exit__(kind, error, trace)

    def __call__(self, tally: Tally, unit: Unit, event: Outcome | Begun | Retried) -> None:
        """Show it."""
        now = self.clock()
        self.started = now if self.started is None else self.started  # workers were ready by then
        failed = isinstance(event, Outcome) and unit.name in tally.failed
        if self.terminal and now - self._last >= REDRAW_SECONDS:
            self._last = now
            self._live.update(self._table(tally), refresh=True)
        elif not self.terminal and failed:
            print(f"failed {unit.name}: {tally.failed[unit.name]}", file=self.stream, flush=True)
        elif not self.terminal and isinstance(event, Retried):
            print(f"again {unit.name}: {event.reason}", file=self.stream, flush=True)
        elif not self.terminal and isinstance(event, Outcome) and (now - self._last >= LINE_SECONDS or not tally.left):
            self._last = now
            print(self.line(tally), file=self.stream, flush=True)

    def line(self, tally: Tally) -> str:
        """The counts in one line."""
        there = tally.cached + tally.done
        words = [f"run {there}/{self.total}", f"{len(tally.running)} running", f"{len(tally.failed)} failed"]
        return ", ".join([*words, f"{tally.left} left", f"ETA {duration(self.left(tally))}"])

    def left(self, tally: Tally) -> float | None:
        """Seconds until all units have ended, by the pace so far; None before the first."""
        ended = tally.done + len(tally.failed)
        if not ended or self.started is None:
            return None
        return tally.left * (self.clock() - self.started) / ended

    def _table(self, tally: Tally) -> Any:
        table = Table("running", "done", "failed", "left", "time left", caption_justify="left")
        done = str(tally.done + tally.cached) + (f" ({tally.cached} before)" if tally.cached else "")
        time_left = duration(self.left(tally))
        table.add_row(str(len(tally.running)), done, str(len(tally.failed)), str(tally.left), time_left)
        shown = [f"{name} on {worker}" for name, worker in list(tally.running.items())[-SHOWN:]]
        table.caption = "\n".join(shown)
        return table
