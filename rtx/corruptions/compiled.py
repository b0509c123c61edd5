"""One way to compile a kernel: cached on disk where possible, without the interpreter lock, same bits everywhere.

`fastmath` stays off: it lets the compiler contract `a * b + c` and reorder sums, which would make pixels depend on the
processor. What is left (+ - * / and comparisons) is exact in IEEE arithmetic on every machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])
_said = False


def compiled(function: F) -> F:
    """Compile with numba on first use; later processes read the compiled code from numba's cache folder.

    Where no cache folder can be written (a read-only installation and home), the kernel compiles in memory.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except (RuntimeError, OSError) as error:
        _say_once(error)
        return cast(F, njit(**options)(function))


def inlined(function: F) -> F:
    """A piece of a kernel: compiled into the kernels that call it, never called from Python."""
    return cast(F, njit(inline="always", error_model="numpy", boundscheck=False)(function))


def _say_once(error: Exception) -> None:
    """One line, whatever the number of kernels."""
    global _said
    if not _said:
        log.warning("compiled corruption kernels are not cached (%s); set NUMBA_CACHE_DIR to a writable folder", error)
        _said = True
