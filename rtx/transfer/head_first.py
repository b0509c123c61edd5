"""Linear probing, then fine-tuning: the head trains first, on a backbone that stays as it is (`--transfer lpft:N`).

Fine-tuning from a random head distorts features before the head fits them; a head that fits moves them less (Kumar et
al., 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", section 4). The paper
trains twice, each time with a learning rate of its own. Here one schedule runs through both phases, and `--backbone-lr`
lets the backbone train more slowly than the head.
"""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import nn

from rtx.errors import BadValue, FrozenChanged
from rtx.transfer.guard import bare, find_backbone, fingerprint


@HOOKS.register_module()
class HeadFirst(Hook):
    """Keeps the backbone as it is for the first epochs, as its `head_first_epochs` says, then lets it train.

    "Head" is everything but the backbone: neck, region proposals, box, mask and decode heads. In the first phase the
    whole backbone is in evaluation mode, as in `fixed`. An epoch is a pass over the training set, in schedules that
    count steps too.

    Raises:
        BadValue: the schedule ends before the backbone would train.
        FrozenChanged: something moved the backbone in the first phase.
    """

    priority = "HIGH"

    def __init__(self) -> None:
        self.steps = 0
        self._waiting: list[nn.Parameter] | None = None
        self._before: dict[str, str] = {}

    def before_train(self, runner: Any) -> None:
        """Count the steps of the first phase."""
        epochs = find_backbone(runner.model)[1].head_first_epochs or 0
        assert isinstance(epochs, int)
        self.steps = epochs * len(runner.train_dataloader)
        if self.steps >= runner.max_iters:
            raise BadValue(
                f"transfer lpft:{epochs}: {epochs} epochs are {self.steps} steps and the schedule has "
                f"{runner.max_iters}, so the backbone would never train; give fewer epochs, or --transfer fixed"
            )
        # Parameters without a gradient keep a distributed model waiting unless it looks for them.
        if is_model_wrapper(runner.model) and getattr(runner.model, "find_unused_parameters", True) is False:
            raise BadValue(
                f"transfer lpft:{epochs} on several processes needs find_unused_parameters=True in the config"
            )

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Stop the backbone in the first phase, and let it go at its end."""
        backbone = find_backbone(runner.model)[1]
        if runner.iter < self.steps:
            if self._waiting is None:
                self._waiting = [p for p in backbone.parameters() if p.requires_grad]
                self._before = _fingerprints(backbone)
                for parameter in self._waiting:
                    parameter.requires_grad_(False)
                runner.logger.info(f"the head alone trains for {self.steps} steps")
            if backbone.training:
                backbone.eval()
        elif self._waiting is not None:
            self._check(backbone)
            for parameter in self._waiting:
                parameter.requires_grad_(True)
            self._waiting = None
            backbone.train()
            runner.logger.info("the backbone trains from here on")

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Never let a backbone be saved that moved in the first phase."""
        if self._waiting is not None:
            self._check(find_backbone(runner.model)[1])

    def _check(self, backbone: nn.Module) -> None:
        now = _fingerprints(backbone)
        changed = [name for name, digest in self._before.items() if now.get(name) != digest]
        if changed:
            raise FrozenChanged(
                f"{len(changed)} tensors of the backbone changed while the head alone trains, {changed[0]} among them; "
                "do not use this checkpoint"
            )


def _fingerprints(backbone: nn.Module) -> dict[str, str]:
    return {name: fingerprint(tensor) for name, tensor in bare(backbone).state_dict().items()}
