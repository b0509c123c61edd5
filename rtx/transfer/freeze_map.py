"""Counts and names of a model's frozen and trainable parts, for logs and protocol cards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import modules_of, norm_layers


def bare(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper, or the model itself."""
    from mmengine.model import is_model_wrapper

    inner = model.module if is_model_wrapper(model) else model
    return bare(inner) if isinstance(inner, nn.Module) and inner is not model else model


def find_backbone(model: nn.Module) -> tuple[str, nn.Module]:
    """Name and module of the backbone; the model itself, under the name "", when it has none."""
    inner = bare(model)
    backbone = getattr(inner, "backbone", None)
    return ("backbone", backbone) if isinstance(backbone, nn.Module) else ("", inner)


def freeze_map(model: nn.Module) -> dict[str, Any]:
    """Counts and names of frozen and trainable parts.

    Returns:
        JSON-ready: `total` and `backbone` with `trainable` and `frozen` parameter counts; for a backbone of rtx also
        its `arch`, `norm_policy`, `frozen_stages`, `trainable_blocks`, the names of `frozen_parts`, `trainable_parts`
        and `unused_parts`, and `frozen_norm_buffers`: whether the statistics of frozen parts stay.
    """
    inner = bare(model)
    _, backbone = find_backbone(model)
    result: dict[str, Any] = {"total": counts(inner), "backbone": counts(backbone)}
    if isinstance(backbone, SourceBackbone):
        result["backbone"] |= {
            "arch": backbone.arch,
            "norm_policy": backbone.norm_policy,
            "frozen_stages": backbone.frozen_stages,
            "trainable_blocks": backbone.trainable_blocks,
            "frozen_parts": list(backbone.plan.frozen),
            "trainable_parts": list(backbone.plan.trainable),
            "unused_parts": list(backbone.plan.unused),
            "frozen_norm_buffers": backbone.norm_policy != "upstream",
        }
    else:
        for name in ("frozen_stages", "norm_eval"):
            if hasattr(backbone, name):
                result["backbone"][name] = getattr(backbone, name)
    return result


def counts(module: nn.Module) -> dict[str, int]:
    """Numbers of trainable and frozen parameters."""
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return {"trainable": trainable, "frozen": sum(p.numel() for p in module.parameters()) - trainable}


def frozen_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter that does not train, and every backbone buffer that must not change.

    For a backbone of rtx these are the buffers of frozen and unused parts, and under the policies `eval` and
    `frozen_affine` those of all batch norms; under `upstream` none, since its statistics drift by design. For a stock
    backbone: the buffers of batch norms whose affine parameters are all frozen, or of all when `norm_eval` is set.
    """
    prefix, backbone = find_backbone(model)
    for name, parameter in bare(model).named_parameters():
        if not parameter.requires_grad:
            yield name, parameter
    dot = f"{prefix}." if prefix else ""
    kept = _kept_buffers(backbone)
    for name, buffer in backbone.named_buffers():
        if id(buffer) in kept:
            yield dot + name, buffer


def _kept_buffers(backbone: nn.Module) -> set[int]:
    if isinstance(backbone, SourceBackbone):
        if backbone.norm_policy == "upstream":
            return set()
        modules = list(modules_of(backbone, (*backbone.plan.frozen, *backbone.plan.unused)))
        if backbone.norm_policy in ("eval", "frozen_affine"):
            modules += list(norm_layers(backbone))
    else:
        everything = bool(getattr(backbone, "norm_eval", False))
        modules = [
            layer
            for layer in norm_layers(backbone)
            if everything or (list(layer.parameters()) and not any(p.requires_grad for p in layer.parameters()))
        ]
    return {id(buffer) for module in modules for buffer in module.buffers()}
