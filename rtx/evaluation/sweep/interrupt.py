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


class _Stop:
    """The handler: the first SIGTERM raises."""

    present: _Stop | None = None
    """The one of the innermost `sigterm_raises` that is open."""
    stopped = False

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self.stopped = True
        # A second one, while the first is being cleaned up after, must not interrupt that.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated


def check_not_stopped() -> None:
    """Raise again what a loader's own error about its ended workers has replaced: SIGTERM goes to them, too."""
    if _Stop.present is not None and _Stop.present.stopped:
        raise Terminated


_masks = threading.local()


def _hold() -> None:
    """Before a fork: a SIGTERM waits until the new process has left our handler; it would be lost in between."""
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _end_as_usual() -> None:
    """In a forked process SIGTERM ends it: so a pool ends its workers, mmdet's VOC metric after each evaluation.

    A handler of Python's is run between two instructions only. A worker that got the signal just before it began to
    wait for a lock would wait for ever, and its pool for it.
    """
    if isinstance(signal.getsignal(signal.SIGTERM), _Stop):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release()


os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_end_as_usual)


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated` in the main thread; the handler that was there before comes back after.

    In another thread than the main one nothing changes: Python allows handlers there only. Nor does it in processes
    that are forked within.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop, outer = _Stop(), _Stop.present
    before = signal.signal(signal.SIGTERM, stop)
    _Stop.present = stop
    try:
        yield
    except KeyboardInterrupt as error:
        if stop.stopped and not isinstance(error, Terminated):
            raise Terminated from error  # Ray makes a plain one of it
        raise
    finally:
        _Stop.present = outer
        signal.signal(signal.SIGTERM, before)
