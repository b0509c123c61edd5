"""Architectures a source can have: their classifier's keys, and a reference model that fixes keys and shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from rtx.errors import BadValue, printable, unknown_name
from rtx.sources.catalog.record import Pixels

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Arch:
    """One architecture.

    Attributes:
        name: torchvision's name where torchvision has it, else the customary one.
        classifier: key prefixes of the classification head, which no transfer uses and every load drops.
        family: "resnet", "densenet", ... groups architectures that differ in shapes only.
        builder: makes the network with random weights; None for torchvision's of that name.
        pixels: statistics of the pixels that its weights were trained with, where its author states them;
            None where only a file, its record or its user can.
    """

    name: str
    classifier: tuple[str, ...]
    family: str
    builder: Callable[[], nn.Module] | None = None
    pixels: Pixels | None = None


# The final norm belongs to the classifier: pyramids norm each output by themselves, with norms that no classification
# checkpoint holds.
_SWIN_HEAD = ("head.", "norm.", "norm0.", "norm1.", "norm2.", "norm3.")

ARCHS: dict[str, Arch] = {}
OWN = "one of your own needs the module that registers it: --import MODULE, or custom_imports of a config"
"""What to do where an architecture is not known."""


def add_arch(arch: Arch) -> None:
    """Make an architecture known; for those of other packages `rtx.register_backbone` does so."""
    ARCHS[arch.name] = arch


for _name in (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "wide_resnet50_4", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
):  # fmt: skip
    add_arch(Arch(_name, ("fc.",), "resnet"))
add_arch(Arch("densenet161", ("classifier.",), "densenet"))
add_arch(Arch("mnasnet1_0", ("classifier.",), "mnasnet"))
add_arch(Arch("mobilenet_v2", ("classifier.",), "mobilenet"))
add_arch(Arch("shufflenet_v2_x1_0", ("fc.",), "shufflenet"))
add_arch(Arch("vgg16_bn", ("classifier.",), "vgg"))
for _name in ("swin_t", "swin_s", "swin_b", "swin_b_w12"):
    add_arch(Arch(_name, _SWIN_HEAD, "swin"))


def find_arch(name: str) -> Arch:
    """The architecture of that name, `timm:NAME` included, or `UnknownName` with the nearest ones."""
    if name.startswith("timm:"):
        from rtx.sources.catalog.timm_models import timm_arch

        return timm_arch(name)
    if name not in ARCHS:
        raise unknown_name(
            "architecture", name, place="rtx/sources/catalog/archs.py", choices=ARCHS,
            remedy=f"{len(ARCHS)} are known, e.g. resnet50, and timm:NAME; {OWN}",
        )  # fmt: skip
    return ARCHS[name]


def import_modules(names: Sequence[str]) -> None:
    """Import the modules that make architectures of one's own known, by name, as Python finds them.

    Raises:
        BadValue: one is not found, or fails.
    """
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            raise BadValue(
                f"--import {name}: {type(error).__name__}: {printable(error)[:300]}; name a module that Python finds, "
                "e.g. my_backbone for my_backbone.py with its folder in PYTHONPATH"
            ) from error


def build_reference(arch: str, *, num_classes: int = 1000) -> nn.Module:
    """The classification model as published: torchvision's, or its own constructor at another width.

    Needs a working torchvision. Weights are random. A builder of its own decides the number of classes itself.

    Raises:
        UnknownName: no such architecture.
        BadValue: a Swin, whose published keys are not torchvision's, or a network that torchvision lacks.
    """
    if find_arch(arch).family == "swin":
        raise BadValue(f"{arch}: torchvision's Swin has other keys; use full_shapes, or the backbone itself")
    builder = find_arch(arch).builder
    if builder is not None:
        return builder()
    if arch.startswith("timm:"):
        from rtx.sources.catalog.timm_models import build_timm

        return build_timm(arch.removeprefix("timm:"), num_classes=num_classes)
    import torchvision.models as models

    if arch == "wide_resnet50_4":
        # Not in torchvision; Salman et al. double the width of WRN-50-2 once more.
        from torchvision.models.resnet import Bottleneck, ResNet

        return cast("nn.Module", ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=256, num_classes=num_classes))
    if not hasattr(models, arch):
        raise BadValue(f"{arch}: torchvision has no such network; its keys and shapes are known to its backbone only")
    return cast("nn.Module", getattr(models, arch)(weights=None, num_classes=num_classes))


def full_shapes(arch: str, *, num_classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the whole published classifier, found without allocating it."""
    if find_arch(arch).family == "swin":
        from rtx.sources.keys.swin import swin_shapes

        return swin_shapes(arch, num_classes)
    import torch

    # A builder of a user may read numbers, which the meta device has not; torchvision's RegNets do.
    with torch.device("cpu" if find_arch(arch).family == "registered" or arch.startswith("regnet") else "meta"):
        state = build_reference(arch, num_classes=num_classes).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def reference_shapes(arch: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the part that a backbone has: the published network without its classifier."""
    if arch.startswith("timm:"):
        from rtx.sources.catalog.timm_models import timm_shapes

        return timm_shapes(arch.removeprefix("timm:"))
    dropped = find_arch(arch).classifier
    return {key: shape for key, shape in full_shapes(arch).items() if not key.startswith(dropped)}
