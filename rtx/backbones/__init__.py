"""Source backbones, registered once in mmengine's root registry: mmdet, mmseg and mmpretrain configs find them."""

from __future__ import annotations

from rtx.backbones.resnet import SourceResNet

__all__ = ["SourceResNet"]
