"""The base of all source backbones: loading a source, freezing, and batch-norm policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule, update_init_info
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rtx.backbones.freezing import (
    N_STAGES,
    FreezePlan,
    Part,
    check_norm_policy,
    plan_freezing,
    set_modes,
    stop_gradients,
)
from rtx.errors import BadValue

log = logging.getLogger(__name__)


class SourceBackbone(BaseModule):
    """Base of the source backbones; a subclass builds its modules, then calls `finish` with its parts.

    Args:
        arch: key of `rtx.backbones.spec.BACKBONES`, e.g. "resnet50".
        source: name of a source, path of a weights file, "random", or None (no weights of our own: `init_cfg` decides).
        frozen_stages: OpenMMLab sense: 4 all, 0 stem only, -1 none.
        trainable_blocks: train only the last k blocks; excludes `frozen_stages`.
        norm_policy: see `rtx.types.NormPolicy`.
        out_indices: which of the four stages are returned, ascending.
        with_cp: recompute block activations in the backward pass to save memory.
        head_first_epochs: how many epochs pass before it trains; `rtx.transfer.head_first.HeadFirst` sees to it.
        init_cfg: mmengine initialisation, only together with `source=None`.

    Raises:
        BadValue: arguments that exclude each other or are out of range.
        UnknownName: `norm_policy` does not exist.
    """

    parts: tuple[Part, ...]
    plan: FreezePlan

    def __init__(
        self,
        *,
        arch: str,
        source: str | None = None,
        frozen_stages: int = -1,
        trainable_blocks: int | None = None,
        norm_policy: str = "eval",
        out_indices: Sequence[int] = (0, 1, 2, 3),
        with_cp: bool = False,
        head_first_epochs: int | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        """Check and store the arguments."""
        super().__init__(init_cfg)
        if source is not None and init_cfg:
            raise BadValue(f"source={source!r} and init_cfg={init_cfg!r} exclude each other; set one of them to None")
        indices = tuple(out_indices)
        if not indices or list(indices) != sorted(set(indices)) or not set(indices) <= set(range(N_STAGES)):
            raise BadValue(f"out_indices {out_indices!r}: must be ascending and among 0, 1, 2, 3")
        check_norm_policy(norm_policy)
        self.arch = arch
        self.source = source
        self.frozen_stages = frozen_stages
        self.trainable_blocks = trainable_blocks
        self.norm_policy = norm_policy
        self.out_indices = indices
        self.with_cp = with_cp
        self.head_first_epochs = head_first_epochs

    def finish(self, parts: Sequence[Part]) -> None:
        """Plan the freezing over `parts` (network order) and apply it; the last line of a subclass's `__init__`."""
        self.parts = tuple(parts)
        self.plan = plan_freezing(
            self.parts,
            frozen_stages=self.frozen_stages,
            trainable_blocks=self.trainable_blocks,
            last_stage=self.last_stage,
        )
        stop_gradients(self, self.plan, self.norm_policy)
        self.train()

    @property
    def last_stage(self) -> int:
        """The deepest stage whose output is used."""
        return max(self.out_indices) + 1

    def train(self, mode: bool = True) -> SourceBackbone:
        """Switch the mode; frozen parts and batch norms follow the plan, not the model around them."""
        super().train(mode)
        if mode and hasattr(self, "plan"):
            set_modes(self, self.plan, self.norm_policy)
        return self

    def init_weights(self) -> None:
        """Load `source` strictly, or initialise as `init_cfg` says.

        Raises:
            WeightsError: the file is missing, unreadable or does not fit.
        """
        if self.source in (None, "random"):
            super().init_weights()
            return
        from rtx.sources.load import load_source

        loaded = load_source(self.source, self.arch, self.source_shapes())
        self.load_state_dict(self.from_source(loaded.state_dict), strict=True)
        if hasattr(self, "_params_init_info"):
            update_init_info(self, init_info=f"source {self.source}")
        self._is_init = True
        log.info("backbone %s: source %s, sha256 %s", self.arch, self.source, loaded.sha256)

    def source_shapes(self) -> dict[str, tuple[int, ...]]:
        """Keys and shapes that a source must have; all of this module's own unless a subclass says otherwise."""
        return {key: tuple(value.shape) for key, value in self.state_dict().items()}

    def from_source(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Last change of keys between the loader and this module; the identity for torchvision-keyed backbones."""
        return state_dict

    def run_block(self, block: Callable[..., Any], *inputs: Any) -> Any:
        """One block, recomputed in the backward pass when `with_cp` asks for it and there is a backward pass."""
        if self.with_cp and self.training:
            given = [x for one in inputs for x in (one if isinstance(one, list | tuple) else (one,))]
            trains = any(isinstance(x, Tensor) and x.requires_grad for x in given)
            if trains or (isinstance(block, nn.Module) and any(p.requires_grad for p in block.parameters())):
                return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)
