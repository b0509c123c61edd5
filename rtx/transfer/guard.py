"""Check that frozen parameters and buffers are bit-identical after training."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor, nn

from rtx.backbones.base import SourceBackbone
from rtx.errors import FrozenChanged
from rtx.transfer.freeze_map import find_backbone, freeze_map, frozen_tensors

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
            shown = ", ".join(changed[:8]) + (f" and {len(changed) - 8} more" if len(changed) > 8 else "")
            raise FrozenChanged(
                f"{len(changed)} of {len(self.before)} frozen tensors changed during training: {shown}; a batch norm "
                "in train mode or an optimiser over frozen parameters does this. Do not use this checkpoint"
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
