"""What the rest of a model must know of a backbone: how to build it, its channels and strides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtx.backbones.resnet import arch_name
from rtx.errors import BadValue, unknown_name


@dataclass(frozen=True)
class BackboneSpec:
    """One architecture as a feature pyramid.

    Attributes:
        channels: of the four stage outputs.
        config: registry type and arguments that select the architecture, and nothing else.
        strides: of the four stage outputs, in input pixels.
    """

    channels: tuple[int, int, int, int]
    config: Mapping[str, Any]
    strides: tuple[int, int, int, int] = (4, 8, 16, 32)


def _resnet(depth: int, groups: int = 1, base_width: int = 64) -> tuple[str, BackboneSpec]:
    config: dict[str, Any] = {"type": "SourceResNet", "depth": depth}
    if (groups, base_width) != (1, 64):
        config |= {"groups": groups, "base_width": base_width}
    channels = (256, 512, 1024, 2048) if depth >= 50 else (64, 128, 256, 512)
    return arch_name(depth, groups, base_width), BackboneSpec(channels, config)


BACKBONES: Mapping[str, BackboneSpec] = dict(
    [
        _resnet(18),
        _resnet(34),
        _resnet(50),
        _resnet(101),
        _resnet(50, 1, 128),
        _resnet(50, 1, 256),
        _resnet(50, 32, 4),
    ]
)

# Arguments that select an architecture; any other argument of a backbone config survives a change of architecture.
ARCH_ARGUMENTS = frozenset({"depth", "groups", "base_width", "arch"})


def spec_of(backbone: str | Mapping[str, Any]) -> BackboneSpec:
    """The spec of an architecture name or of a backbone config.

    Raises:
        UnknownName: no such architecture, or a backbone that is not one of rtx.

    Example:
        >>> spec_of({"type": "SourceResNet", "depth": 18, "frozen_stages": 4}).channels
        (64, 128, 256, 512)
    """
    name = backbone if isinstance(backbone, str) else arch_of(backbone)
    if name not in BACKBONES:
        raise unknown_name("backbone", name, place="rtx/backbones/spec.py", choices=BACKBONES)
    return BACKBONES[name]


def arch_of(backbone: Mapping[str, Any]) -> str:
    """The architecture name of a backbone config.

    Raises:
        UnknownName: the config's type is not one of the backbones of rtx.
        BadValue: it is, but its arguments select nothing that exists.
    """
    kind = backbone.get("type")
    types = {str(spec.config["type"]) for spec in BACKBONES.values()}
    if kind not in types:
        raise unknown_name("backbone type", kind, place="rtx/backbones/spec.py", choices=sorted(types))
    if kind == "SourceResNet":
        return arch_name(backbone.get("depth", 50), backbone.get("groups", 1), backbone.get("base_width", 64))
    chosen = {key: value for key, value in backbone.items() if key in ARCH_ARGUMENTS}
    for name, spec in BACKBONES.items():
        if {"type": kind, **chosen} == dict(spec.config):
            return name
    raise BadValue(f"backbone {dict(backbone)!r}: no architecture of rtx/backbones/spec.py has these arguments")
