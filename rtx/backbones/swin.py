"""Swin transformers with the key names of the original repository, as feature pyramids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import Part
from rtx.backbones.spec import Backbone, add_row
from rtx.backbones.swin_block import PatchEmbed, PatchMerging, SwinBlock
from rtx.errors import BadValue, unknown_name
from rtx.sources.keys.swin import SWIN_SHAPES


class Stage(nn.Module):
    """The blocks of one stage and the merging behind it, under the original names."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        """Store the modules."""
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


@MODELS.register_module()
class SourceSwin(SourceBackbone):
    """Swin-T, -S, -B (window 7) or -B (window 12), equal in features to mmdet's and mmseg's SwinTransformer.

    Each output has a norm of its own, `norm0` to `norm3`, that no classification checkpoint holds: they start as
    identity and train in every transfer mode, unless `freeze_output_norms` asks for OpenMMLab's behaviour, which
    freezes them with their stage. Patch embedding is the stem; a merging belongs to the stage before it. Stochastic
    depth is off in frozen blocks.

    Args:
        arch: key of `rtx.sources.keys.swin.SWIN_SHAPES`.
        drop_path_rate: stochastic depth of the last block; earlier ones less, linearly.
        freeze_output_norms: freeze the output norm of a stage whose blocks are all frozen.
        last_norm_from_source: start `norm3` from the checkpoint's final norm, as a classifier needs it; it then is
            frozen with the last block, as everything else that was pretrained.
        shift_single_windows: shift windows also on maps that are no larger than one window, as the original detection
            code, mmdet and mmseg do. The published classifiers do not (a map of 7 x 7 is left alone in stage 4 at 224
            pixels), nor does mmpretrain.
        **common: source, freezing, norm policy, outputs: see `SourceBackbone`;
            the batch-norm policy has nothing to act on.

    Raises:
        UnknownName: no such architecture.
        BadValue: a norm layer other than layer norm, or more trainable blocks than there are.

    Example:
        >>> import torch
        >>> backbone = SourceSwin("swin_t", frozen_stages=4)
        >>> [tuple(f.shape) for f in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 96, 16, 16), (1, 192, 8, 8), (1, 384, 4, 4), (1, 768, 2, 2)]
    """

    def __init__(
        self,
        arch: str = "swin_t",
        *,
        drop_path_rate: float = 0.1,
        freeze_output_norms: bool = False,
        last_norm_from_source: bool = False,
        shift_single_windows: bool = True,
        **common: Any,
    ) -> None:
        """Build the layers and apply the freezing."""
        if arch not in SWIN_SHAPES:
            raise unknown_name("architecture", arch, place="rtx/sources/keys/swin.py", choices=SWIN_SHAPES)
        norm_cfg = common.pop("norm_cfg", None)
        if norm_cfg is not None and norm_cfg.get("type") != "LN":
            raise BadValue(f"norm_cfg {norm_cfg!r}: Swin has layer norm; leave it out or use type 'LN'")
        super().__init__(arch=arch, **common)
        if last_norm_from_source and 3 not in self.out_indices:
            raise BadValue("last_norm_from_source needs the last stage among out_indices")
        self.last_norm_from_source = last_norm_from_source
        self.freeze_output_norms = freeze_output_norms
        shape = SWIN_SHAPES[arch]
        last_block = sum(shape.depths) - 1
        rates = [drop_path_rate * i / last_block for i in range(last_block + 1)]
        self.patch_embed = PatchEmbed(shape.width)
        self.layers = nn.ModuleList()
        for i, depth in enumerate(shape.depths):
            width = shape.width * 2**i
            blocks = [
                SwinBlock(
                    width,
                    shape.heads[i],
                    shape.window,
                    shifted=j % 2 == 1,
                    drop_path=rates.pop(0),
                    shift_single=shift_single_windows,
                )
                for j in range(depth)
            ]
            self.layers.append(Stage(blocks, PatchMerging(width) if i < 3 else None))
        for i in self.out_indices:
            self.add_module(f"norm{i}", nn.LayerNorm(shape.width * 2**i))
        self._initialise()
        parts = [Part("patch_embed", 0, False)]
        for i, depth in enumerate(shape.depths):
            parts += [Part(f"layers.{i}.blocks.{j}", i + 1, True) for j in range(depth)]
            if i < 3:
                parts.append(Part(f"layers.{i}.downsample", i + 1, False, feeds=i + 2))
        self.finish(parts)

    def finish(self, parts: Sequence[Part]) -> None:
        """As for every backbone; then the output norms, where they follow their stage."""
        super().finish(parts)
        followers = self.out_indices if self.freeze_output_norms else (3,) if self.last_norm_from_source else ()
        if followers:
            still = {part.stage for part in parts if part.block and part.name in self.plan.trainable}
            norms = [f"norm{i}" for i in followers if i + 1 not in still]
            self.plan = replace(self.plan, frozen=(*self.plan.frozen, *norms))
            for name in norms:
                self.get_submodule(name).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Stage outputs at strides 4, 8, 16, 32 as far as `out_indices` asks for them."""
        x = self.patch_embed(x)
        outputs = []
        last = max(self.out_indices)
        stages: list[Any] = list(self.layers)
        for i, stage in enumerate(stages):
            for block in stage.blocks:
                x = self.run_block(block, x)
            if i in self.out_indices:
                normed: Tensor = self.get_submodule(f"norm{i}")(x)
                outputs.append(normed.permute(0, 3, 1, 2).contiguous())
            if i == last:
                break
            x = stage.downsample(x)
        return tuple(outputs)

    def source_shapes(self) -> dict[str, tuple[int, ...]]:
        """All but the output norms, and the final norm with `last_norm_from_source`."""
        shapes = {key: value for key, value in super().source_shapes().items() if not _is_output_norm(key)}
        if self.last_norm_from_source:
            shapes |= {f"norm.{name}": tuple(getattr(self.norm3, name).shape) for name in ("weight", "bias")}
        return shapes

    def from_source(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Output norms keep their values; with `last_norm_from_source` the last one takes the final norm."""
        own = {key: value for key, value in self.state_dict().items() if _is_output_norm(key)}
        renamed = {f"norm3.{key[5:]}" if key.startswith("norm.") else key: v for key, v in state_dict.items()}
        return {**own, **renamed}

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("relative_position_bias_table") or (parameter.ndim == 2 and name.endswith("weight")):
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias") and parameter.ndim == 1:
                nn.init.zeros_(parameter)


def _is_output_norm(key: str) -> bool:
    return key.split(".")[0] in {"norm0", "norm1", "norm2", "norm3"}


for _arch, _shape in SWIN_SHAPES.items():
    _channels = (_shape.width, 2 * _shape.width, 4 * _shape.width, 8 * _shape.width)
    add_row(_arch, Backbone(_channels, {"type": "SourceSwin", "arch": _arch}, freezes_early=False))
