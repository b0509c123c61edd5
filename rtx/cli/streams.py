"""Standard output and error that cannot end a command: its results matter more than the lines about them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_OBEYED = re.compile("\x1b(?!\\[[0-9;]*m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
"""What a terminal would obey instead of showing it, but for colours."""


class Sturdy:
    """A text stream whose first failure (closed pipe, full disk) is kept, and after which nothing is written any more.

    Args:
        stream: standard output or error.
        plain: show control characters, which names from files may hold, as escapes. Not on standard error, where a
            live line moves the cursor.

    Attributes:
        fault: that failure.
    """

    def __init__(self, stream: Any, *, plain: bool = False) -> None:
        self._stream, self._plain = stream, plain
        self.fault: OSError | None = None

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        try:
            self._stream.write(_OBEYED.sub(_escaped, text) if self._plain else text)
        except OSError as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them, if that is possible."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand everything to the system, if that is possible."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Point the descriptor at nothing: what C code writes, and what is still in a buffer, goes there as well."""
        self.fault = self.fault or error
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()


def steady_streams() -> Sturdy:
    """Make `sys.stdout` and `sys.stderr` sturdy, also where the process was started without them; the former.

    A file that is opened while a standard descriptor is free would take its number, and what C code prints would go
    into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="rtx.plain")  # a letter that is not there must not end a command
        setattr(sys, name, Sturdy(stream, plain=number == 1))
    return sys.stdout  # type: ignore[return-value]
