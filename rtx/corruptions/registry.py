"""`@corruption`: a function that changes pixels becomes a corruption with its name, family and severity table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions.names import CORRUPTIONS
from rtx.types import SEVERITIES

Image = NDArray[np.uint8]
Level = TypeVar("Level")
ApplyFunction = Callable[[Image, Level, Any, bool], Image]
DrawFunction = Callable[[Image, Level, np.random.Generator, bool], Any]

KERNELS: dict[str, Corruption[Any]] = {}
"""Name -> kernel, filled by importing `rtx.corruptions.kernels`."""


@dataclass(frozen=True)
class Corruption(Generic[Level]):
    """One corruption: what it draws, what it does with it, and how strong each severity is.

    Attributes:
        name: key of `rtx.corruptions.CORRUPTIONS`.
        family: value of it.
        levels: the constants of severities 1 to 5 in ImageNet-C and in imagecorruptions-imaug.
        cifar10c: the constants of severities 1 to 5 in CIFAR-10-C.
        apply: `(image, level, field, fixed) -> image`; pure, and the same for the same arguments.
        draw: `(image, level, rng, fixed) -> field`; the only place where `rng` is used.
    """

    name: str
    family: str
    levels: tuple[Level, ...]
    cifar10c: tuple[Level, ...]
    apply: ApplyFunction[Level]
    draw: DrawFunction[Level]

    def __call__(
        self,
        image: Image,
        severity: int,
        rng: np.random.Generator,
        *,
        fixed: bool = False,
        cifar10c: bool = False,
    ) -> Image:
        """Draw and apply.

        Args:
            image: RGB uint8 (H, W, 3), both sides at least 32, C-contiguous. It is not changed.
            severity: 1 to 5.
            rng: where the random field comes from.
            fixed: mend the inherited oddities instead of keeping them, see `docs/protocol.md`.
            cifar10c: take the constants of CIFAR-10-C.
        """
        level = (self.cifar10c if cifar10c else self.levels)[severity - 1]
        return self.apply(image, level, self.draw(image, level, rng, fixed), fixed)


def no_field(image: Image, level: object, rng: np.random.Generator, fixed: bool) -> None:
    """What a deterministic corruption draws."""


def corruption(
    family: str,
    *,
    levels: tuple[Level, ...],
    cifar10c: tuple[Level, ...],
    draw: DrawFunction[Level] = no_field,
) -> Callable[[ApplyFunction[Level]], Corruption[Level]]:
    """Make a corruption of a function `(image, level, field, fixed) -> image`.

    Args:
        family: must be what `CORRUPTIONS` says of the function's name.
        levels: the constants of severities 1 to 5.
        cifar10c: the same in CIFAR-10-C, tuned for 32 x 32 pixels.
        draw: makes the random field; nothing by default.
    """

    def register(apply: ApplyFunction[Level]) -> Corruption[Level]:
        name = getattr(apply, "__name__", "?")
        assert CORRUPTIONS.get(name) == family, f"{name} is not of family {family} in rtx.corruptions.CORRUPTIONS"
        assert len(levels) == len(cifar10c) == len(SEVERITIES)
        kernel = Corruption(name, family, levels, cifar10c, apply, draw)
        KERNELS[name] = kernel
        return kernel

    return register
