"""Key names of the networks that OpenMMLab and detectron2 build by themselves, where they are not torchvision's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from rtx.sources.catalog.archs import full_shapes

Rename = Callable[[str], str]

_CONV_BN = ("conv", "bn")
# Positions of VGG16-bn's convolutions in torchvision's list (convolution, norm, ReLU) and in mmpretrain's (one module).
_VGG_CONVS = {0: 0, 3: 1, 7: 3, 10: 4, 14: 6, 17: 7, 20: 8, 24: 10, 27: 11, 30: 12, 34: 14, 37: 15, 40: 16}
_MOBILENET_BLOCKS = [f"layer{n}.{j}" for n, count in enumerate((1, 2, 3, 4, 3, 3, 1), 1) for j in range(count)]


def _vgg(key: str) -> str:
    _, index, rest = key.split(".", 2)
    place = int(index)
    part, conv = ("conv", place) if place in _VGG_CONVS else ("bn", place - 1)
    return f"features.{_VGG_CONVS[conv]}.{part}.{rest}"


def _densenet(key: str) -> str:
    key = key.removeprefix("features.").replace("conv0.", "stem.0.").replace("norm0.", "stem.1.")
    key = key.replace("norm5.", "transitions.3.0.")
    key = re.sub(r"^denseblock(\d)\.denselayer(\d+)", lambda m: f"stages.{int(m[1]) - 1}.block.{int(m[2]) - 1}", key)
    return re.sub(r"^transition(\d)", lambda m: f"transitions.{int(m[1]) - 1}", key)


def _mobilenet(key: str, convs: Callable[[int, int], str]) -> str:
    """`convs` names the i-th of n convolutions of a block."""
    parts = key.split(".")
    block = int(parts[1])
    if not 1 <= block <= len(_MOBILENET_BLOCKS):
        return ".".join(["conv1" if block == 0 else "conv2", _CONV_BN[int(parts[2])], *parts[3:]])
    count = 2 if block == 1 else 3
    if parts[4].isdigit():  # convolution, norm and ReLU6 in one
        index, kind, rest = int(parts[3]), int(parts[4]), parts[5:]
    else:  # the last convolution and its norm stand alone
        index, kind, rest = count - 1, int(parts[3]) - (count - 1), parts[4:]
    return ".".join([_MOBILENET_BLOCKS[block - 1], convs(index, count), _CONV_BN[kind], *rest])


def _shufflenet(key: str) -> str:
    # (branch, position among torchvision's modules) to mmpretrain's (module, part).
    branches = {
        "branch1": {0: "0.conv", 1: "0.bn", 2: "1.conv", 3: "1.bn"},
        "branch2": {0: "0.conv", 1: "0.bn", 3: "1.conv", 4: "1.bn", 5: "2.conv", 6: "2.bn"},
    }
    stem = re.match(r"^(conv1|conv5)\.(\d)\.(.*)", key)
    if stem:
        return f"{'conv1' if stem[1] == 'conv1' else 'layers.3'}.{_CONV_BN[int(stem[2])]}.{stem[3]}"
    stage, block, branch, index, rest = key.split(".", 4)
    return f"layers.{int(stage[-1]) - 2}.{block}.{branch}.{branches[branch][int(index)]}.{rest}"


# (architecture, framework): the renaming from torchvision's keys, and a key that only this form has.
_FORMS: Mapping[tuple[str, str], tuple[Rename, str]] = {
    ("vgg16_bn", "mmpretrain"): (_vgg, "features.0.conv.weight"),
    ("densenet161", "mmpretrain"): (_densenet, "stages.0.block.0.conv1.weight"),
    ("mobilenet_v2", "mmpretrain"): (
        partial(_mobilenet, convs=lambda index, count: f"conv.{index}"),
        "layer2.0.conv.0.conv.weight",
    ),
    ("mobilenet_v2", "mmdet"): (
        partial(_mobilenet, convs=lambda index, count: ("expand", "depthwise", "linear")[index + 3 - count] + "_conv"),
        "layer2.0.expand_conv.conv.weight",
    ),
    ("shufflenet_v2_x1_0", "mmpretrain"): (_shufflenet, "layers.0.0.branch1.0.conv.weight"),
}


def to_openmmlab(state: Mapping[str, Tensor], arch: str, framework: str) -> dict[str, Tensor]:
    """From torchvision's names to those of the framework's own network; unchanged where the two are the same."""
    rename, _ = _FORMS.get((arch, framework), (str, ""))
    return {rename(key): value for key, value in state.items()}


def from_openmmlab(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_openmmlab`, where the keys are of one of its forms; other keys are unchanged."""
    for (arch, _), (rename, mark) in _FORMS.items():
        if mark in state:
            known = [key for key in full_shapes(arch) if not key.startswith("classifier") and not key.startswith("fc")]
            back = {rename(key): key for key in known}
            return {back.get(key, key): value for key, value in state.items()}
    return dict(state)


