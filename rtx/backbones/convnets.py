"""torchvision's convolutional networks with maps at strides 4, 8, 16 and 32, under torchvision's names and keys.

ResNets are in `rtx/backbones/resnet.py`. AlexNet, SqueezeNet and Inception v3, whose convolutions are not padded, have
no such maps; for Swin v2, MaxViT and ViT there is timm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from rtx.backbones.registered import Net, add_net
from rtx.sources.catalog.archs import Arch, build_reference
from rtx.sources.catalog.record import Pixels

Names = tuple[tuple[str, ...], ...]


def _chain(root: str, *ends: int) -> Names:
    """The children of a `Sequential` up to each end, as the stem and stages 1 to 4."""
    return tuple(tuple(f"{root}.{i}" for i in range(*pair)) for pair in pairwise((0, *ends)))


def _densenet(layers: Sequence[int]) -> Names:
    # A dense block's output is a concatenation that nobody reads raw: the norm and ReLU of the transition behind it
    # belong to its stage, the transition's convolution and pooling to the next.
    stages = [[f"features.{name}" for name in ("conv0", "norm0", "relu0", "pool0")]]
    behind: tuple[str, ...] = ()
    for stage, count in enumerate(layers, start=1):
        dense = (f"denseblock{stage}.denselayer{i}" for i in range(1, count + 1))
        last = (f"transition{stage}.norm", f"transition{stage}.relu") if stage < 4 else ("norm5", "relu5")
        stages.append([f"features.{name}" for name in (*behind, *dense, *last)])
        behind = (f"transition{stage}.conv", f"transition{stage}.pool")
    return tuple(map(tuple, stages))


def _vgg(convolutions: Sequence[int], *, norms: bool) -> Names:
    # The stem is conv1 and conv2 with the first pool; a stage ends before its pool, so strides are 4, 8 and 16 as in a
    # ResNet. Stage 4 is the last pool alone, at stride 32.
    ends, index = [], 0
    for group, count in enumerate(convolutions):
        index += count * (3 if norms else 2)
        if group:
            ends.append(index)
        index += 1
    return _chain("features", *ends, index)


# ShuffleNet's stage 1 is the max pool: it has no block at stride 4.
_SHUFFLENET: Names = (("conv1",), ("maxpool",), ("stage2",), ("stage3",), ("stage4", "conv5"))
_REGNET: Names = (("stem",), *((f"trunk_output.block{i}",) for i in range(1, 5)))
_GOOGLENET: Names = (
    ("conv1",),
    ("maxpool1", "conv2", "conv3"),
    ("maxpool2", "inception3a", "inception3b"),
    ("maxpool3", *(f"inception4{i}" for i in "abcde")),
    ("maxpool4", "inception5a", "inception5b"),
)
# In MNASNet and the others below, the last stage ends with the 1x1 convolution before the classifier.
_MNASNET = _chain("layers", 8, 9, 10, 12, 17)
_EFFICIENTNET = _chain("features", 2, 3, 4, 6, 9)
_CONVNEXT = _chain("features", 1, 2, 4, 6, 8)
_VGGS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_DENSENETS = {"121": (6, 12, 24, 16), "161": (6, 12, 36, 24), "169": (6, 12, 32, 32), "201": (6, 12, 48, 32)}

STAGES: Mapping[str, Names] = {
    **{f"densenet{size}": _densenet(layers) for size, layers in _DENSENETS.items()},
    **{f"vgg{key[3:]}{norm}": _vgg(c, norms=bool(norm)) for key, c in _VGGS.items() for norm in ("", "_bn")},
    "mobilenet_v2": _chain("features", 2, 4, 7, 14, 19),
    "mobilenet_v3_large": _chain("features", 2, 4, 7, 13, 17),
    "mobilenet_v3_small": _chain("features", 1, 2, 4, 9, 13),
    "efficientnet_v2_s": _chain("features", 2, 3, 4, 6, 8),
    "googlenet": _GOOGLENET,
}
_FAMILIES = {
    "convnext": _CONVNEXT, "efficientnet": _EFFICIENTNET, "mnasnet": _MNASNET, "regnet": _REGNET,
    "shufflenet": _SHUFFLENET,
}  # fmt: skip
CHANNELS: Mapping[str, tuple[int, int, int, int]] = {
    "convnext_tiny": (96, 192, 384, 768),
    "convnext_small": (96, 192, 384, 768),
    "convnext_base": (128, 256, 512, 1024),
    "convnext_large": (192, 384, 768, 1536),
    "densenet121": (256, 512, 1024, 1024),
    "densenet161": (384, 768, 2112, 2208),
    "densenet169": (256, 512, 1280, 1664),
    "densenet201": (256, 512, 1792, 1920),
    "efficientnet_b0": (24, 40, 112, 1280),
    "efficientnet_b1": (24, 40, 112, 1280),
    "efficientnet_b2": (24, 48, 120, 1408),
    "efficientnet_b3": (32, 48, 136, 1536),
    "efficientnet_b4": (32, 56, 160, 1792),
    "efficientnet_b5": (40, 64, 176, 2048),
    "efficientnet_b6": (40, 72, 200, 2304),
    "efficientnet_b7": (48, 80, 224, 2560),
    "efficientnet_v2_s": (48, 64, 160, 1280),
    "efficientnet_v2_m": (48, 80, 176, 1280),
    "efficientnet_v2_l": (64, 96, 224, 1280),
    "googlenet": (192, 480, 832, 1024),
    "mnasnet0_5": (16, 24, 48, 1280),
    "mnasnet0_75": (24, 32, 72, 1280),
    "mnasnet1_0": (24, 40, 96, 1280),
    "mnasnet1_3": (32, 56, 128, 1280),
    "mobilenet_v2": (24, 32, 96, 1280),
    "mobilenet_v3_large": (24, 40, 112, 960),
    "mobilenet_v3_small": (16, 24, 48, 576),
    "regnet_x_400mf": (32, 64, 160, 400),
    "regnet_x_800mf": (64, 128, 288, 672),
    "regnet_x_1_6gf": (72, 168, 408, 912),
    "regnet_x_3_2gf": (96, 192, 432, 1008),
    "regnet_x_8gf": (80, 240, 720, 1920),
    "regnet_x_16gf": (256, 512, 896, 2048),
    "regnet_x_32gf": (336, 672, 1344, 2520),
    "regnet_y_400mf": (48, 104, 208, 440),
    "regnet_y_800mf": (64, 144, 320, 784),
    "regnet_y_1_6gf": (48, 120, 336, 888),
    "regnet_y_3_2gf": (72, 216, 576, 1512),
    "regnet_y_8gf": (224, 448, 896, 2016),
    "regnet_y_16gf": (224, 448, 1232, 3024),
    "regnet_y_32gf": (232, 696, 1392, 3712),
    "regnet_y_128gf": (528, 1056, 2904, 7392),
    "shufflenet_v2_x0_5": (24, 48, 96, 1024),
    "shufflenet_v2_x1_0": (24, 116, 232, 1024),
    "shufflenet_v2_x1_5": (24, 176, 352, 1024),
    "shufflenet_v2_x2_0": (24, 244, 488, 2048),
    **{f"vgg{depth}{norm}": (256, 512, 512, 512) for depth in (11, 13, 16, 19) for norm in ("", "_bn")},
}


def stages_of(name: str) -> Names:
    """The stages of a network, as `rtx.register_backbone` takes them."""
    return STAGES.get(name) or next(stages for family, stages in _FAMILIES.items() if name.startswith(family))


_KAIMING = ("densenet", "mnasnet", "mobilenet_v2", "shufflenet", "vgg")


def _build(name: str) -> nn.Module:
    if name.startswith(_KAIMING):
        # Without memory first: VGG16's classifier alone has 120 million weights that no pyramid uses.
        with torch.device("meta"):
            net = build_reference(name)
        for part, module in net.named_children():
            if part not in ("classifier", "fc", "avgpool"):
                initialised(module)
    else:
        net = build_reference(name)
    if name.startswith("densenet"):
        net.get_submodule("features").add_module("relu5", nn.ReLU())  # torchvision has it as a function
    return net


def initialised(module: nn.Module) -> nn.Module:
    """Give a module built on the meta device memory and random weights: Kaiming for convolutions, 1 and 0 for norms."""
    module.to_empty(device="cpu")
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_parameters()
    return module


_HALF = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _facts(name: str) -> dict[str, Any]:
    """What differs between the families' weights: keys of the head, pixel statistics."""
    if name == "googlenet":
        # Trained on these: torchvision's own form takes ImageNet's and turns them into these (transform_input).
        return {"classifier": ("fc.", "aux1.", "aux2."), "pixels": _HALF}
    head = ("fc.",) if name.startswith(("regnet", "shufflenet")) else ("classifier.",)
    return {"classifier": head, **({"pixels": _HALF} if name == "efficientnet_v2_l" else {})}


for _name, _channels in CHANNELS.items():
    _norms = not _name.startswith("convnext") and not (_name.startswith("vgg") and not _name.endswith("_bn"))
    add_net(
        Arch(_name, family="torchvision", **_facts(_name)),
        Net(partial(_build, _name), stages_of(_name)),
        channels=_channels,
        early=_norms,
    )
