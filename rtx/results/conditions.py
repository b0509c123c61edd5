"""Which cells an evaluation asks for."""

from __future__ import annotations

from collections.abc import Iterable

from rtx.corruptions import CORRUPTIONS, expand
from rtx.errors import BadValue
from rtx.types import CLEAN, SEVERITIES, THREATS, Condition


def grid(corruptions: Iterable[str] = ("benchmark",), severities: Iterable[int] = SEVERITIES) -> tuple[Condition, ...]:
    """The conditions to evaluate: clean first, then corruption by corruption in canonical order.

    Args:
        corruptions: names and groups ("benchmark", "noise", "held_out", ...), as a set union.
        severities: 1 to 5; 0 is accepted as another way to ask for the clean images.

    Raises:
        UnknownName: a corruption or group does not exist.
        BadValue: a severity outside 0 to 5.

    Example:
        >>> [c.key for c in grid(["fog"], [1, 3])]
        ['clean', 'fog_1', 'fog_3']
    """
    levels = sorted(set(severities))
    wrong = [level for level in levels if isinstance(level, bool) or level not in (0, *SEVERITIES)]
    if wrong:
        raise BadValue(f"severity {', '.join(map(repr, wrong))}: must be 1 to 5 (0 asks for the clean images)")
    return (CLEAN, *(Condition(name, level) for name in expand(corruptions) for level in levels if level))


def grid_order(condition: Condition) -> tuple[int, float]:
    """Sorts conditions as tables show them: clean, then by corruption and severity."""
    return _PLACES[condition.corruption], condition.severity


_PLACES = {name: place for place, name in enumerate((CLEAN.corruption, *CORRUPTIONS, *THREATS))}


def family_of(condition: Condition) -> str:
    """The family of corruptions, "clean" or "adversarial"."""
    return "adversarial" if condition.is_attack else CORRUPTIONS.get(condition.corruption, "clean")


def is_known(condition: Condition) -> bool:
    """Whether it is one of those that this version of rtx evaluates."""
    return condition.corruption in _PLACES