_RESNETS = {
    "resnet18": {"": "type='ResNet', depth=18"},
    "resnet34": {"": "type='ResNet', depth=34"},
    "resnet50": {"": "type='ResNet', depth=50"},
    "resnet101": {"": "type='ResNet', depth=101"},
    "resnet152": {"": "type='ResNet', depth=152"},
    "resnext50_32x4d": {
        "": "type='ResNeXt', depth=50, groups=32, base_width=4",
        "mmpretrain": "type='ResNeXt', depth=50, groups=32, width_per_group=4",
    },
    "resnext101_32x8d": {
        "": "type='ResNeXt', depth=101, groups=32, base_width=8",
        "mmpretrain": "type='ResNeXt', depth=101, groups=32, width_per_group=8",
    },
    # mmdet's and mmseg's ResNets have no argument for the width.
    "wide_resnet50_2": {"mmpretrain": "type='ResNet', depth=50, stem_channels=64, base_channels=128, expansion=2"},
    "wide_resnet50_4": {"mmpretrain": "type='ResNet', depth=50, stem_channels=64, base_channels=256, expansion=1"},
}
_CONVNETS = {
    "vgg16_bn": {"mmpretrain": "type='VGG', depth=16, norm_cfg=dict(type='BN')"},
    "densenet161": {"mmpretrain": "type='DenseNet', arch='161'"},
    "mobilenet_v2": {"mmpretrain": "type='MobileNetV2'", "mmdet": "type='MobileNetV2'"},
    "shufflenet_v2_x1_0": {"mmpretrain": "type='ShuffleNetV2'"},
}
_SMALL = "depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)"
_BASE = "embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)"
_SWINS = {
    "swin_t": {"": "type='SwinTransformer'", "mmpretrain": "type='SwinTransformer', arch='tiny'"},
    "swin_s": {"": f"type='SwinTransformer', {_SMALL}", "mmpretrain": "type='SwinTransformer', arch='small'"},
    "swin_b": {"": f"type='SwinTransformer', {_BASE}", "mmpretrain": "type='SwinTransformer', arch='base'"},
    "swin_b_w12": {
        "": f"type='SwinTransformer', {_BASE}, window_size=12",
        "mmpretrain": "type='SwinTransformer', arch='base', img_size=384, window_size=12",
    },
}
_STOCK: Mapping[str, Mapping[str, str]] = {**_RESNETS, **_CONVNETS, **_SWINS}


def stock_backbone(arch: str, framework: str) -> str | None:
    """Arguments that make a framework's own backbone of this architecture, as a config writes them; None without one.

    Example:
        >>> stock_backbone("resnet50", "mmdet"), stock_backbone("wide_resnet50_2", "mmdet")
        ("type='ResNet', depth=50", None)
    """
    row = _STOCK.get(arch, {})
    return row.get(framework, row.get(""))


OPTIONS: Mapping[str, Mapping[str, int]] = {
    "resnet18": {"DEPTH": 18, "RES2_OUT_CHANNELS": 64},
    "resnet34": {"DEPTH": 34, "RES2_OUT_CHANNELS": 64},
    "resnet50": {"DEPTH": 50},
    "resnet101": {"DEPTH": 101},
    "resnet152": {"DEPTH": 152},
    "wide_resnet50_2": {"DEPTH": 50, "WIDTH_PER_GROUP": 128},
    "wide_resnet50_4": {"DEPTH": 50, "WIDTH_PER_GROUP": 256},
    "resnext50_32x4d": {"DEPTH": 50, "NUM_GROUPS": 32, "WIDTH_PER_GROUP": 4},
    "resnext101_32x8d": {"DEPTH": 101, "NUM_GROUPS": 32, "WIDTH_PER_GROUP": 8},
}
"""Architecture -> what differs under MODEL.RESNETS from its defaults (NUM_GROUPS 1, WIDTH_PER_GROUP 64,
RES2_OUT_CHANNELS 256). With other values its loader skips the weights that do not fit, and only warns."""


def to_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From torchvision's names; batch counters, which detectron2 has no place for, are left out."""
    return {_to(key): value for key, value in state.items() if not key.endswith(".num_batches_tracked")}


def from_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_detectron2`."""
    return {_from(key): value for key, value in state.items()}


def is_detectron2(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict uses these names."""
    return "stem.conv1.weight" in state and "res2.0.conv1.weight" in state


def _to(key: str) -> str:
    if key.startswith("layer"):
        key = re.sub(r"^layer(\d)", lambda m: f"res{int(m[1]) + 1}", key)
        key = key.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        return re.sub(r"\.bn(\d)\.", r".conv\1.norm.", key)
    if key.startswith(("conv1.", "bn1.")):
        return "stem." + key.replace("bn1.", "conv1.norm.", 1)
    return key


def _from(key: str) -> str:
    if key.startswith("res"):
        key = re.sub(r"^res(\d)", lambda m: f"layer{int(m[1]) - 1}", key)
        key = key.replace("shortcut.norm.", "downsample.1.").replace("shortcut.", "downsample.0.")
        return re.sub(r"\.conv(\d)\.norm\.", r".bn\1.", key)
    if key.startswith("stem."):
        return key.removeprefix("stem.").replace("conv1.norm.", "bn1.", 1)
    return key
