"""Source backbones, registered once in mmengine's root registry: mmdet, mmseg and mmpretrain configs find them."""

from __future__ import annotations

from rtx.backbones.convnets import SourceConvNet
from rtx.backbones.resnet import SourceResNet
from rtx.backbones.swin import SourceSwin

__all__ = ["SourceConvNet", "SourceResNet", "SourceSwin"]
