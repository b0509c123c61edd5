"""Run folders as training leaves them, but for the training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS, init_default_scope

from rtx import config as configs
from rtx.sources.catalog.archs import build_reference
from rtx.transfer.classify import TargetOptions, fit_to_source, with_target

ROOT = Path(__file__).resolve().parents[2]


def source_file(folder: Path) -> Path:
    """Weights of a ResNet-18 that no training has seen."""
    torch.manual_seed(7)
    network = build_reference("resnet18")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as far from its start as training takes it
            module.running_mean.normal_(0, 0.1)
            module.weight.data.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), folder / "source.pth")
    return folder / "source.pth"


def classifier_run(
    folder: Path, data: Path, source: Path, *, transfer: str = "fixed", change: Callable[[Any], None] | None = None
) -> Path:
    """A ResNet-18 on class folders at 32 pixels that began with a source; `change` is what training did to it."""
    cfg = configs.load(ROOT / "configs" / "classify_r50.py")
    cfg = configs.with_source(with_target(cfg, TargetOptions("folder", str(data), image_size=32)), f"resnet18:{source}")
    return written(folder, fit_to_source(configs.with_transfer(cfg, transfer)), change)


def written(folder: Path, cfg: Any, change: Callable[[Any], None] | None = None) -> Path:
    """The run folder of a config's model with its source's weights."""
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    beside = {"data_preprocessor": cfg.data_preprocessor} if cfg.default_scope == "mmpretrain" else {}
    model = MODELS.build({**beside, **cfg.model})
    if cfg.model.backbone.get("source") not in (None, "random"):
        model.backbone.init_weights()
    if change is not None:
        with torch.no_grad():
            change(model)
    folder.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    cfg.dump(str(folder / "config.py"))
    return folder
