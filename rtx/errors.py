"""Errors a user can act on: each message names the value, the place and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RtxError(Exception):
    """Base of every error that rtx raises for bad input; commands print it as one line and exit with 2."""


class UnknownName(RtxError, ValueError):
    """A name that is not in the list it should come from."""


class BadValue(RtxError, ValueError):
    """A value of the wrong type, range or form."""


class DataError(RtxError):
    """A data folder, an image or an annotation that cannot be used as it is."""


class WeightsError(RtxError):
    """A weights file that is missing, unreadable or unsafe to read."""

    def __str__(self) -> str:
        """The message on one line: names come out of the file, and may hold anything."""
        return printable(super().__str__())


class WeightsMismatch(WeightsError):
    """A weights file that does not fit the model it is meant for."""


class MissingConditions(RtxError):
    """An aggregate was asked for over cells that were not all evaluated."""


class RunConflict(RtxError):
    """An output folder that belongs to another run."""


class OutputError(RtxError, OSError):
    """A file or folder of results that cannot be written, or not be read for a fault of the machine."""


class DeviceError(RtxError):
    """A device that cannot do what it is asked to."""


class EngineError(RtxError):
    """Workers that cannot be started, or that die again and again."""


class FrozenChanged(RtxError):
    """A parameter or buffer that was declared frozen is not bit-identical after training."""


class MissingDependency(RtxError, ImportError):
    """An optional package that this command needs is absent or broken."""


def printable(text: object) -> str:
    r"""Text from a file on one line, with control and other unprintable characters as escapes.

    Example:
        >>> print(printable("fc.weight\x1b[2K\nusable yes"))
        fc.weight\x1b[2K\nusable yes
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def shown(error: BaseException) -> str:
    r"""An error for a terminal: its type and its message, whose lines stay lines.

    Example:
        >>> print(shown(ValueError("class 'a\x1b[2J'")))
        ValueError: class 'a\x1b[2J'
    """
    return "\n".join(map(printable, f"{type(error).__name__}: {str(error).strip()}".split("\n")))


def some(items: Iterable[object], most: int = 3) -> str:
    """The first few items, and how many more there are.

    Example:
        >>> some("abcde")
        'a, b, c and 2 more'
    """
    rows = [printable(item) for item in items]
    return ", ".join(rows[:most]) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def unknown_name(kind: str, value: object, *, place: str, choices: Iterable[str], remedy: str = "") -> UnknownName:
    """Build an `UnknownName` that shows the nearest valid names.

    Args:
        kind: what the name stands for, e.g. "corruption".
        value: the name that was given.
        place: where the valid names are listed, e.g. "rtx/sources/catalog/rows.py".
        choices: the valid names.
        remedy: what to do when no near name is meant; a list of all choices when empty.

    Example:
        >>> str(unknown_name("corruption", "fogg", place="rtx.corruptions", choices=["fog", "frost"]))
        "corruption 'fogg' is not in rtx.corruptions; did you mean 'fog'? (known: fog, frost)"
    """
    names = list(choices)
    near = difflib.get_close_matches(str(value), names, n=3, cutoff=0.6)
    guess = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return UnknownName(f"{kind} {value!r} is not in {place}{guess} ({remedy or 'known: ' + ', '.join(names)})")
