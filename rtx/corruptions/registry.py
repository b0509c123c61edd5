"""`@corruption`: a function that changes pixels becomes a corruption with its name, family and severity table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions.names import add_name
from rtx.errors import BadValue
from rtx.types import SEVERITIES

Image = NDArray[np.uint8]
Level = TypeVar("Level")
ApplyFunction = Callable[[Image, Level, Any], Image]
DrawFunction = Callable[[Image, Level, np.random.Generator], Any]

KERNELS: dict[str, Corruption[Any]] = {}
"""Name -> kernel; importing `rtx.corruptions.kernels` adds rtx's own."""


@dataclass(frozen=True)
class Corruption(Generic[Level]):
    """One corruption: its random field, how it is applied, and the constants of each severity.

    Attributes:
        name: key of `rtx.corruptions.CORRUPTIONS`.
        family: value of it.
        levels: the constants of severities 1 to 5; ImageNet-C's and imagecorruptions-imaug's where they have it.
        cifar10c: the constants of severities 1 to 5 in CIFAR-10-C, tuned for 32 x 32 pixels; None where it has none.
        apply: `(image, level, field) -> image`; the same for the same arguments.
        draw: `(image, level, rng) -> field`, or the key of a field that `apply` draws as it goes; None where `apply`
            takes the generator itself.
    """

    name: str
    family: str
    levels: tuple[Level, ...]
    cifar10c: tuple[Level, ...] | None
    apply: ApplyFunction[Level]
    draw: DrawFunction[Level] | None

    def __call__(self, image: Image, severity: int, rng: np.random.Generator, *, cifar10c: bool = False) -> Image:
        """Sample the field and apply the corruption.

        Args:
            image: RGB uint8 (H, W, 3), both sides at least 32, C-contiguous. It is not changed.
            severity: 1 to 5.
            rng: where the random field comes from.
            cifar10c: take the constants of CIFAR-10-C.

        Raises:
            BadValue: there are none in CIFAR-10-C.
        """
        levels = self.cifar10c if cifar10c else self.levels
        if levels is None:
            raise BadValue(f"corruption {self.name!r} has no table for CIFAR-10-C; use the engine 'rtx'")
        level = levels[severity - 1]
        return self.apply(image, level, rng if self.draw is None else self.draw(image, level, rng))


def corruption(
    family: str,
    *,
    levels: tuple[Level, ...],
    cifar10c: tuple[Level, ...] | None = None,
    draw: DrawFunction[Level] | None = None,
) -> Callable[[ApplyFunction[Level]], Corruption[Level]]:
    """Make a corruption of a function; its name is that of the function.

    Functions of other packages work too: their corruptions stand beside the benchmark and never change it.

    Args:
        family: "noise", "blur", "weather", "digital", "held_out" or a word of your own.
        levels: the constants of severities 1 to 5.
        cifar10c: the same in CIFAR-10-C, where it has this corruption.
        draw: `(image, level, rng) -> field`, when what is random is worth having apart; the function's third argument
            is the field then, and `rng` otherwise.

    Raises:
        BadValue: the name is taken, or a table has not five severities.

    Example:
        >>> @corruption("sensor", levels=(1, 2, 4, 8, 16))
        ... def dead_rows(image, count, rng):
        ...     out = image.copy()
        ...     out[rng.integers(len(out), size=count)] = 0
        ...     return out
    """

    def register(apply: ApplyFunction[Level]) -> Corruption[Level]:
        name = getattr(apply, "__name__", "?")
        for table in (levels, cifar10c):
            if table is not None and len(table) != len(SEVERITIES):
                raise BadValue(f"corruption {name!r}: a table of {len(table)} severities; give {len(SEVERITIES)}")
        add_name(name, family)
        KERNELS[name] = Corruption(name, family, levels, cifar10c, apply, draw)
        return KERNELS[name]

    return register
