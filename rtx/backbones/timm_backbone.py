"""Any model of timm with feature maps as a backbone: `timm:NAME`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import N_STAGES, norm_layers
from rtx.backbones.pyramid import pyramid_channels, pyramid_level
from rtx.backbones.spec import Backbone, add_family
from rtx.backbones.timm_layout import STRIDES, features, final_map, last_map, layout_of
from rtx.errors import BadValue
from rtx.sources.catalog.timm_models import PREFIX, build_timm

log = logging.getLogger(__name__)


@MODELS.register_module()
class SourceTimm(SourceBackbone):
    """A model of timm; needs the extra `timm`.

    A network with maps at strides 4, 8, 16 and 32 gives those, as timm's `features_only` does. A plain ViT gives its
    last map behind the final norm and three more made from it (`rtx.backbones.pyramid`), whose layers no checkpoint
    holds: they train in every transfer mode. Its stages are quarters of its blocks. The image is padded to a multiple
    of 32 with zeros and each map cut to the size that a ResNet's has; with patches that are no power of two (14) it is
    scaled before them (by 14/16), so that strides stay 4 to 32. With `final` and no other map, as classifiers have it,
    it is padded only as far as the network itself asks for, and not scaled.

    Args:
        model: as timm writes it, e.g. "convnext_tiny" or "resnet50.a1_in1k"; the tag decides pixel statistics and which
            published weights are looked for.
        final: the last output is the map that the published classifier pools, which is what a new classifier should
            read; of a plain ViT, the last map itself.
        drop_path_rate: stochastic depth, where the model has it; None for timm's own default.
        norm_cfg: type "SyncBN" synchronises the batch norms; no other kind of norm can be put in.
        **common: source, freezing, norm policy, outputs: see `SourceBackbone`.

    Raises:
        MissingDependency: timm is not installed.
        UnknownName: timm has no such model.
        BadValue: it has no feature maps at these strides, or takes one image size only.

    Example:
        >>> import torch
        >>> backbone = SourceTimm("convnext_atto", frozen_stages=4)
        >>> [tuple(f.shape) for f in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 40, 16, 16), (1, 80, 8, 8), (1, 160, 4, 4), (1, 320, 2, 2)]
    """

    def __init__(
        self,
        model: str,
        *,
        final: bool = False,
        drop_path_rate: float | None = None,
        norm_cfg: dict[str, Any] | None = None,
        **common: Any,
    ) -> None:
        """Build timm's model and the pyramid, and apply the freezing."""
        super().__init__(arch=PREFIX + model, **common)
        self.model = model
        self.final = final
        self.layout = layout_of(model)
        self.net = _build(model, drop_path_rate)
        if self.with_cp:
            self.net.set_grad_checkpointing(True)  # type: ignore[operator]
        if self.layout.single:
            own = [i for i in self.out_indices if not (final and i == N_STAGES - 1)]
            self.pyramid = nn.ModuleDict(
                {str(STRIDES[i]): pyramid_level(self.layout.channels[0], self.layout.stride, STRIDES[i]) for i in own}
            )
        norm = norm_cfg or {}
        if norm.get("type") == "SyncBN":
            self.net = nn.SyncBatchNorm.convert_sync_batchnorm(self.net)
        if norm.get("requires_grad") is False:
            for layer in norm_layers(self.net):
                layer.requires_grad_(False)
        for layer in self.net.modules():
            if isinstance(layer, nn.GroupNorm):
                layer.register_forward_pre_hook(_plain_memory)
        parts = self.layout.final_parts if final else self.layout.parts
        self.finish([replace(part, name=f"net.{part.name}") for part in parts])

    @property
    def last_stage(self) -> int:
        """A pyramid reads the last map, whichever levels are asked for."""
        return N_STAGES if self.layout.single else super().last_stage

    def train(self, mode: bool = True) -> SourceTimm:
        """As for every backbone; first what `SyncBatchNorm.convert_sync_batchnorm` or its reverse has cut off."""
        if hasattr(self, "net"):
            _with_activations(self.net)
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps at strides 4, 8, 16, 32 as far as `out_indices` asks for them."""
        sides = x.shape[2:]
        # What alone is asked for as published is computed as published: a classifier pools no padding.
        alone = self.final and self.out_indices == (N_STAGES - 1,)
        step = self.layout.final_divisor if alone else self.layout.divisor
        x = functional.pad(x, (0, -sides[1] % step, 0, -sides[0] % step))
        maps = self._single(x, 1.0 if alone else self.layout.scale) if self.layout.single else self._several(x)
        for i, index in enumerate(self.out_indices):
            if step > 1 and not alone and not (self.final and self.layout.single):
                height, width = (-(-side // STRIDES[index]) for side in sides)
                maps[i] = maps[i][:, :, :height, :width]
        return tuple(maps)

    def _several(self, x: Tensor) -> list[Tensor]:
        indices = self.layout.indices
        if not (self.final and N_STAGES - 1 in self.out_indices):
            return list(features(self.net, x, tuple(indices[i] for i in self.out_indices)))
        earlier = self.out_indices[:-1]
        maps = features(self.net, x, tuple(indices[i] for i in earlier)) if earlier else []
        return [*maps, final_map(self.net, x)]

    def _single(self, x: Tensor, scale: float) -> list[Tensor]:
        if scale != 1:
            size = [round(side * scale) for side in x.shape[2:]]
            x = functional.interpolate(x, size, mode="bilinear", antialias=scale < 1)
        last = last_map(self.net, x, self.layout.indices[0])
        levels = [str(STRIDES[i]) for i in self.out_indices]
        return [self.pyramid[level](last) if level in self.pyramid else last for level in levels]

    def source_shapes(self) -> dict[str, tuple[int, ...]]:
        """The keys of timm itself."""
        return {key: tuple(value.shape) for key, value in self.net.state_dict().items()}

    def from_source(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The pyramid keeps its values."""
        own = {key: value for key, value in self.state_dict().items() if key.startswith("pyramid.")}
        return {**own, **{f"net.{key}": value for key, value in state_dict.items()}}


