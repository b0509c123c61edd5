"""How big the demo is, and the shipped Mask R-CNN config shrunk to that size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rtx
from rtx.errors import BadValue
from rtx.types import SEVERITIES

if TYPE_CHECKING:
    from mmengine.config import Config

LEAF = "maskrcnn_r50_coco.py"
MODES = ("fixed", "full")


@dataclass(frozen=True)
class DemoSettings:
    """The amounts that decide how long the demo takes.

    Attributes:
        name: "full" or "preview".
        train_scenes: scenes to train the detectors on.
        val_scenes: scenes to evaluate them on.
        crops: single objects to train the source classifier on.
        epochs: how often it sees each.
        iterations: training steps of a detector.
        batch_size: scenes a step.
        corruptions: names and groups.
        severities: 1 to 5.
    """

    name: str
    train_scenes: int
    val_scenes: int
    crops: int
    epochs: int
    iterations: int
    batch_size: int
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]


FULL = DemoSettings("full", 400, 24, 3072, 3, 150, 4, ("benchmark",), SEVERITIES)
PREVIEW = DemoSettings("preview", 48, 6, 640, 2, 15, 4, ("gaussian_noise", "defocus_blur"), (1, 3, 5))


def leaf_path() -> Path:
    """The shipped config that the demo shrinks.

    Raises:
        BadValue: the project's `configs` folder is neither here nor beside the package.
    """
    places = [Path("configs"), Path(rtx.__file__).resolve().parents[1] / "configs"]
    for place in places:
        if (place / LEAF).is_file():
            return place / LEAF
    raise BadValue(
        f"config {LEAF!r} not found in {' or '.join(str(p.absolute()) for p in places)}; "
        "run the demo in the project folder (`make demo`)"
    )


def demo_config(plan: DemoSettings, mode: str, *, source: str, data_root: Path, work_dir: Path, seed: int) -> Config:
    """The shipped Mask R-CNN leaf with the demo's source, transfer and data, and with everything made small.

    Args:
        plan: the amounts.
        mode: transfer mode.
        source: as `--source` takes it.
        data_root: the scenes in COCO layout.
        work_dir: the run folder.
        seed: of initial weights and data order.
    """
    from rtx import config as configs
    from rtx.datasets.openmmlab.with_data import with_data

    cfg = configs.load(leaf_path())
    cfg = configs.with_source(cfg, source)
    cfg = configs.with_transfer(cfg, mode)
    cfg = with_data(cfg, data_root.resolve())
    _shrink_model(cfg)
    _shrink_data(cfg, plan)
    _shorten(cfg, plan)
    cfg.work_dir = str(work_dir)
    cfg.randomness = dict(seed=seed)
    return cfg


def _shrink_model(cfg: Config) -> None:
    """A quarter of the channels, two mask convolutions and few proposals: for objects of 26 to 50 pixels."""
    width = 64
    model = cfg.model
    model.neck.out_channels = width
    model.rpn_head.update(in_channels=width, feat_channels=width)
    # Anchors of 32 and 45 pixels on the finest level; upstream's single scale leaves a gap where our objects are.
    model.rpn_head.anchor_generator.scales = [8, 11.3]
    model.roi_head.bbox_roi_extractor.out_channels = width
    model.roi_head.mask_roi_extractor.out_channels = width
    model.roi_head.bbox_head.update(in_channels=width, fc_out_channels=256)
    model.roi_head.mask_head.update(in_channels=width, conv_out_channels=width, num_convs=2)
    model.train_cfg.rpn.sampler.num = 64
    model.train_cfg.rpn_proposal.update(nms_pre=300, max_per_img=100)
    model.train_cfg.rcnn.sampler.num = 64
    model.test_cfg.rpn.update(nms_pre=200, max_per_img=50)
    model.test_cfg.rcnn.max_per_img = 20


def _shrink_data(cfg: Config, plan: DemoSettings) -> None:
    """Scenes at their own size, as many a step as the plan says."""
    from rtx.demo.scenes import SIZE

    height, width = SIZE
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        for step in loader.dataset.pipeline:
            if step.type == "Resize":
                step.scale = (width, height)
    cfg.train_dataloader.update(
        batch_size=plan.batch_size,
        num_workers=1,
        persistent_workers=True,
        sampler=dict(type="InfiniteSampler", shuffle=True),
        batch_sampler=None,
    )


def _shorten(cfg: Config, plan: DemoSettings) -> None:
    """A few hundred steps with AdamW instead of 90,000 with SGD, whose warm-up alone is longer."""
    rate, warm_up = 1e-3, min(30, plan.iterations // 2)
    cfg.optim_wrapper = dict(
        type="OptimWrapper",
        optimizer=dict(type="AdamW", lr=rate, weight_decay=1e-3),
        clip_grad=dict(max_norm=10),
        # Where the backbone trains, it starts from features worth keeping; the heads start from nothing.
        paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))),
    )
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=warm_up),
        dict(type="CosineAnnealingLR", by_epoch=False, begin=warm_up, end=plan.iterations, eta_min=rate / 50),
    ]
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=plan.iterations, val_interval=plan.iterations + 1)
    # The sweep scores the clean images too, so there is nothing to validate.
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = dict(
        type="CheckpointHook", by_epoch=False, interval=plan.iterations, save_optimizer=False, max_keep_ckpts=1
    )
    cfg.default_hooks.logger.interval = 10
