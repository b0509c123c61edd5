"""The other convolutional networks of Salman et al. (2020) as feature pyramids, with torchvision's modules and keys.

The comments at `LAYOUTS` say where each stage ends, and why. Strides are 4, 8, 16 and 32 for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import Part
from rtx.backbones.spec import Backbone, add_backbone
from rtx.errors import BadValue, unknown_name


@dataclass(frozen=True)
class Step:
    """One module on the way through a network.

    Attributes:
        name: module path.
        stage: 0 for the stem, else 1 to 4; the output of the last step of a stage is the stage's output.
        block: whether `blocks:k` counts it.
        relu: apply a ReLU after it (torchvision writes some as functions).
        inner: names below the module that are blocks of their own, e.g. dense layers.
    """

    name: str
    stage: int
    block: bool = False
    relu: bool = False
    inner: tuple[str, ...] = ()


def _sequence(root: str, *stages: Sequence[int], blocks: Sequence[int] = ()) -> tuple[Step, ...]:
    return tuple(Step(f"{root}.{i}", stage, i in blocks) for stage, indices in enumerate(stages) for i in indices)


def _densenet(layers: Sequence[int]) -> tuple[Step, ...]:
    # A dense block's output is a concatenation that nobody reads raw: the norm and ReLU of the transition behind it
    # belong to its stage, the transition's convolution and pooling to the next.
    steps = [Step(f"features.{name}", 0) for name in ("conv0", "norm0", "relu0", "pool0")]
    for stage, count in enumerate(layers, start=1):
        inner = tuple(f"denselayer{i}" for i in range(1, count + 1))
        steps.append(Step(f"features.denseblock{stage}", stage, inner=inner))
        if stage < len(layers):
            transition = f"features.transition{stage}"
            steps += [Step(f"{transition}.norm", stage), Step(f"{transition}.relu", stage)]
            steps += [Step(f"{transition}.conv", stage + 1), Step(f"{transition}.pool", stage + 1)]
        else:
            steps.append(Step("features.norm5", stage, relu=True))
    return tuple(steps)


def _vgg(convolutions: Sequence[int]) -> tuple[Step, ...]:
    # The stem is conv1 and conv2 with their pools; a stage ends before its pool, so strides are 4, 8 and 16 as in a
    # ResNet. Stage 4 is the last pool alone, at stride 32.
    steps, index = [], 0
    for group, count in enumerate(convolutions):
        stage = max(0, group - 1)
        for _ in range(count):
            steps.append(Step(f"features.{index}", stage, block=stage > 0))
            steps += [Step(f"features.{index + i}", stage) for i in (1, 2)]
            index += 3
        steps.append(Step(f"features.{index}", stage if group == 0 else group))
        index += 1
    return tuple(steps)


def _shufflenet(repeats: Sequence[int]) -> tuple[Step, ...]:
    # Stage 1 is the max pool: the network has no block at stride 4.
    steps = [Step("conv1", 0), Step("maxpool", 1)]
    for stage, count in enumerate(repeats, start=2):
        steps += [Step(f"stage{stage}.{i}", stage, block=True) for i in range(count)]
    return (*steps, Step("conv5", 4))


def _mnasnet() -> tuple[Step, ...]:
    # Stacks of inverted residuals are indices 8 to 13; 14 to 16 are the 1x1 convolution before the classifier.
    counts = {8: 3, 9: 3, 10: 3, 11: 2, 12: 4, 13: 1}
    stage_of = {8: 1, 9: 2, 10: 3, 11: 3, 12: 4, 13: 4}
    stem = [Step(f"layers.{i}", 0) for i in range(8)]
    stacks = [Step(f"layers.{i}.{j}", stage_of[i], block=True) for i, count in counts.items() for j in range(count)]
    return (*stem, *stacks, *(Step(f"layers.{i}", 4) for i in (14, 15, 16)))


LAYOUTS: Mapping[str, tuple[Step, ...]] = {
    "densenet161": _densenet((6, 12, 36, 24)),
    "mnasnet1_0": _mnasnet(),
    # The stem is the first convolution and the stride-2 block; stage 4 ends with the 1x1 convolution to 1280 channels.
    "mobilenet_v2": _sequence(
        "features", range(2), range(2, 4), range(4, 7), range(7, 14), range(14, 19), blocks=range(2, 18)
    ),
    "shufflenet_v2_x1_0": _shufflenet((4, 8, 4)),
    "vgg16_bn": _vgg((2, 2, 3, 3, 3)),
}


@MODELS.register_module()
class SourceConvNet(SourceBackbone):
    """DenseNet-161, MNASNet 1.0, MobileNetV2, ShuffleNetV2 1.0 or VGG16-bn as a feature pyramid.

    Args:
        arch: key of `LAYOUTS`.
        norm_cfg: type "BN" or "SyncBN"; these networks were trained with batch norm and have no other form.
        **common: source, freezing, norm policy, outputs: see `SourceBackbone`.

    Raises:
        UnknownName: no such architecture.
        BadValue: a norm layer other than batch norm, or more trainable blocks than there are.

    Example:
        >>> import torch
        >>> backbone = SourceConvNet("mobilenet_v2", frozen_stages=4)
        >>> [tuple(f.shape) for f in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 24, 16, 16), (1, 32, 8, 8), (1, 96, 4, 4), (1, 1280, 2, 2)]
    """

    def __init__(
        self,
        arch: str,
        *,
        norm_cfg: dict[str, Any] | None = None,
        **common: Any,
    ) -> None:
        """Build torchvision's layers and apply the freezing."""
        if arch not in LAYOUTS:
            raise unknown_name("architecture", arch, place="rtx/backbones/convnets.py", choices=LAYOUTS)
        super().__init__(arch=arch, **common)
        from rtx.sources.catalog.archs import build_reference

        # Built without memory first: VGG16's classifier alone has 120 million weights that no pyramid uses.
        with torch.device("meta"):
            net = build_reference(arch)
        for name, module in net.named_children():
            if name not in ("classifier", "fc", "avgpool"):
                self.add_module(name, initialised(module))
        apply_norm_cfg(self, norm_cfg)
        self.steps = LAYOUTS[arch]
        self.finish(_parts(self.steps))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Stage outputs at strides 4, 8, 16, 32 as far as `out_indices` asks for them."""
        outputs: list[Tensor] = []
        last = max(self.out_indices) + 1
        for position, step in enumerate(self.steps):
            if step.stage > last:
                break
            module: Callable[[Tensor], Tensor] = self.get_submodule(step.name)
            x = self.run_block(module, x) if step.block or step.inner else module(x)
            if step.relu:
                x = nn.functional.relu(x)
            following = self.steps[position + 1].stage if position + 1 < len(self.steps) else None
            if step.stage != following and step.stage - 1 in self.out_indices:
                # The next module may be an in-place ReLU, which must not reach into what a neck reads.
                outputs.append(x)
        return tuple(outputs)


def _parts(steps: Sequence[Step]) -> list[Part]:
    return [
        Part(f"{step.name}.{name}" if name else step.name, step.stage, step.block or bool(name))
        for step in steps
        for name in step.inner or ("",)
    ]


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


def apply_norm_cfg(net: nn.Module, norm_cfg: Mapping[str, Any] | None) -> None:
    """Turn the batch norms below `net` into what a config asks for.

    Raises:
        BadValue: anything but batch norm.
    """
    norm = dict(norm_cfg or {"type": "BN"})
    if norm.get("type") not in ("BN", "BN2d", "SyncBN"):
        raise BadValue(f"norm_cfg type {norm.get('type')!r}: this network has batch norm only; use BN or SyncBN")
    if norm["type"] == "SyncBN":
        for name, child in net.named_children():
            net.add_module(name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
    if norm.get("requires_grad") is False:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)


for _arch, _channels in (
    ("densenet161", (384, 768, 2112, 2208)),
    ("mnasnet1_0", (24, 40, 96, 1280)),
    ("mobilenet_v2", (24, 32, 96, 1280)),
    ("shufflenet_v2_x1_0", (24, 116, 232, 1024)),
    ("vgg16_bn", (256, 512, 512, 512)),
):
    add_backbone(_arch, Backbone(_channels, {"type": "SourceConvNet", "arch": _arch}))
