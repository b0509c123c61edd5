"""Whose features are looked at: a source, or the model of a run folder; and where in it a layer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rtx import config as configs
from rtx.backbones.base import SourceBackbone
from rtx.backbones.spec import spec_of
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.card import weights_sha256
from rtx.evaluation.models.load import load_model
from rtx.probe.source import load_frozen
from rtx.results.folder import last_checkpoint, run_config
from rtx.transfer.guard import find_backbone
from rtx.visualise.layers import Layer


class _Network(nn.Module):
    """Pixels in, whatever the network gives out."""

    mean: Tensor
    std: Tensor

    def __init__(self, inner: nn.Module, mean: Sequence[float], std: Sequence[float], *, bgr: bool) -> None:
        super().__init__()
        self.inner, self.bgr = inner, bgr
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(3, 1, 1) / 255)

    def forward(self, images: Tensor) -> Any:
        """Images (N, 3, H, W), RGB in [0, 1]."""
        pixels = (images.flip(1) if self.bgr else images) - self.mean
        return self.inner(pixels / self.std)


class _Classifier(nn.Module):
    """Backbone, neck and head of a model of OpenMMLab, or its backbone alone where no classifier is on it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.neck, self.head = None, None
        if hasattr(model, "head") and isinstance(model.head, nn.Module) and not hasattr(model, "rpn_head"):
            self.neck, self.head = getattr(model, "neck", None), model.head

    def forward(self, pixels: Tensor) -> Any:
        maps = self.backbone(pixels)
        if self.head is None:
            return maps
        return self.head(maps if self.neck is None else self.neck(maps))


@dataclass(frozen=True, eq=False)
class Looked:
    """A network that is looked at.

    Attributes:
        name: for files and sheets.
        network: in evaluation mode, without gradients of its weights; RGB images in [0, 1] in.
        weights: hex sha256.
        classes: names of the outputs of its head; empty without one.
    """

    name: str
    network: _Network
    weights: str
    classes: tuple[str, ...] = ()

    def layer(self, name: str, *, fake_relu: bool = True) -> Layer:
        """A layer by its name.

        Args:
            name: `features`, the global average of the last stage; `stage1` to `stage4`; `logits` of a classifier's
                run; or a module of the network.
            fake_relu: see `rtx.visualise.layers`.

        Raises:
            UnknownName: there is none; the nearest names are shown.
        """
        inner = self.network.inner
        backbone = find_backbone(inner)[1]
        short: dict[str, tuple[nn.Module, int | None, bool]] = {"features": (backbone, None, True)}
        if isinstance(backbone, SourceBackbone):
            channels = spec_of(backbone.arch).channels
            for stage in range(1, 5):
                own = [part.name for part in backbone.parts if part.stage == stage and not part.feeds]
                modules = dict(backbone.named_modules())
                if own and own[-1] in modules:
                    short[f"stage{stage}"] = modules[own[-1]], channels[stage - 1], False
        if isinstance(inner, _Classifier) and inner.head is not None:
            short["logits"] = inner.head, None, False
        modules = {key: module for key, module in inner.named_modules() if key}
        if name in short:
            module, count, pooled = short[name]
            return Layer(name, self.network, module, count, pooled, fake_relu)
        if name not in modules:
            words = f"{', '.join(short)}, or a module such as {list(modules)[-1]}"
            place = f"the network of {self.name}"
            raise unknown_name("layer", name, place=place, choices=[*short, *modules], remedy=words)
        return Layer(name, self.network, modules[name], None, False, fake_relu)

    def unit(self, layer: Layer, word: str, count: int) -> int:
        """The number of a unit, from 0, given as a number or, of logits, as the name of a class.

        Raises:
            BadValue: the layer has fewer.
            UnknownName: there is no such class.
        """
        if word.isdecimal():
            if int(word) >= count:
                raise BadValue(f"unit {word} of layer {layer.name!r} of {self.name}: must be 0 to {count - 1}")
            return int(word)
        if layer.name != "logits" or not self.classes:
            raise BadValue(f"unit {word!r} of layer {layer.name!r} of {self.name}: must be a number, 0 to {count - 1}")
        if word not in self.classes:
            raise unknown_name("class", word, place=f"the classes of {self.name}", choices=self.classes)
        return self.classes.index(word)


def look_at(spec: str, device: str, seed: int) -> Looked:
    """A source, or the run in a folder.

    Args:
        spec: a run folder, or a source as `rtx probe` takes it.
        device: where it goes.
        seed: of random weights.

    Raises:
        UnknownName: neither a folder nor a source.
        BadValue: no run folder, or a model without backbone.
        WeightsError, WeightsMismatch: its weights cannot be loaded.
    """
    if not Path(spec).is_dir():
        source = load_frozen(spec, device, seed=seed)
        network = _Network(source.network, source.mean, source.std, bgr=source.bgr)
        return Looked(source.name, _still(network, device), source.weights)
    folder = Path(spec).resolve()
    cfg, checkpoint = configs.load(run_config(folder)), last_checkpoint(folder)
    if checkpoint is None:
        raise BadValue(f"run folder {spec!r} names no checkpoint; let its training reach the first one")
    model: Any = load_model(cfg, checkpoint, device)
    if not isinstance(getattr(model, "backbone", None), nn.Module):
        raise BadValue(f"run folder {spec!r}: {type(model).__name__} has no backbone to look at")
    settings = cfg.model.get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    mean, std = settings.get("mean") or [0.0] * 3, settings.get("std") or [1.0] * 3
    turned = settings.get("bgr_to_rgb", settings.get("to_rgb", False))  # OpenMMLab loads BGR
    network = _Network(_Classifier(model), mean, std, bgr=not turned)
    classes = tuple((getattr(model, "dataset_meta", None) or {}).get("classes") or ())
    return Looked(folder.name, _still(network, device), weights_sha256(model), classes)


def _still(network: _Network, device: str) -> _Network:
    found: _Network = network.to(device).eval().requires_grad_(False)
    return found
