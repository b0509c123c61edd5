"""Which part of a backbone trains: pure bookkeeping over named parts, the same for every architecture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from rtx.errors import BadValue, unknown_name
from rtx.types import NORM_POLICIES

N_STAGES = 4


@dataclass(frozen=True)
class Part:
    """A named piece of a backbone; a backbone lists its parts in the order in which the image passes them.

    Attributes:
        name: path of a module below the backbone, e.g. "layer3.0", or of a parameter that lies in no such module.
        stage: 0 for the stem, else 1 to 4; 5 for what no output needs.
        block: whether `blocks:k` counts it (a residual block, a dense layer, ...); transitions and stems do not count.
        feeds: the stage that reads its output, where that is not its own: a transition frozen with the stage before it
            is unused when nothing reads the stage behind it.
    """

    name: str
    stage: int
    block: bool
    feeds: int = 0

    @property
    def deepest(self) -> int:
        """The stage that must be in use for this part to be."""
        return max(self.stage, self.feeds)


@dataclass(frozen=True)
class FreezePlan:
    """Names of the frozen, trainable and unused (never reached by the forward pass) parts, in network order."""

    frozen: tuple[str, ...]
    trainable: tuple[str, ...]
    unused: tuple[str, ...]


def plan_freezing(
    parts: Sequence[Part], *, frozen_stages: int, trainable_blocks: int | None, last_stage: int
) -> FreezePlan:
    """Split the parts of a backbone.

    Args:
        parts: all parts in network order.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and the first n stages.
        trainable_blocks: when given, everything before the k-th last block is frozen, and `frozen_stages` must be -1.
            k = 0 freezes all. The stem never trains in this mode.
        last_stage: the deepest stage whose output is used; parts beyond it are `unused`.

    Raises:
        BadValue: a count that does not exist, or both kinds of freezing at once.

    Example:
        >>> parts = [Part("conv1", 0, False), Part("layer1.0", 1, True), Part("layer1.1", 1, True)]
        >>> plan_freezing(parts, frozen_stages=-1, trainable_blocks=1, last_stage=4).trainable
        ('layer1.1',)
    """
    if isinstance(frozen_stages, bool) or frozen_stages not in range(-1, N_STAGES + 1):
        raise BadValue(f"frozen_stages {frozen_stages!r}: must be -1 (none), 0 (stem) or 1 to {N_STAGES}")
    used = [part for part in parts if part.deepest <= last_stage]
    unused = tuple(part.name for part in parts if part.deepest > last_stage)
    if trainable_blocks is None:
        first_trainable = next((i for i, part in enumerate(used) if part.stage > frozen_stages), len(used))
    else:
        if frozen_stages != -1:
            raise BadValue(
                f"frozen_stages={frozen_stages} and trainable_blocks={trainable_blocks} exclude each other; "
                "leave frozen_stages at -1"
            )
        blocks = [i for i, part in enumerate(used) if part.block]
        if isinstance(trainable_blocks, bool) or not 0 <= trainable_blocks <= len(blocks):
            names = ", ".join(used[i].name for i in blocks)
            raise BadValue(
                f"trainable_blocks {trainable_blocks!r}: this backbone has {len(blocks)} blocks ({names}); "
                f"give blocks:0 to blocks:{len(blocks)}, or full_strict to train the stem too"
            )
        first_trainable = blocks[-trainable_blocks] if trainable_blocks else len(used)
    return FreezePlan(
        frozen=tuple(part.name for part in used[:first_trainable]),
        trainable=tuple(part.name for part in used[first_trainable:]),
        unused=unused,
    )


def check_norm_policy(policy: str) -> None:
    """Raise `UnknownName` for a policy that is not one of `rtx.types.NORM_POLICIES`."""
    if policy not in NORM_POLICIES:
        raise unknown_name("norm policy", policy, place="rtx.types.NORM_POLICIES", choices=NORM_POLICIES)


def norm_layers(module: nn.Module) -> Iterator[nn.Module]:
    """Every batch-norm layer below `module`; layer and group norm keep no running statistics and are left alone."""
    return (m for m in module.modules() if isinstance(m, _BatchNorm))


def piece_of(backbone: nn.Module, name: str) -> nn.Module | nn.Parameter:
    """The module or the parameter that a part names."""
    owner, _, last = name.rpartition(".")
    piece = getattr(backbone.get_submodule(owner), last)
    assert isinstance(piece, nn.Module | nn.Parameter)
    return piece


def modules_of(backbone: nn.Module, names: Iterable[str]) -> Iterator[nn.Module]:
    """The modules among the parts."""
    return (piece for piece in (piece_of(backbone, name) for name in names) if isinstance(piece, nn.Module))


def stop_gradients(backbone: nn.Module, plan: FreezePlan, policy: str) -> None:
    """Take frozen and unused parameters (and, under `frozen_affine`, every batch-norm scale and shift) out of training.

    No gradient is ever switched on, so a norm layer built with `requires_grad=False` stays as its config says.
    """
    for name in (*plan.frozen, *plan.unused):
        piece_of(backbone, name).requires_grad_(False)
    if policy == "frozen_affine":
        for layer in norm_layers(backbone):
            layer.requires_grad_(False)


def set_modes(backbone: nn.Module, plan: FreezePlan, policy: str) -> None:
    """Put a backbone in training mode into the modes that the plan and the norm policy ask for.

    Frozen parts are in eval mode as a whole, so dropout and stochastic depth are off in them as well.
    """
    for module in modules_of(backbone, (*plan.frozen, *plan.unused)):
        module.eval()
    if policy in ("eval", "frozen_affine"):
        for layer in norm_layers(backbone):
            layer.eval()
    elif policy == "upstream":
        # Salman et al. call .train() on the whole network, so frozen layers normalise by batch and their buffers drift.
        for layer in norm_layers(backbone):
            layer.train()


def apply_norm_cfg(net: nn.Module, norm_cfg: Mapping[str, Any] | None) -> None:
    """Turn the batch norms below `net` into what a config asks for.

    Raises:
        BadValue: anything but batch norm.
    """
    norm = dict(norm_cfg or {"type": "BN"})
    if norm.get("type") not in ("BN", "BN2d", "SyncBN"):
        raise BadValue(f"norm_cfg type {norm.get('type')!r}: this network has batch norm only; use BN or SyncBN")
    if norm["type"] == "SyncBN":
        for name, child in net.named_children():
            net.add_module(name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
    if norm.get("requires_grad") is False:
        for module in norm_layers(net):
            module.requires_grad_(False)
