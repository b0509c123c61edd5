"""A published ImageNet classifier from the catalogue of sources, as an adapter."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmcv.transforms import CenterCrop
from PIL import Image
from torch import Tensor, nn

from rtx.errors import BadValue
from rtx.evaluation.models.adapters import Classifier
from rtx.evaluation.models.library import PixelStep
from rtx.files import code_sha256
from rtx.sources.catalog.archs import build_reference, find_arch, full_shapes
from rtx.sources.catalog.record import Pixels
from rtx.sources.catalog.spec import parse_spec, statistics_of
from rtx.sources.load import load_source
from rtx.sources.spelling import full_spec
from rtx.sources.stated import stated_size, stated_statistics

log = logging.getLogger(__name__)


class Normalised(nn.Module):
    """A network behind the statistics of the pixels that it was trained with; takes RGB in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], channel_order: str = "rgb"
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.flip = channel_order == "bgr"

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        pixels = pixels.flip(1) if self.flip else pixels
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits


def source_classifier(spec: str, classes: Sequence[str], device: str = "cpu") -> Classifier:
    """The whole classifier of a source, on images of 224 pixels; a file of `rtx train_source` on those of its own size.

    Args:
        spec: a source's name, FILE or ARCH:FILE.
        classes: the folder names of its outputs, in order; as many as it has outputs.
        device: where it goes.

    Raises:
        UnknownName: no such source.
        WeightsError, WeightsMismatch: the file is not there, or is not that classifier's; one without its last layer
            is no classifier either.
        BadValue: an architecture that torchvision does not have.
    """
    spec = full_spec(spec)
    parsed = parse_spec(spec)
    arch = parsed.arch
    if arch is None:
        raise BadValue(f"source {spec!r}: say the architecture, as in resnet50:{spec}")
    if find_arch(arch).family == "swin":
        raise BadValue(f"source {spec!r}: torchvision's Swin has other keys; give an mmpretrain config and checkpoint")
    loaded = load_source(spec, arch, full_shapes(arch, num_classes=len(classes)))
    network = build_reference(arch, num_classes=len(classes))
    network.load_state_dict(loaded.state_dict, strict=True)
    trained = statistics_of(parsed, arch)
    stated = None if parsed.path is None else stated_statistics(parsed.path)
    if trained is None and stated is None:
        log.warning("source %s: the file does not state the mean and std of its training; ImageNet's are taken", spec)
    mean, std = stated or (Pixels.mean, Pixels.std)
    own = code_sha256(type(network).__module__)  # of a network of one's own, which the weights do not tell
    order = "rgb"
    if trained is not None:
        mean, std, order = trained.mean, trained.std, trained.channel_order
    version = None if own is None else f"code {own[:12]}"
    normalised = Normalised(network, mean, std, order).to(device).eval()
    size = None if parsed.path is None else stated_size(parsed.path)
    if size is not None:
        log.info("source %s: images of %d pixels, as it was trained on", spec, size)
    prepare = None if size is None else _as_trained(size)
    return Classifier(normalised, classes, name=spec, version=version, inputs="tensor", prepare=prepare)


def _as_trained(size: int) -> list[Any]:
    """The test steps of `rtx train_source` (`rtx.transfer.preprocessing`): Pillow's resizing smooths, OpenCV's not."""
    edge = round(size * 256 / 224)
    return [PixelStep(partial(_resized, edge), f"Pillow, bilinear, shorter side {edge}"), CenterCrop(size)]


def _resized(edge: int, image: Any) -> Any:
    height, width = image.shape[:2]
    least = min(height, width)
    size = int(edge * width / least), int(edge * height / least)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
