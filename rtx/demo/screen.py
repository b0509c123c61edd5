"""Progress of the demo: lines for each step with its duration; output of the libraries goes to a log file."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import Progress

Report = Callable[[int, int], None]
EVERY = 15.0
"""Seconds between lines of a long step where there is no terminal that could show a bar."""


class Screen:
    """A line for each step; on a terminal with a bar below it while the step lasts.

    Args:
        steps: how many steps there will be.
        log_file: where everything else is written that would have come to the screen.
        stream: where the lines go.
    """

    def __init__(self, steps: int, log_file: Path, stream: TextIO | None = None) -> None:
        self.steps = steps
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self.sink = log_file.open("a", encoding="utf-8", buffering=1)
        self.console = Console(file=stream or sys.stdout, markup=False, emoji=False, highlight=False, soft_wrap=True)
        self.started = time.monotonic()
        self.number = 0

    def line(self, text: str) -> None:
        """Show one line."""
        self.console.print(f"[{clock(time.monotonic() - self.started)}] {text}")

    def skip(self, title: str, text: str) -> None:
        """Say that a step needs no work."""
        self.number += 1
        self.line(f"{self.number}/{self.steps} {title}: {text}")

    @contextlib.contextmanager
    def step(self, title: str, unit: str) -> Iterator[tuple[Report, list[str]]]:
        """One step: what is logged or printed inside goes to the log file.

        Args:
            title: what is done.
            unit: what is counted.

        Yields:
            A function that takes (done, total), and a list whose last entry becomes the step's closing line.
        """
        self.number += 1
        head = f"{self.number}/{self.steps} {title}"
        self.line(f"{head} ...")
        begun = time.monotonic()
        result: list[str] = []
        # Drawn by reports alone: a thread of its own would be copied into forked data loaders.
        progress = Progress(
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        task = progress.add_task(unit, total=None)

        told = begun

        def report(done: int, total: int) -> None:
            nonlocal told
            if not self.console.is_terminal and done < total and time.monotonic() - told >= EVERY:
                told = time.monotonic()
                self.line(f"{head}: {done} of {total} {unit}")
            progress.update(task, description=f"{done} of {total} {unit}", completed=done, total=total, refresh=True)

        with progress, quiet(self.sink):
            yield report, result
        self.line(f"{head}: {result[-1] if result else 'done'} ({time.monotonic() - begun:.0f} s)")


def clock(seconds: float) -> str:
    """Minutes and seconds.

    Example:
        >>> clock(75.4)
        ' 1:15'
    """
    return f"{int(seconds) // 60:2d}:{int(seconds) % 60:02d}"


@contextlib.contextmanager
def quiet(sink: TextIO) -> Iterator[None]:
    """Send print, warnings and logging of this process to `sink`; errors still come out as exceptions.

    Args:
        sink: stays open afterwards, because libraries keep it in log handlers that they make inside.
    """
    logger = logging.getLogger("rtx")
    levels = [(handler, handler.level) for handler in logger.handlers]
    own = logging.StreamHandler(sink)
    own.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    try:
        for handler, _ in levels:
            handler.setLevel(logging.ERROR)
        logger.addHandler(own)
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            yield
    finally:
        logger.removeHandler(own)
        for handler, level in levels:
            handler.setLevel(level)
