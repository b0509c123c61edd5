"""`pirat:NAME`, `pirat:FILE`: adversarially trained UperNets of Croce et al., ECCV 2024, arXiv:2306.12941 (PIR-AT).

Their published code, not rtx, says what is here: ConvNeXts with a convolutional stem that see [0, 1] pixels, a layer
norm behind each map, an UperNet head of 512 channels, a class for the background at 0, and images whose shorter side is
512 pixels (473 with VOC's 21 classes). Its evaluation scores the middle square of the resized image; here every pixel
of the image counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmseg.datasets import ADE20KDataset
from mmseg.models import UPerHead
from PIL import Image
from torch import Tensor, nn

from rtx.datasets import voc
from rtx.errors import WeightsMismatch
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Segmenter
from rtx.evaluation.models.library import Asked, LibraryNetwork, label_maps, read_state, wrong_task
from rtx.evaluation.models.load import load_strictly
from rtx.sources.catalog.timm_models import build_timm, from_published
from rtx.sources.load import locate

_BACKBONE = "backbone."
_ARCHS = {9: "convnext_tiny_cvst", 27: "convnext_small_cvst"}
"""Blocks of the third stage -> the backbone."""
_NAMES = {151: ADE20KDataset.METAINFO["classes"], 21: voc.NAMES}
"""Classes with the background -> names without it."""


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`."""
    asked.place()
    if asked.kind is not Segmenter:
        raise wrong_task(asked, "segments images")
    path = locate(asked.what)
    state = read_state(path)
    found = {int(block.group(1)) for key in state if (block := re.match(r"backbone\.stages\.2\.(\d+)\.gamma$", key))}
    arch, bias = _ARCHS.get(len(found)), state.get("decode_head.classifier.bias")
    if arch is None or bias is None:
        raise WeightsMismatch(
            f"--model {asked.spec}: {path} is no UperNet of PIR-AT; `rtx weights list pirat` has them"
        )
    names = asked.names(_NAMES.get(len(bias), ()), len(bias) - 1)
    network = UperNet(arch, len(bias))
    load_strictly(network, _renamed(state, arch, str(path)), str(path), ("its UperNet", "get the file again"))
    side = 473 if len(bias) == 21 else 512
    version = f"{arch}, shorter side {side}"
    return asked.adapter(PiratSegmenter(network, side), ("__background__", *names), version)


def _renamed(state: Mapping[str, Tensor], arch: str, where: str) -> dict[str, Tensor]:
    """The keys of `UperNet`; the auxiliary head, which only training has, is left out."""
    own = {key.removeprefix(_BACKBONE): value for key, value in state.items() if key.startswith(_BACKBONE)}
    norms = {key: value for key, value in own.items() if re.match(r"norm\d\.", key)}
    plain = from_published({key: value for key, value in own.items() if key not in norms}, arch, where)
    found = {**plain, **{f"norms.{key.removeprefix('norm')}": value for key, value in norms.items()}}
    for key, value in state.items():
        if not key.startswith((_BACKBONE, "auxiliary_head.")):
            found[key.replace(".batch_norm.", ".bn.").replace("decode_head.classifier.", "decode_head.conv_seg.")] = (
                value
            )
    return found


class UperNet(nn.Module):
    """A ConvNeXt of timm, a norm for each of its maps, and mmseg's head.

    Args:
        arch: the backbone as timm is told it.
        n_classes: with the background.
    """

    def __init__(self, arch: str, n_classes: int) -> None:
        super().__init__()
        from timm.layers import LayerNorm2d

        net: Any = build_timm(arch)
        self.stem, self.stages = net.stem, net.stages
        widths = [row["num_chs"] for row in net.feature_info]
        self.norms = nn.ModuleList(LayerNorm2d(width, eps=1e-6) for width in widths)
        self.decode_head = UPerHead(
            in_channels=widths, in_index=list(range(4)), channels=512, num_classes=n_classes, norm_cfg=dict(type="BN")
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (N, classes, H/4, W/4) of images (N, 3, H, W), RGB in [0, 1]."""
        x, maps = self.stem(x), []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = stage(x)
            maps.append(norm(x))
        scores: Tensor = self.decode_head(maps)
        return scores


class PiratSegmenter(LibraryNetwork):
    """Label maps of images that are resized as for the published evaluation.

    Args:
        network: an `UperNet`.
        side: pixels of the shorter side.
    """

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__(network)
        self.side = side

    def forward(self, images: list[Any]) -> list[Tensor]:
        """A label map (H, W) for each image, RGB uint8 (H, W, 3), all of one size."""
        height, width = images[0].shape[:2]
        by = self.side / min(height, width)
        size = (self.side, int(height * by)) if width <= height else (int(width * by), self.side)
        small = np.stack(
            [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images]
        )
        scores = self.network(torch.from_numpy(small).to(self.device).permute(0, 3, 1, 2).float() / 255)
        return label_maps(scores, (height, width))
