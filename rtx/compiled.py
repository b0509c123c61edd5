"""One way to compile a kernel: cached on disk where possible, without the interpreter lock, same bits everywhere.

`fastmath` stays off: it lets the compiler contract `a * b + c` and reorder sums, which would make pixels depend on the
processor. What is left (+ - * / and comparisons) is exact in IEEE arithmetic on every machine.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])


class _SayOnce(event.Listener):  # type: ignore[misc,unused-ignore]
    """Explains the wait of a first use; numba sends this event for code that is not in its cache, and only for that."""

    def __init__(self) -> None:
        self.silent = False

    def on_start(self, event: Any) -> None:
        kernel = getattr((event.data or {}).get("dispatcher"), "py_func", None)
        if not self.silent and str(getattr(kernel, "__module__", "")).startswith(__package__):
            self.silent = True
            log.warning("compiling corruption kernels for this machine, half a minute of one core, once")

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


event.register("numba:compile", _SayOnce())


def compiled(function: F) -> F:
    """Compile with numba on first use; later processes read the compiled code from numba's cache folder.

    That is NUMBA_CACHE_DIR where it is set, else `__pycache__` beside the source, else (a read-only installation) the
    user's cache folder. Where none can be written, or others can write into it, the kernel compiles in memory: what
    lies in a cache is run. A damaged cache is made anew.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
    try:
        kernel = njit(cache=True, **options)(function)
        if fault := others_can_write(Path(kernel._cache._cache_path), Path(function.__code__.co_filename)):
            raise RuntimeError(fault)
        _renew_with_the_package(kernel)
        _renew_when_damaged(kernel._cache._cache_file)
        return cast(F, kernel)
    except (RuntimeError, OSError, AttributeError) as error:  # the last where a numba keeps its cache otherwise
        _warn_uncached(str(error))
        return cast(F, njit(**options)(function))


def inlined(function: F) -> F:
    """A piece of a kernel: compiled into the kernels that call it, never called from Python."""
    return cast(F, njit(inline="always", error_model="numpy", boundscheck=False)(function))


def _renew_with_the_package(kernel: Any) -> None:
    """Recompile when any file of this package with compiled code changes.

    Numba looks at the file of the kernel alone, and would go on using code compiled from an older version of what the
    kernel calls in another file: old pixels under a new name.
    """
    index = kernel._cache._cache_file
    index._source_stamp = (index._source_stamp, source_hash())


@lru_cache(maxsize=16)
def others_can_write(folder: Path, source: Path) -> str:
    """Why a cache folder cannot be trusted: somebody else can write into it; "" where nobody can.

    Who may change the source itself gains nothing from its cache, and may. So may root, also as the nameless owner that
    containers and network disks make of it.

    Args:
        folder: the cache.
        source: a file whose compiled code lies there.
    """
    root, nobody, me = 0, 65534, os.geteuid()
    code = source.parent.stat()
    trusted = {root, me, code.st_uid, source.stat().st_uid}
    for path in (folder, *sorted(folder.glob("*.nb[ic]")), *folder.absolute().parents):
        with suppress(FileNotFoundError):  # another process is renewing it
            facts = path.stat()
            loose = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if facts.st_gid == facts.st_uid:  # a user's private group, with one member
                loose &= ~stat.S_IWGRP
            if path in folder.absolute().parents:
                trusted = trusted | {nobody}
                loose = 0 if facts.st_mode & stat.S_ISVTX else loose
            if facts.st_gid == code.st_gid:
                loose &= ~(code.st_mode & stat.S_IWGRP)
            if facts.st_uid not in trusted:
                return f"{path} belongs to another user (number {facts.st_uid}), and what lies there would be run"
            if loose & ~(code.st_mode & stat.S_IWOTH):
                return f"others may write into {path}, and what lies there would be run"
    return ""


def _renew_when_damaged(files: Any) -> None:
    """Take damaged files of numba's cache for absent ones, whatever reading them raises, so that they are made anew."""
    load_index, load_data = files._load_index, files._load_data

    def index() -> Any:
        try:
            return load_index()
        except Exception as error:
            _warn_damaged(files._index_path, type(error).__name__)
            with suppress(OSError):
                Path(files._index_path).unlink()
            return {}

    def data(name: str) -> Any:
        try:
            return load_data(name)
        except Exception as error:
            _warn_damaged(files._data_path(name), type(error).__name__)
            raise OSError(f"{name}: damaged") from error  # numba's word for absent

    files._load_index, files._load_data = index, data


@lru_cache(maxsize=1)
def source_hash() -> str:
    """sha256 (hex) of all files of this package with compiled code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        content = path.read_bytes()
        if b"numba" in content or b"import compiled" in content:
            digest.update(path.relative_to(Path(__file__).parent).as_posix().encode() + b"\0" + content + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _warn_uncached(reason: str) -> None:
    """One line, not one for each kernel."""
    log.warning("compiled corruption kernels are not cached (%s); set NUMBA_CACHE_DIR to a folder of your own", reason)


def _warn_damaged(path: str, reason: str) -> None:
    log.warning("%s is damaged (%s): compiled anew", path, reason)
