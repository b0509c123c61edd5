"""Four maps from the last one of a plain ViT (Li et al., ECCV 2022, "Exploring Plain Vision Transformer Backbones")."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """The normed map, of the same shape."""
        normed: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)


def pyramid_channels(width: int, stride: int, strides: Sequence[int] = (4, 8, 16, 32)) -> tuple[int, ...]:
    """Channels of the levels: halved by each deconvolution, the width elsewhere.

    Example:
        >>> pyramid_channels(384, 16)
        (96, 192, 384, 384)
    """
    return tuple(width * min(wanted, stride) // stride for wanted in strides)


def pyramid_level(width: int, stride: int, wanted: int) -> nn.Module:
    """What turns the last map (N, width, H, W) into one level.

    Args:
        width: channels of the map, a multiple of 8.
        stride: of the map, a power of two.
        wanted: stride of the level, a power of two; finer ones by deconvolutions with layer norm and GELU between
            them, coarser ones by max pooling, as section 3 of the paper has it. The 1x1 and 3x3 convolutions that
            follow there are those of the FPN neck, or of UperNet's decoder.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(round(math.log2(stride / wanted))):
        if i:
            layers[f"norm{i}"], layers[f"gelu{i}"] = ChannelNorm(width), nn.GELU()
        layers[f"up{i}"] = nn.ConvTranspose2d(width, width // 2, kernel_size=2, stride=2)
        width //= 2
    if wanted > stride:
        layers["pool"] = nn.MaxPool2d(wanted // stride)
    return nn.Sequential(layers)
