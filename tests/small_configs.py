"""A shipped config, made small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SMALL = (128, 96)


def shrink(node: Any) -> None:
    """Make images small, wherever a pipeline has a size."""
    if isinstance(node, dict):
        kind = node.get("type")
        if kind in ("Resize", "RandomResize"):
            node["scale"] = SMALL
        if kind == "RandomChoiceResize":
            node["scales"] = [SMALL]
        if kind == "RandomCrop":
            node["crop_size"] = (64, 64)
        for value in node.values():
            shrink(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            shrink(value)


def small_config(name: str, data: Path) -> Any:
    """A leaf of `configs/` over a made data set, from random weights."""
    from rtx.config import load, with_source
    from rtx.datasets.openmmlab.with_data import with_data
    from rtx.transfer.classify import TargetOptions, with_target

    cfg = load(CONFIGS / name)
    if cfg.default_scope == "mmpretrain":
        return with_source(with_target(cfg, TargetOptions("folder", str(data), image_size=32)), "random")
    cfg = with_data(cfg, data)
    cfg = with_source(cfg, "random")
    shrink(cfg._cfg_dict)
    if cfg.default_scope == "mmdet":
        cfg.model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=50)
        cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=50)
        cfg.model.test_cfg.rcnn.max_per_img = 10
    if cfg.default_scope == "mmseg":
        cfg.model.data_preprocessor.size = (64, 64)
    return cfg
