"""ResNets with torchvision's modules and key names: 18, 34, 50, 101, 152, wide and grouped ones."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import Part
from rtx.backbones.spec import Backbone, add_backbone
from rtx.errors import BadValue

STAGE_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
VARIANTS = {(1, 64): "resnet{depth}", (1, 128): "wide_resnet{depth}_2", (1, 256): "wide_resnet{depth}_4"}
VARIANTS |= {(32, 4): "resnext{depth}_32x4d", (32, 8): "resnext{depth}_32x8d"}


@MODELS.register_module()
class SourceResNet(SourceBackbone):
    """A ResNet whose parameter names equal torchvision's, mmdet's, mmseg's and mmpretrain's.

    Stride two sits in the 3x3 convolution ("pytorch" style) and the stem is the plain 7x7 one, as in every published
    robust checkpoint.

    Args:
        depth: 18, 34, 50, 101 or 152.
        groups: groups of the 3x3 convolutions; 32 with `base_width=4` is ResNeXt 32x4d.
        base_width: width per group; 128 and 256 are WRN-50-2 and WRN-50-4.
        norm_cfg: norm layer in mmengine form, e.g. `dict(type="SyncBN", requires_grad=True)`.
        **common: source, freezing, norm policy, outputs: see `SourceBackbone`.

    Raises:
        BadValue: no such depth or width, or more trainable blocks than there are.

    Example:
        >>> import torch
        >>> backbone = SourceResNet(depth=18, frozen_stages=4)
        >>> [tuple(f.shape) for f in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 512, 2, 2)]
    """

    def __init__(
        self,
        depth: int = 50,
        *,
        groups: int = 1,
        base_width: int = 64,
        norm_cfg: dict[str, Any] | None = None,
        **common: Any,
    ) -> None:
        """Build torchvision's layers and apply the freezing."""
        super().__init__(arch=arch_name(depth, groups, base_width), **common)
        from mmcv.cnn import build_norm_layer
        from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

        norm = dict(norm_cfg or {"type": "BN", "requires_grad": True})

        def norm_layer(channels: int) -> nn.Module:
            return build_norm_layer(norm, channels)[1]

        block = Bottleneck if depth >= 50 else BasicBlock
        net = ResNet(block, STAGE_BLOCKS[depth], groups=groups, width_per_group=base_width, norm_layer=norm_layer)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        parts = [Part("conv1", 0, False), Part("bn1", 0, False)]
        for stage, count in enumerate(STAGE_BLOCKS[depth], start=1):
            parts += [Part(f"layer{stage}.{i}", stage, True) for i in range(count)]
        self.finish(parts)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Stage outputs at strides 4, 8, 16, 32 as far as `out_indices` asks for them."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for index in range(max(self.out_indices) + 1):
            for block in getattr(self, f"layer{index + 1}"):
                x = self.run_block(block, x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)


def arch_name(depth: int, groups: int, base_width: int) -> str:
    """The torchvision name of a ResNet; `BadValue` when there is none.

    Example:
        >>> arch_name(50, 1, 128)
        'wide_resnet50_2'
    """
    if depth not in STAGE_BLOCKS:
        raise BadValue(f"SourceResNet depth {depth!r}: must be one of {', '.join(map(str, STAGE_BLOCKS))}")
    pattern = VARIANTS.get((groups, base_width))
    if pattern is None or (depth < 50 and (groups, base_width) != (1, 64)):
        raise BadValue(
            f"SourceResNet depth={depth}, groups={groups}, base_width={base_width}: known are (1, 64) at any depth, "
            "and from depth 50 on (1, 128) = wide-2, (1, 256) = wide-4, (32, 4) and (32, 8) = ResNeXt"
        )
    return pattern.format(depth=depth)


for _depth, _groups, _width in (
    (18, 1, 64), (34, 1, 64), (50, 1, 64), (101, 1, 64), (152, 1, 64), (50, 1, 128), (50, 1, 256), (50, 32, 4),
    (101, 32, 8),
):  # fmt: skip
    _own = {} if (_groups, _width) == (1, 64) else {"groups": _groups, "base_width": _width}
    add_backbone(
        arch_name(_depth, _groups, _width),
        Backbone(
            (256, 512, 1024, 2048) if _depth >= 50 else (64, 128, 256, 512),
            {"type": "SourceResNet", "depth": _depth, **_own},
        ),
    )
