"""SIGTERM as an exception, so that a stop by a scheduler leaves as good a state as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
"""Exit status after Ctrl-C (128 + SIGINT)."""
EXIT_TERMINATED = 143
"""Exit status after SIGTERM (128 + SIGTERM)."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


def exit_status(error: KeyboardInterrupt) -> int:
    """The exit status that goes with a stop.

    Example:
        >>> exit_status(KeyboardInterrupt()), exit_status(Terminated())
        (130, 143)
    """
    return EXIT_TERMINATED if isinstance(error, Terminated) else EXIT_INTERRUPTED


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated` in the main thread; the handler that was there before comes back after.

    In another thread than the main one nothing changes: Python allows handlers there only. A process that is forked
    within ends without a word: a pool ends its workers by SIGTERM, mmdet's VOC metric after each evaluation.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    stopped, own = False, os.getpid()

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal stopped
        if os.getpid() != own:
            raise SystemExit(0)  # PyTorch would take the status of a signal for a fault of its loader
        stopped = True
        # A second one, while the first is being cleaned up after, must not interrupt that.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt as error:
        if stopped and not isinstance(error, Terminated):
            raise Terminated from error  # Ray makes a plain one of it
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
