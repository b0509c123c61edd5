"""Names, order, families and groups of the corruptions: the one home of all four."""

from __future__ import annotations

from collections.abc import Iterable

from rtx.errors import BadValue, unknown_name

FAMILIES = ("noise", "blur", "weather", "digital")
_MEMBERS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "held_out": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
CORRUPTIONS: dict[str, str] = {name: family for family, names in _MEMBERS.items() for name in names}
"""Corruption -> family, in the order of ImageNet-C; `@corruption` adds those of other packages."""

BENCHMARK = tuple(name for family in FAMILIES for name in _MEMBERS[family])
"""The corruptions that P, mPC, rPC and mCE are about; no other is ever part of them, whatever its family."""

HELD_OUT = _MEMBERS["held_out"]
GROUPS: dict[str, tuple[str, ...]] = {"benchmark": BENCHMARK, **_MEMBERS, "all": tuple(CORRUPTIONS)}


def add_name(name: str, family: str) -> None:
    """Add a corruption of another package, beside the benchmark.

    Raises:
        BadValue: the name has another family here, is a group, or cannot be part of a file name.
    """
    if CORRUPTIONS.get(name, family) != family:
        raise BadValue(f"corruption {name!r} is of family {CORRUPTIONS[name]!r} in rtx.corruptions, not {family!r}")
    if not name.isidentifier() or name in (*GROUPS, "clean"):
        raise BadValue(f"corruption {name!r}: the name must be a Python name, and none of {', '.join(GROUPS)}, clean")
    CORRUPTIONS[name] = family
    GROUPS["all"] = tuple(CORRUPTIONS)


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
