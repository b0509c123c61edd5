"""Names, order, families and groups of the corruptions: the one home of all four."""

from __future__ import annotations

from collections.abc import Iterable

from rtx.errors import unknown_name

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
