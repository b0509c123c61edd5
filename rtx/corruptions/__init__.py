"""The corruptions of ImageNet-C (Hendrycks & Dietterich, 2019) for images of any size.

`CORRUPTIONS` is the one home of their names, order and families. `corrupt` is the one way to apply one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import reference
from rtx.errors import BadValue, unknown_name
from rtx.types import Condition

CORRUPTIONS: dict[str, str] = {
    "gaussian_noise": "noise",
    "shot_noise": "noise",
    "impulse_noise": "noise",
    "defocus_blur": "blur",
    "glass_blur": "blur",
    "motion_blur": "blur",
    "zoom_blur": "blur",
    "snow": "weather",
    "frost": "weather",
    "fog": "weather",
    "brightness": "weather",
    "contrast": "digital",
    "elastic_transform": "digital",
    "pixelate": "digital",
    "jpeg_compression": "digital",
    "speckle_noise": "held_out",
    "gaussian_blur": "held_out",
    "spatter": "held_out",
    "saturate": "held_out",
}
"""Corruption -> family, in the order of ImageNet-C; the four `held_out` ones are never part of mPC."""

FAMILIES = ("noise", "blur", "weather", "digital")
BENCHMARK = tuple(name for name, family in CORRUPTIONS.items() if family in FAMILIES)
HELD_OUT = tuple(name for name, family in CORRUPTIONS.items() if family == "held_out")
GROUPS: dict[str, tuple[str, ...]] = {
    "benchmark": BENCHMARK,
    **{family: tuple(n for n, f in CORRUPTIONS.items() if f == family) for family in FAMILIES},
    "held_out": HELD_OUT,
    "all": tuple(CORRUPTIONS),
}
ENGINES = {"imagecorruptions": reference.apply}
DEFAULT_ENGINE = "imagecorruptions"
MIN_SIDE = 32

Image = NDArray[np.uint8]


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Corruption and group names -> corruptions, each once, in canonical order.

    Raises:
        UnknownName: a name is neither a corruption nor a group.

    Example:
        >>> expand(["blur", "fog", "zoom_blur"])
        ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur', 'fog')
    """
    wanted: set[str] = set()
    for name in names:
        if name in GROUPS:
            wanted.update(GROUPS[name])
        elif name in CORRUPTIONS:
            wanted.add(name)
        else:
            raise unknown_name("corruption", name, place="rtx.corruptions", choices=[*CORRUPTIONS, *GROUPS])
    return tuple(name for name in CORRUPTIONS if name in wanted)


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
