"""One driver in an output folder, or one for each shard of its grid, held by the operating system's file locks.

A lock of a process that died is free by itself. Lock files are empty and named `.*.lock`; those that are left behind
mean nothing, and the next driver removes them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from rtx.errors import RunConflict
from rtx.files import cannot_write

log = logging.getLogger(__name__)

Shard = tuple[int, int]
"""(i, n): part i of n, counted from 1."""
_MORE = (
    "to use more processes give --run-on ray, or start one job with `torchrun --nproc-per-node N tools/corrupt_eval.py "
    "... --launcher pytorch`, or one process for each --shard I/N; or choose another --out"
)
_DRIVER, _GUARD, _SHARDS = ".driver.lock", ".folder.lock", ".shard-*.lock"


@contextmanager
def driving(root: Path, shard: Shard | None = None, *, more: str = "") -> Iterator[None]:
    """Within, this process is the one driver of the folder, or of its shard.

    Args:
        root: the folder.
        shard: of an evaluation.
        more: how to use more processes; the ways of an evaluation when empty.

    Raises:
        RunConflict: another process is; or one drives a shard while this one would drive the folder, or the reverse.
        OutputError: the folder cannot be written.
    """
    mine = root / (_DRIVER if shard is None else _SHARDS.replace("*", f"{shard[0]}-of-{shard[1]}"))
    with guarded(root):
        others = sorted(root.glob(_SHARDS)) if shard is None else [root / _DRIVER]
        if any(_is_held(path) for path in others) or not _acquire(lock := FileLock(mine), 0):
            what = "there" if shard is None else f"shard {shard[0]}/{shard[1]} or the whole grid there"
            raise RunConflict(f"output folder {str(root)!r}: another process is at work {what}; {more or _MORE}")
    try:
        yield
    finally:
        _release(lock)


@contextmanager
def guarded(root: Path) -> Iterator[None]:
    """Within, no other process opens the folder or writes what is made of its cells; waits until that is so."""
    lock = FileLock(root / _GUARD)
    _acquire(lock, -1)
    try:
        yield
    finally:
        _release(lock)


def alone(root: Path, shard: Shard | None) -> bool:
    """Whether no other shard is being evaluated; call it where `guarded`, by a driver."""
    mine = None if shard is None else f".shard-{shard[0]}-of-{shard[1]}.lock"
    return not any(_is_held(path) for path in sorted(root.glob(_SHARDS)) if path.name != mine)


def _is_held(path: Path) -> bool:
    """Whether a process holds this lock; where none does, its file is removed."""
    if not _acquire(lock := FileLock(path), 0):
        return True
    _release(lock)
    return False


def _acquire(lock: FileLock, timeout: float) -> bool:
    """Whether the lock is this process's now, or the file system has none.

    Raises:
        OutputError: its file cannot be made.
    """
    path = Path(lock.lock_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        _warn_once(path.parent, str(error))
    return True


def _release(lock: FileLock) -> None:
    if lock.is_locked:
        # Before the lock goes: whoever waits for this very file sees that it has no name any more, and makes a new one.
        with suppress(OSError):  # a disk that became read-only: what could not be written is the error to show
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@cache
def _warn_once(root: Path, fault: str) -> None:
    log.warning("%s: no file locks there (%s); see to it that one process evaluates into this folder", root, fault)
