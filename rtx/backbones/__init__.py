"""Source backbones, registered once in mmengine's root registry: mmdet, mmseg and mmpretrain configs find them."""

from __future__ import annotations

from rtx.backbones import convnets
from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import Part
from rtx.backbones.registered import SourceConvNet, register_backbone
from rtx.backbones.resnet import SourceResNet
from rtx.backbones.spec import BACKBONES, Backbone
from rtx.backbones.swin import SourceSwin
from rtx.backbones.timm_backbone import SourceTimm

__all__ = [
    "BACKBONES",
    "Backbone",
    "Part",
    "SourceBackbone",
    "SourceConvNet",
    "SourceResNet",
    "SourceSwin",
    "SourceTimm",
    "convnets",
    "register_backbone",
]