def _plain_memory(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The input of a trainable group norm behind frozen layers, in the plain memory format.

    In channels_last, its backward pass crashes the process on the CPU (PyTorch 2.11).
    """
    first, *others = inputs
    return (first if first.requires_grad else first.contiguous(), *others)


def _build(model: str, drop_path_rate: float | None) -> nn.Module:
    if drop_path_rate is None:
        return build_timm(model)
    try:
        return build_timm(model, drop_path_rate=drop_path_rate)
    except BadValue:
        log.warning("timm's %s has no stochastic depth; drop_path_rate=%s is left out", model, drop_path_rate)
        return build_timm(model)


def _with_activations(net: nn.Module) -> None:
    """Give batch norms that lost it the activation that timm runs inside them.

    `SyncBatchNorm.convert_sync_batchnorm`, which mmengine calls for `sync_bn`, and mmengine's reverse of it know
    nothing of timm's classes: the activation stays a child of the new layer that nothing calls.
    """
    from timm.layers import BatchNormAct2d, SyncBatchNormAct

    for layer in norm_layers(net):
        lost = isinstance(getattr(layer, "act", None), nn.Module)
        if lost and not isinstance(layer, BatchNormAct2d | SyncBatchNormAct):
            layer.__class__ = SyncBatchNormAct if isinstance(layer, nn.SyncBatchNorm) else BatchNormAct2d


def timm_row(name: str) -> Backbone:
    """The row of a model of timm."""
    layout = layout_of(name)
    channels = pyramid_channels(layout.channels[0], layout.stride) if layout.single else layout.channels
    one, two, three, four = channels
    return Backbone(
        (one, two, three, four),
        {"type": "SourceTimm", "model": name},
        final_channels=layout.final_channels,
        freezes_early=layout.early,
    )


add_family(PREFIX, "SourceTimm", timm_row)
