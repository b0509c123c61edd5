"""Ways to fine-tune that keep more of a source's robustness, as settings of the optimiser and hooks.

    anchor         L2-SP (Li et al., 2018): a penalty alpha / 2 ||w - w0||^2 on the backbone in place of its weight
                   decay, w0 being what training starts from
    layer_decay    layer-wise learning rates (Clark et al., 2020; Bao et al., 2022): each block's is that of the block
                   behind it times this factor; the last block's is that of the head times the factor
    backbone_lr    one factor for the learning rate of the whole backbone
    ema            the weights that are tested and saved are a running average: each step moves it by this momentum

`lpft` is a transfer mode, see `rtx.transfer.head_first`; interpolation of two trained models is
`rtx weights interpolate`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn

from rtx.backbones.base import SourceBackbone
from rtx.datasets.openmmlab.nodes import add_import
from rtx.errors import BadValue, RunConflict, unknown_name
from rtx.transfer.guard import bare, find_backbone, fingerprint

log = logging.getLogger(__name__)

SETTING = "rtx_keeping"
"""The key of a config that holds the fields of `Keeping`."""
_DEFAULT_CONSTRUCTORS = (None, "DefaultOptimWrapperConstructor")


@dataclass(frozen=True)
class Keeping:
    """What a training does to stay near its source.

    Attributes:
        l2sp: alpha of the anchor, above 0.
        layer_decay: factor of the learning rate from block to block, above 0, at most 1.
        backbone_lr: factor of the backbone's learning rate, above 0.
        ema: momentum of the average, above 0, below 1: average += momentum * (weights - average).

    Raises:
        BadValue: a number out of range, or nothing asked for.
    """

    l2sp: float | None = None
    layer_decay: float | None = None
    backbone_lr: float | None = None
    ema: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number in its range."""
        given = self.card()
        if not given:
            raise BadValue(f"{SETTING}: nothing is asked for; give one of {', '.join(f.name for f in fields(self))}")
        most = {"layer_decay": 1.0, "ema": 1.0}
        for name, value in given.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value <= most.get(name, float("inf")) or value == float("inf"):
                limit = f" and at most {most[name]:g}" if name in most else ""
                raise BadValue(f"{name} {value!r}: must be a number above 0{limit}")
        if self.ema == 1:
            raise BadValue("ema 1: the average would be the weights themselves; give a number below 1, e.g. 0.001")

    def card(self) -> dict[str, float]:
        """What is asked for, for the config and the protocol card."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Keeping:
        """From the mapping in a config.

        Raises:
            UnknownName: a setting that does not exist.
            BadValue: see above.
        """
        for name in settings:
            if name not in (names := [field.name for field in fields(cls)]):
                raise unknown_name("setting", name, place=SETTING, choices=names)
        return cls(**settings)


def with_keeping(cfg: Config, keeping: Keeping) -> Config:
    """The config that trains so, kept as `rtx_keeping`, which goes into run.json and the protocol card.

    Raises:
        BadValue: the config has no optimiser, or one that is built in a way of its own.
    """
    new: Config = copy.deepcopy(cfg)
    wrapper = new.get("optim_wrapper") or {}
    if keeping.ema is not None:
        averaging = dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=keeping.ema)
        new.custom_hooks = [*(new.get("custom_hooks") or []), averaging]
    if keeping.l2sp or keeping.layer_decay or keeping.backbone_lr:
        if not wrapper:
            raise BadValue(f"{SETTING}: the config has no optim_wrapper, whose learning rates it would change; add one")
        if wrapper.get("constructor") not in _DEFAULT_CONSTRUCTORS:
            raise BadValue(
                f"optim_wrapper.constructor is {wrapper['constructor']!r}, which sets learning rates in a way of its "
                "own; --anchor, --layer-decay and --backbone-lr need the default one: "
                "--cfg-options optim_wrapper.constructor=DefaultOptimWrapperConstructor"
            )
        new.optim_wrapper.constructor = KeepingConstructor.__name__
        new.optim_wrapper.paramwise_cfg = dict(wrapper.get("paramwise_cfg") or {}, **{SETTING: keeping.card()})
    if keeping.l2sp:
        new.custom_hooks = [*(new.get("custom_hooks") or []), dict(type=Anchor.__name__, alpha=keeping.l2sp)]
    add_import(new, "rtx.transfer.keeping")
    new[SETTING] = keeping.card()
    log.info("to keep the source: %s", ", ".join(f"{name} {value:g}" for name, value in keeping.card().items()))
    return new


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class KeepingConstructor(DefaultOptimWrapperConstructor):
    """mmengine's own, with the backbone's learning rates and weight decay changed as `Keeping` in `paramwise_cfg` says.

    Raises:
        BadValue: the model has no backbone of rtx, or nothing of it trains.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The optimiser wrapper of a model, one parameter group for each parameter."""
        wrapper: OptimWrapper = super().__call__(model)
        keeping = Keeping.of(self.paramwise_cfg[SETTING])
        factors = learning_rate_factors(_backbone(model), keeping)
        if not factors:
            raise BadValue(
                f"{', '.join(keeping.card())}: nothing of the backbone trains, so there is nothing to keep near its "
                "source; leave it away, or give another --transfer"
            )
        for group in wrapper.optimizer.param_groups:
            (parameter,) = group["params"]
            if id(parameter) in factors:
                group["lr"] *= factors[id(parameter)]
                if keeping.l2sp:
                    group["weight_decay"] = 0.0
        return wrapper


def learning_rate_factors(backbone: SourceBackbone, keeping: Keeping) -> dict[int, float]:
    """The factor of the learning rate of each trainable parameter of a backbone, by `id`.

    A part that is no block, a stem or a transition, counts as one block further from the head than the blocks behind
    it; parameters that no part names count with the stem.
    """
    depth, behind = {}, 0
    for part in reversed(backbone.parts):
        if part.name in backbone.plan.unused:
            continue
        depth[part.name] = behind + 1
        behind += part.block
    whole, decay = keeping.backbone_lr or 1.0, keeping.layer_decay or 1.0
    factors = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            owner = max((p for p in depth if name == p or name.startswith(f"{p}.")), key=len, default=None)
            factors[id(parameter)] = whole * decay ** (behind + 1 if owner is None else depth[owner])
    return factors


@HOOKS.register_module()
class Anchor(Hook):
    """L2-SP: adds alpha (w - w0) to the gradient of every trainable parameter of the backbone, right before a step.

    By then gradients are unscaled (AMP), averaged over ranks and clipped, so none of these touch the penalty. A resumed
    training has the same w0: the weights that its config starts from.

    Args:
        alpha: of the penalty alpha / 2 ||w - w0||^2.

    Raises:
        RunConflict: a resumed run starts from other weights than it first did.
    """

    priority = "VERY_LOW"  # behind the frozen guard, which first logs what trains

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self._anchors: dict[str, Tensor] = {}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Before a checkpoint to resume from replaces the weights: they are the anchor."""
        if runner._resume:
            self._take(runner)

    def before_train(self, runner: Any) -> None:
        """Take the anchor, compare it with that of an interrupted run, and attach the penalty."""
        if not self._anchors:
            self._take(runner)
        digest = fingerprint(torch.cat([value.reshape(-1) for value in self._anchors.values()]))
        earlier = runner.message_hub.runtime_info.get("anchor_digest")
        if earlier not in (None, digest):
            raise RunConflict(
                "--anchor: the resumed run began with other weights than this config starts from (a random "
                "initialisation, or load_from); the penalty would pull elsewhere: start a new run"
            )
        runner.message_hub.update_info("anchor_digest", digest)
        backbone = _backbone(runner.model)
        pairs = [(p, self._anchors[n].to(p.device)) for n, p in backbone.named_parameters() if n in self._anchors]

        def pull(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            with torch.no_grad():
                for parameter, anchor in pairs:
                    if parameter.grad is not None:
                        parameter.grad.add_(parameter - anchor, alpha=self.alpha)

        runner.optim_wrapper.optimizer.register_step_pre_hook(pull)

    def _take(self, runner: Any) -> None:
        named = _backbone(runner.model).named_parameters()
        self._anchors = {name: p.detach().clone() for name, p in named if p.requires_grad}


def _backbone(model: nn.Module) -> SourceBackbone:
    backbone = find_backbone(bare(model))[1]
    if not isinstance(backbone, SourceBackbone):
        raise BadValue(
            f"the model's backbone is {type(backbone).__name__}, of which rtx does not know the blocks; "
            "give it one of rtx's with --source"
        )
    return backbone
