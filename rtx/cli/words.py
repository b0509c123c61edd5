"""Small words that displays share: durations, names of cells, and bars."""

from __future__ import annotations

from rtx.types import Condition


def bar(done: int, total: int, width: int, *, ascii_only: bool) -> str:
    """How far something is, drawn with so many characters.

    Example:
        >>> bar(1, 2, 6, ascii_only=True)
        '###...'
    """
    full = round(width * done / max(total, 1))
    there, lacking = "#." if ascii_only else "█░"
    return there * full + lacking * (width - full)


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> duration(None), duration(9.2), duration(754), duration(36610)
        ('?', '9 s', '12:34', '10:10:10')
    """
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def named(conditions: tuple[Condition, ...]) -> str:
    """Some conditions in few words.

    Example:
        >>> named((Condition("fog", 1), Condition("fog", 2), Condition("snow", 1)))
        '3 cells (fog_1, fog_2, ...)'
    """
    keys = ", ".join(condition.key for condition in conditions[:2]) + (", ..." if len(conditions) > 2 else "")
    return f"{len(conditions)} cell{'s' if len(conditions) != 1 else ''} ({keys})"
