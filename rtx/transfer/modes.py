"""Transfer modes as backbone arguments."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtx.backbones.freezing import check_norm_policy
from rtx.backbones.spec import is_ours, spec_of
from rtx.errors import BadValue, unknown_name
from rtx.types import NormPolicy, TransferMode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameworkDefault:
    """The freezing of a framework's own configs, which `full` means.

    Attributes:
        frozen_stages: in the OpenMMLab sense.
        norm_policy: what its configs do with batch norm while the backbone trains.
        text: the same for the log.
    """

    frozen_stages: int
    norm_policy: NormPolicy
    text: str


FRAMEWORK_DEFAULTS: Mapping[str, FrameworkDefault] = {
    "mmdet": FrameworkDefault(1, "eval", "mmdet's default: stem and stage 1 frozen, batch-norm statistics kept"),
    "mmseg": FrameworkDefault(-1, "train", "mmseg's default: nothing frozen, batch statistics"),
    "mmpretrain": FrameworkDefault(-1, "train", "mmpretrain's default: nothing frozen, batch statistics"),
    "detectron2": FrameworkDefault(1, "frozen_affine", "detectron2's default: stem and stage 1 frozen, FrozenBN"),
}
_LATE = {
    "mmdet": FrameworkDefault(-1, "eval", "mmdet's default for transformers and ConvNeXt: nothing frozen"),
    "detectron2": FrameworkDefault(-1, "eval", "transformers and ConvNeXt train whole, as in mmdet"),
}


def default_of(framework: str, backbone: Mapping[str, Any]) -> FrameworkDefault:
    """The framework's default for a backbone: mmdet freezes stem and stage 1 of networks with batch norm alone.

    Raises:
        UnknownName: no such framework.
    """
    if framework not in FRAMEWORK_DEFAULTS:
        raise unknown_name("framework", framework, place="rtx/transfer/modes.py", choices=FRAMEWORK_DEFAULTS)
    default = FRAMEWORK_DEFAULTS[framework]
    early = spec_of(backbone).freezes_early if is_ours(backbone) else backbone.get("type") != "SwinTransformer"
    return default if early else _LATE.get(framework, default)


def apply_transfer(
    backbone: Mapping[str, Any], mode: TransferMode, norm: NormPolicy | None, framework: str
) -> dict[str, Any]:
    """A backbone config with the freezing of a transfer mode.

    `fixed` freezes everything and keeps statistics. `full` is the framework's own default. `full_strict` freezes
    nothing and keeps the framework's batch-norm policy, as `blocks:k` does for its trainable part. `lpft:N` is `full`
    that begins after N epochs of the head alone.

    Args:
        backbone: config of one of rtx's backbones.
        mode: what trains.
        norm: batch-norm policy; None takes the mode's or framework's own.
        framework: key of `FRAMEWORK_DEFAULTS`.

    Raises:
        UnknownName: no such framework or policy, or not a backbone of rtx.
        BadValue: `lpft` for a framework whose trainer knows no hook of ours.
    """
    if mode.kind == "lpft" and framework == "detectron2":
        raise BadValue(
            f"transfer {mode}: detectron2's trainer has no such phase; train with mode full from a fixed run"
        )
    default = default_of(framework, backbone)
    spec_of(backbone)  # a stock backbone would silently ignore the norm policy
    frozen = {"fixed": 4, "full_strict": -1, "blocks": -1}.get(mode.kind, default.frozen_stages)
    policy = norm or ("eval" if mode.kind == "fixed" else default.norm_policy)
    check_norm_policy(policy)
    changed = dict(backbone)
    changed |= {"frozen_stages": frozen, "trainable_blocks": mode.blocks, "norm_policy": policy}
    # The word of stock ResNets for the same thing; a config inherited from upstream may still carry it.
    changed.pop("norm_eval", None)
    changed.pop("head_first_epochs", None)
    if mode.kind == "lpft":
        changed["head_first_epochs"] = mode.epochs
    text = default.text if mode.kind in ("full", "lpft") else f"frozen_stages={frozen}, trainable_blocks={mode.blocks}"
    log.info("transfer=%s in %s: %s; norm policy %s%s", mode, framework, text, policy, "" if norm else " (default)")
    return changed


def transfer_name(backbone: Mapping[str, Any], framework: str) -> str:
    """The transfer mode of a backbone config, read from the config itself so that manual changes count.

    Returns:
        "fixed", "full", "full_strict", "blocks:k" or "lpft:N"; "frozen_stages=n" where none of them fits.

    Example:
        >>> transfer_name({"frozen_stages": 4}, "mmdet"), transfer_name({"frozen_stages": 2}, "mmdet")
        ('fixed', 'frozen_stages=2')
    """
    frozen, blocks = backbone.get("frozen_stages", -1), backbone.get("trainable_blocks")
    if blocks is not None:
        return str(TransferMode("blocks", blocks))
    if backbone.get("head_first_epochs"):
        return str(TransferMode("lpft", epochs=backbone["head_first_epochs"]))
    if framework in FRAMEWORK_DEFAULTS and frozen == default_of(framework, backbone).frozen_stages:
        return "full"
    return {4: "fixed", -1: "full_strict"}.get(frozen, f"frozen_stages={frozen}")
