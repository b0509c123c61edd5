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


def _convnet(arch: str, channels: tuple[int, int, int, int]) -> tuple[str, BackboneSpec]:
    return arch, BackboneSpec(channels, {"type": "SourceConvNet", "arch": arch})


def _swin(arch: str, width: int) -> tuple[str, BackboneSpec]:
    return arch, BackboneSpec((width, 2 * width, 4 * width, 8 * width), {"type": "SourceSwin", "arch": arch})


BACKBONES: Mapping[str, BackboneSpec] = dict(
    [
        _resnet(18),
        _resnet(34),
        _resnet(50),
        _resnet(101),
        _resnet(50, 1, 128),
        _resnet(50, 1, 256),
        _resnet(50, 32, 4),
        _resnet(101, 32, 8),
        _convnet("densenet161", (384, 768, 2112, 2208)),
        _convnet("mnasnet1_0", (24, 40, 96, 1280)),
        _convnet("mobilenet_v2", (24, 32, 96, 1280)),
        _convnet("shufflenet_v2_x1_0", (24, 116, 232, 1024)),
        _convnet("vgg16_bn", (256, 512, 512, 512)),
        _swin("swin_t", 96),
        _swin("swin_s", 96),
        _swin("swin_b", 128),
        _swin("swin_b_w12", 128),
    ]
)

# Arguments that select an architecture.
ARCH_ARGUMENTS = frozenset({"depth", "groups", "base_width", "arch"})
# Arguments that only some backbones have a use for; any other survives a change of architecture.
_OWN_ARGUMENTS: Mapping[str, frozenset[str]] = {
    "SourceResNet": frozenset({"norm_cfg"}),
    "SourceConvNet": frozenset({"norm_cfg"}),
    "SourceSwin": frozenset({"drop_path_rate", "freeze_output_norms", "last_norm_from_source", "shift_single_windows"}),
}


def kept_arguments(backbone: Mapping[str, Any], spec: BackboneSpec) -> dict[str, Any]:
    """What of a backbone config still means something when its architecture becomes `spec`.

    Example:
        >>> kept_arguments({"type": "SourceResNet", "depth": 50, "norm_cfg": {}, "with_cp": True}, spec_of("swin_t"))
        {'with_cp': True}
    """
    foreign = frozenset().union(*_OWN_ARGUMENTS.values()) - _OWN_ARGUMENTS[str(spec.config["type"])]
    return {key: value for key, value in backbone.items() if key not in ARCH_ARGUMENTS | foreign | {"type"}}


# What a stock backbone of OpenMMLab and those of rtx call by the same name and mean by it.
_SHARED_ARGUMENTS = frozenset({"out_indices", "frozen_stages", "with_cp", "norm_cfg", "drop_path_rate"})
# Stock arguments that change what the stages give, with the value at which they do not.
_PLAIN: Mapping[str, Any] = {
    "num_stages": 4,
    "strides": [1, 2, 2, 2],
    "dilations": [1, 1, 1, 1],
    "dcn": None,
    "plugins": None,
    "gen_attention": None,
}


def is_ours(backbone: Mapping[str, Any]) -> bool:
    """Whether a backbone config is of one of rtx's types."""
    return backbone.get("type") in {str(spec.config["type"]) for spec in BACKBONES.values()}


def stock_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """What of a stock OpenMMLab backbone rtx's backbones take over: freezing, outputs, checkpointing, norms.

    Raises:
        BadValue: it has other strides, stages or layers, which no source has been trained with.

    Example:
        >>> stock_arguments({"type": "ResNet", "depth": 50, "num_stages": 4, "frozen_stages": 1, "norm_eval": True})
        {'frozen_stages': 1, 'norm_policy': 'eval'}
    """
    for key, plain in _PLAIN.items():
        value = backbone.get(key, plain)
        if (list(value) if isinstance(value, (list, tuple)) else value) != plain:
            raise BadValue(
                f"model.backbone.{key} is {value!r}: a source has {plain!r} there; start from a config without it, "
                f"or set it with --cfg-options model.backbone.{key}=..."
            )
    kept = {key: value for key, value in backbone.items() if key in _SHARED_ARGUMENTS}
    if "norm_eval" in backbone:
        kept["norm_policy"] = "eval" if backbone["norm_eval"] else "train"
    return kept


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
