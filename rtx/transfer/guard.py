"""The frozen and trainable parts of a model, counted and named, and the check that frozen ones did not move."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor, nn

from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import modules_of, norm_layers
from rtx.backbones.spec import is_ours
from rtx.errors import FrozenChanged, some
from rtx.transfer.modes import transfer_name

log = logging.getLogger(__name__)


def fingerprint(tensor: Tensor) -> str:
    """Hex sha256 over the type, shape and raw bytes of a tensor, so that even -0.0 and 0.0 differ."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@HOOKS.register_module()
class FrozenGuardHook(Hook):
    """Fingerprints frozen parameters and buffers before training; compares at each epoch, validation, save and the end.

    It logs once how many parameters train. It works on wrapped models. The first fingerprint is taken when training
    starts, after all weights are loaded; its digest travels in the checkpoint, so a resumed run is compared with the
    original start too.

    Raises:
        FrozenChanged: a frozen tensor changed, vanished or lost its frozen state; the message names the tensors.
    """

    # After the optimiser step, before the checkpoint hook (VERY_LOW) saves a broken model.
    priority = "LOW"

    def __init__(self) -> None:
        """Start without fingerprints."""
        self.before: dict[str, str] = {}
        self.buffers_kept = True
        self.checked_at = -1

    def before_train(self, runner: Any) -> None:
        """Take the fingerprints, compare with those of an interrupted run, log the counts."""
        self.start(runner.model)
        self._compare_with_resumed(runner)
        facts = freeze_map(runner.model)
        runner.message_hub.update_info("freeze_map", facts)
        for place in ("backbone", "total"):
            number = facts[place]
            runner.logger.info(f"{place}: {number['trainable']:,} parameters train, {number['frozen']:,} are frozen")
        runner.logger.info(
            f"frozen guard: {len(self.before)} tensors fingerprinted"
            + ("" if self.buffers_kept else "; norm policy 'upstream' lets batch-norm statistics drift, not guarded")
        )

    def after_train_epoch(self, runner: Any) -> None:
        """Check at each epoch end."""
        self._check_once(runner)

    def before_val_epoch(self, runner: Any) -> None:
        """Check before each validation; a validation outside training has nothing to compare with."""
        self._check_once(runner)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Never let a broken model be saved."""
        self._check_once(runner)

    def after_train(self, runner: Any) -> None:
        """Check at the end and log the result."""
        self.check(runner.model)
        runner.logger.info(f"frozen guard: {len(self.before)} frozen tensors are bit-identical after training")

    def start(self, model: nn.Module) -> None:
        """Take the fingerprints of `model`."""
        self.before = {name: fingerprint(tensor) for name, tensor in frozen_tensors(model)}
        backbone = find_backbone(model)[1]
        self.buffers_kept = not (isinstance(backbone, SourceBackbone) and backbone.norm_policy == "upstream")

    def check(self, model: nn.Module) -> None:
        """Compare `model` with the fingerprints."""
        now = {name: fingerprint(tensor) for name, tensor in frozen_tensors(model)}
        changed = [name for name, digest in self.before.items() if now.get(name) != digest]
        if changed:
            raise FrozenChanged(
                f"{len(changed)} of {len(self.before)} frozen tensors changed during training: {some(changed, 8)}; a "
                "batch norm in train mode or an optimiser over frozen parameters does this. Do not use this checkpoint"
            )

    def _check_once(self, runner: Any) -> None:
        if self.before and runner.iter != self.checked_at:
            self.check(runner.model)
            self.checked_at = runner.iter

    def _compare_with_resumed(self, runner: Any) -> None:
        names = hashlib.sha256("\n".join(self.before).encode()).hexdigest()
        content = hashlib.sha256("\n".join(self.before.values()).encode()).hexdigest()
        # Another set of names means another transfer mode, which the run's own bookkeeping has to judge.
        earlier = runner.message_hub.runtime_info.get("frozen_digest")
        if isinstance(earlier, dict) and earlier.get("names") == names and earlier.get("content") != content:
            raise FrozenChanged(
                "the frozen tensors of the resumed checkpoint are not those that the run started with; "
                "the checkpoint was edited or the source weights are others, start a new run"
            )
        runner.message_hub.update_info("frozen_digest", {"names": names, "content": content})


def bare(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper, or the model itself."""
    from mmengine.model import is_model_wrapper

    inner = model.module if is_model_wrapper(model) else model
    return bare(inner) if isinstance(inner, nn.Module) and inner is not model else model


def find_backbone(model: nn.Module) -> tuple[str, nn.Module]:
    """Name and module of the backbone; the model itself, under the name "", when it has none.

    A backbone of rtx is found wherever it is, inside detectron2's FPN or an adapter.
    """
    inner = bare(model)
    own = next(((name, part) for name, part in inner.named_modules() if isinstance(part, SourceBackbone)), None)
    if own is not None:
        return own
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


def mode_of(model: nn.Module, backbone: Mapping[str, Any], framework: str) -> str | None:
    """The transfer mode of a built model, from its backbone's config where that states one, else from what trains.

    Args:
        model: the model.
        backbone: config of its backbone; empty where there is none.
        framework: that reads it.

    Returns:
        As `rtx.transfer.modes.transfer_name`; "part" where some of a backbone trains whose config names no stages, and
        None for a model without a backbone.
    """
    if not backbone:
        return None
    found = counts(find_backbone(model)[1])
    if not found["trainable"] and found["frozen"]:
        return "fixed"
    if is_ours(backbone) or "frozen_stages" in backbone or not found["frozen"]:
        return transfer_name(backbone, framework)
    return "part"


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
