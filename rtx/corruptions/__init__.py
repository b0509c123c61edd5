"""The corruptions of ImageNet-C (Hendrycks & Dietterich, 2019) for images of any size.

`CORRUPTIONS` is the one home of their names, order and families. `corrupt` is the one way to apply one, `@corruption`
the way to add one.
"""

from __future__ import annotations

import numpy as np

from rtx.corruptions.engines import ENGINES
from rtx.corruptions.names import BENCHMARK, CORRUPTIONS, FAMILIES, GROUPS, HELD_OUT, expand
from rtx.corruptions.registry import Image, corruption
from rtx.errors import BadValue, unknown_name
from rtx.types import Condition

__all__ = [
    "BENCHMARK",
    "CORRUPTIONS",
    "DEFAULT_ENGINE",
    "ENGINES",
    "FAMILIES",
    "GROUPS",
    "HELD_OUT",
    "MIN_SIDE",
    "check_image",
    "corrupt",
    "corruption",
    "expand",
]

DEFAULT_ENGINE = "rtx"
MIN_SIDE = 32


def check_image(image: Image, *, name: str = "image") -> None:
    """Refuse anything but RGB uint8 (H, W, 3) with both sides at least 32.

    Raises:
        BadValue: names the fault and `name`, the place the image came from.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise BadValue(f"{name}: corruptions take uint8 arrays, got {found}; convert it to 0..255 uint8 first")
    if image.ndim != 3 or image.shape[2] != 3:
        raise BadValue(f"{name}: corruptions take RGB (H, W, 3), got shape {image.shape}; convert it to RGB first")
    if min(image.shape[:2]) < MIN_SIDE:
        height, width = image.shape[:2]
        raise BadValue(
            f"{name}: {width}x{height} pixels, but corruptions need at least {MIN_SIDE} on each side; "
            "leave this image out of the evaluated set"
        )


def corrupt(
    image: Image, condition: Condition, rng: np.random.Generator, *, engine: str = DEFAULT_ENGINE, name: str = "image"
) -> Image:
    """Apply one corruption at one severity.

    Args:
        image: RGB uint8 (H, W, 3), both sides at least 32. It is not changed.
        condition: what to apply; `clean` returns a copy.
        rng: where every random number comes from, see `rtx.rng.image_rng`.
        engine: which implementation makes the pixels, a key of `ENGINES`.
        name: what error messages call the image.

    Returns:
        RGB uint8 of the same shape.

    Raises:
        BadValue: the image has another dtype, shape or size.
        UnknownName: no such corruption or engine.
    """
    check_image(image, name=name)
    if condition.corruption == "clean":
        return image.copy()
    if condition.corruption not in CORRUPTIONS:
        raise unknown_name("corruption", condition.corruption, place="rtx.corruptions", choices=CORRUPTIONS)
    if engine not in ENGINES:
        raise unknown_name("corruption engine", engine, place="rtx.corruptions.ENGINES", choices=ENGINES)
    return ENGINES[engine](image, condition, rng)
