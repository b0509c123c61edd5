"""Architectures a source can have: their classifier's keys, and a reference model that fixes keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rtx.errors import BadValue, unknown_name

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Arch:
    """One architecture.

    Attributes:
        name: torchvision's name where torchvision has it, else the customary one.
        classifier: key prefixes of the classification head, which no transfer uses and every load drops.
        family: "resnet", "densenet", ... groups architectures that are told apart by shapes only.
    """

    name: str
    classifier: tuple[str, ...]
    family: str


def _table(*archs: Arch) -> Mapping[str, Arch]:
    return {arch.name: arch for arch in archs}


# The final norm belongs to the classifier: pyramids norm each output by themselves, with norms that no classification
# checkpoint holds.
_SWIN_HEAD = ("head.", "norm.", "norm0.", "norm1.", "norm2.", "norm3.")

ARCHS: Mapping[str, Arch] = _table(
    Arch("resnet18", ("fc.",), "resnet"),
    Arch("resnet34", ("fc.",), "resnet"),
    Arch("resnet50", ("fc.",), "resnet"),
    Arch("resnet101", ("fc.",), "resnet"),
    Arch("wide_resnet50_2", ("fc.",), "resnet"),
    Arch("wide_resnet50_4", ("fc.",), "resnet"),
    Arch("resnext50_32x4d", ("fc.",), "resnet"),
    Arch("resnext101_32x8d", ("fc.",), "resnet"),
    Arch("densenet161", ("classifier.",), "densenet"),
    Arch("mnasnet1_0", ("classifier.",), "mnasnet"),
    Arch("mobilenet_v2", ("classifier.",), "mobilenet"),
    Arch("shufflenet_v2_x1_0", ("fc.",), "shufflenet"),
    Arch("vgg16_bn", ("classifier.",), "vgg"),
    Arch("swin_t", _SWIN_HEAD, "swin"),
    Arch("swin_s", _SWIN_HEAD, "swin"),
    Arch("swin_b", _SWIN_HEAD, "swin"),
    Arch("swin_b_w12", _SWIN_HEAD, "swin"),
)


def find_arch(name: str) -> Arch:
    """The architecture of that name, or `UnknownName` with the nearest ones."""
    if name not in ARCHS:
        raise unknown_name("architecture", name, place="rtx/sources/catalog/archs.py", choices=ARCHS)
    return ARCHS[name]


def build_reference(arch: str, *, num_classes: int = 1000) -> nn.Module:
    """The classification model as published: torchvision's, or its own constructor at another width.

    Needs a working torchvision. Weights are random.

    Raises:
        UnknownName: no such architecture.
        BadValue: a Swin, whose published keys are not torchvision's.
    """
    if find_arch(arch).family == "swin":
        raise BadValue(f"{arch}: torchvision's Swin has other keys; use full_shapes, or the backbone itself")
    import torchvision.models as models

    if arch == "wide_resnet50_4":
        # Not in torchvision; Salman et al. double the width of WRN-50-2 once more.
        from torchvision.models.resnet import Bottleneck, ResNet

        return cast("nn.Module", ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=256, num_classes=num_classes))
    return cast("nn.Module", getattr(models, arch)(weights=None, num_classes=num_classes))


def full_shapes(arch: str, *, num_classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the whole published classifier, found without allocating it."""
    if find_arch(arch).family == "swin":
        from rtx.sources.keys.swin import swin_shapes

        return swin_shapes(arch, num_classes)
    import torch

    with torch.device("meta"):
        state = build_reference(arch, num_classes=num_classes).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def reference_shapes(arch: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the part that a backbone has: the published network without its classifier."""
    dropped = find_arch(arch).classifier
    return {key: shape for key, shape in full_shapes(arch).items() if not key.startswith(dropped)}
