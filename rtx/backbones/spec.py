"""One row for each backbone: how to build it, its channels and strides."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.registry import MODELS

from rtx.backbones.base import SourceBackbone
from rtx.errors import BadValue, unknown_name


@dataclass(frozen=True)
class Backbone:
    """One architecture as a feature pyramid.

    Attributes:
        channels: of the four stage outputs.
        config: registry type and arguments that select the architecture, and nothing else.
        strides: of the four stage outputs, in input pixels.
        final_channels: of what a classifier reads, where that is not the last stage output.
        freezes_early: whether `full` in mmdet freezes the stem and stage 1, as its own configs do for ResNets and not
            for transformers: in general for networks with batch norm.
    """

    channels: tuple[int, int, int, int]
    config: Mapping[str, Any]
    strides: tuple[int, int, int, int] = (4, 8, 16, 32)
    final_channels: int | None = None
    freezes_early: bool = True


BACKBONES: dict[str, Backbone] = {}
"""Architecture -> its row; each file of a backbone adds its own, and `register_backbone` those of users."""
_FAMILIES: dict[str, tuple[str, Callable[[str], Backbone]]] = {}
"""Prefix of an architecture's name -> type, and the function that makes the row of what follows the prefix."""


def add_family(prefix: str, kind: str, row: Callable[[str], Backbone]) -> None:
    """Make known a type whose argument `model` names more architectures than could be listed: `prefix` and `model`."""
    _FAMILIES[prefix] = kind, row


def add_row(name: str, backbone: Backbone) -> None:
    """Put in the row of an architecture that `rtx/sources/catalog/archs.py` knows.

    Raises:
        BadValue: there is one of that name.
    """
    if name in BACKBONES:
        raise BadValue(f"backbone {name!r} is there already, as {dict(BACKBONES[name].config)}; take another name")
    BACKBONES[name] = backbone


def _types() -> set[str]:
    return {str(row.config["type"]) for row in BACKBONES.values()} | {kind for kind, _ in _FAMILIES.values()}


def _selecting() -> set[str]:
    """Arguments that select an architecture."""
    return {key for row in BACKBONES.values() for key in row.config} - {"type"} | ({"model"} if _FAMILIES else set())


def _arguments(kind: str) -> dict[str, Any]:
    """The arguments of a backbone's class and their defaults, those of `SourceBackbone` included."""
    classes = [cls for cls in MODELS.module_dict[kind].__mro__ if issubclass(cls, SourceBackbone)]
    parameters = [p for cls in reversed(classes) for p in inspect.signature(cls.__init__).parameters.values()]
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}


def kept_arguments(backbone: Mapping[str, Any], spec: Backbone) -> dict[str, Any]:
    """The arguments of a backbone config that still apply when its architecture becomes `spec`.

    An argument that only other backbones have is left out; one that none has stays, for the build to refuse.

    Example:
        >>> kept_arguments({"type": "SourceResNet", "depth": 50, "norm_cfg": {}, "with_cp": True}, spec_of("swin_t"))
        {'with_cp': True}
    """
    known = {name for kind in _types() for name in _arguments(kind)}
    foreign = known - set(_arguments(str(spec.config["type"]))) | _selecting() | {"type"}
    return {key: value for key, value in backbone.items() if key not in foreign}


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
    return backbone.get("type") in _types()


def stock_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that rtx's backbones take over from a stock one: freezing, outputs, checkpointing, norms.

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


def spec_of(backbone: str | Mapping[str, Any]) -> Backbone:
    """The row of an architecture name or of a backbone config.

    Raises:
        UnknownName: no such architecture, or a backbone that is not one of rtx.

    Example:
        >>> spec_of({"type": "SourceResNet", "depth": 18, "frozen_stages": 4}).channels
        (64, 128, 256, 512)
    """
    name = backbone if isinstance(backbone, str) else arch_of(backbone)
    for prefix, (_, row) in _FAMILIES.items():
        if name.startswith(prefix):
            return row(name.removeprefix(prefix))
    if name not in BACKBONES:
        raise unknown_name("backbone", name, place="rtx.backbones", choices=BACKBONES)
    return BACKBONES[name]


def arch_of(backbone: Mapping[str, Any]) -> str:
    """The architecture name of a backbone config.

    Raises:
        UnknownName: the config's type is not one of the backbones of rtx.
        BadValue: it is, but its arguments select nothing that exists.
    """
    kind = backbone.get("type")
    if kind not in _types():
        raise unknown_name("backbone type", kind, place="rtx.backbones", choices=sorted(_types()))
    for prefix, (family, _) in _FAMILIES.items():
        if kind == family and isinstance(backbone.get("model"), str):
            return prefix + str(backbone["model"])
    defaults = {key: value for key, value in _arguments(str(kind)).items() if key in _selecting()}
    chosen = {key: backbone.get(key, value) for key, value in defaults.items()}
    rows = {name: row.config for name, row in BACKBONES.items() if row.config["type"] == kind}
    for name, config in rows.items():
        if all(config.get(key, defaults[key]) == value for key, value in chosen.items()):
            return name
    given = ", ".join(f"{key}={value!r}" for key, value in chosen.items() if value is not inspect.Parameter.empty)
    raise BadValue(f"backbone {kind} with {given or 'no arguments'} does not exist; there are {', '.join(rows)}")
