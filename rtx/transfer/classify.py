"""From a classifier's config to one that trains on a target by a paper's recipe: Config in, new Config out."""

from __future__ import annotations

import copy
import logging
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from rtx.datasets.classification import MEAN_PER_CLASS, Target, find_target
from rtx.datasets.label_subset import choose
from rtx.datasets.openmmlab.nodes import add_import
from rtx.datasets.openmmlab.target import classes_hash
from rtx.datasets.target_data import TargetData, caltech_split_of, open_splits
from rtx.errors import BadValue, unknown_name
from rtx.transfer.preprocessing import IMAGE_SIZE, pipelines, upstream_statistics
from rtx.transfer.recipes import Recipe, Schedule, find_recipe, schedule_of

log = logging.getLogger(__name__)

HEAD_INITS: dict[str, Any] = {
    # What PyTorch gives a linear layer, which is what Salman et al. replace the head by.
    "default": None,
    "utrera": dict(type="Normal", layer="Linear", mean=0.0, std=1.0, bias=0.0),
}
NORMALISE = ("imagenet", "upstream")


@dataclass(frozen=True)
class TargetOptions:
    """What a training on a classification target is asked to do; the command line has a flag for each.

    Attributes:
        target: a row of `rtx.datasets.classification`.
        data_root: its folder; `data/<target>` when None.
        recipe: a row of `rtx.transfer.recipes`.
        images: size of the training subset; None for all.
        seed: of the subset.
        subset_rule: see `rtx.datasets.label_subset.choose`.
        subset: the folder holds a part of the published set.
        caltech_split: see `rtx.datasets.target_data.caltech_split_of`.
        head_init: a key of `HEAD_INITS`.
        normalise: "imagenet", by the statistics that the source was trained with; or "upstream", see
            `rtx.transfer.preprocessing.upstream_statistics`.
        lr_drops: see `rtx.transfer.recipes.schedule_of`.
        image_size: side of what the network sees, in pixels.
        epochs, lr: others than the recipe's.
        hidden_layers: linear layers with ReLU in front of the last one, as wide as the features.
    """

    target: str
    data_root: str | None = None
    recipe: str = "salman"
    images: int | None = None
    seed: int = 0
    subset_rule: str = "stratified"
    subset: bool = False
    caltech_split: str = "first"
    head_init: str = "default"
    normalise: str = "imagenet"
    lr_drops: str = "paper"
    image_size: int = IMAGE_SIZE
    epochs: int | None = None
    lr: float | None = None
    hidden_layers: int = 0


def with_target(cfg: Config, options: TargetOptions) -> Config:
    """The config with a target's data, head, metric and schedule; backbone and source stay.

    The choices are kept in `rtx_target` of the new config, which goes into run.json and the protocol card.

    Args:
        cfg: an mmpretrain config with a linear head; it is not changed.
        options: what is asked for.

    Raises:
        UnknownName: no such target, recipe, rule or choice.
        BadValue: the config trains no classifier, or a number does not fit: more images than there are, fewer than
            classes, no epochs, a learning rate that is not positive, a negative number of layers.
        DataError: see `rtx.datasets.target_data.open_target`.
    """
    if cfg.get("default_scope") != "mmpretrain" or not (cfg.get("model") or {}).get("head"):
        raise BadValue(
            f"--target {options.target}: {cfg.filename or 'the config'} trains no classifier; give "
            "configs/classify_r50.py, or another mmpretrain config with a linear head"
        )
    for what, value, choices in (
        ("head init", options.head_init, HEAD_INITS),
        ("normalise", options.normalise, NORMALISE),
    ):
        if value not in choices:
            raise unknown_name(what, value, place="rtx/transfer/classify.py", choices=choices)
    row, recipe = find_target(options.target), find_recipe(options.recipe)
    schedule = schedule_of(recipe, options.images, epochs=options.epochs, lr_drops=options.lr_drops)
    lr = recipe.lr if options.lr is None else options.lr
    if options.hidden_layers < 0:
        raise BadValue(f"--hidden-layers {options.hidden_layers}: must be 0 or more")
    if not (math.isfinite(lr) and lr > 0):
        raise BadValue(f"--lr {lr}: must be more than 0")
    split_rule, split_seed = caltech_split_of(options.caltech_split)
    reading = {
        "target": row.name,
        "data_root": options.data_root or f"data/{row.name}",
        "subset": options.subset,
        "caltech_split": split_rule,
        "split_seed": split_seed,
    }
    train = _opened(reading)
    n_images, n_classes = len(train) if options.images is None else options.images, len(train.classes)
    if options.images is not None:
        chosen = choose(train.labels, options.images, options.seed, options.subset_rule)
        present = len(np.unique(train.labels[chosen]))
        log.info("%d of %d training images, %d of %d classes among them", n_images, len(train), present, n_classes)
    subset = {"images": options.images, "images_seed": options.seed, "images_rule": options.subset_rule}

    new: Config = copy.deepcopy(cfg)
    for name in ("train_pipeline", "test_pipeline", "dataset_type"):  # of the base's own data
        new.pop(name, None)
    for_training, for_tests = pipelines(recipe.preprocessing, row.name, options.image_size)
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        split = "train" if key == "train_dataloader" else "test"
        pipeline = for_training if split == "train" else for_tests
        own = subset if split == "train" else {"classes_sha256": classes_hash(train.classes)}
        node = {"type": "TargetDataset", **reading, "split": split, **own}
        new[key].dataset = ConfigDict({**node, "pipeline": copy.deepcopy(pipeline)})
        workers = min(new[key].get("num_workers", 0), len(os.sched_getaffinity(0)))
        new[key].update(batch_size=recipe.batch_size, num_workers=workers, persistent_workers=workers > 0)
    _set_training(new, recipe, schedule, lr, steps=math.ceil(n_images / recipe.batch_size))
    _set_head(new, row, n_classes, options)
    new.data_root = reading["data_root"]
    new.labels = {**new.get("labels", {}), "data": row.name, "schedule": recipe.name}
    new.rtx_target = {name: value for name, value in asdict(options).items() if name != "data_root"}
    record_training(new)
    add_import(new, "rtx.datasets.openmmlab.target")
    log.info(
        "target=%s: %d classes, recipe %s: %d images, %d epochs, lr %g falling after %s",
        row.name, n_classes, recipe.name, n_images, schedule.epochs, lr, ", ".join(map(str, schedule.drops)) or "none",
    )  # fmt: skip
    return new


def record_training(cfg: Config) -> None:
    """Bring `rtx_target` up to date, in place, with what the config trains by: other options may have changed it."""
    drops = [milestone for step in cfg.param_scheduler or [] for milestone in step.get("milestones", [])]
    cfg.rtx_target.update(
        epochs=cfg.train_cfg.max_epochs,
        lr=cfg.optim_wrapper.optimizer.lr,
        lr_drops_after=drops,
        batch_size=cfg.train_dataloader.batch_size,
    )


def fit_to_source(cfg: Config) -> Config:
    """The config with what its `rtx_target` asks of statistics and head widths; call it when the source is in place.

    Raises:
        BadValue: see `rtx.transfer.preprocessing.upstream_statistics`.
    """
    options, new = cfg.get("rtx_target") or {}, copy.deepcopy(cfg)
    if options.get("hidden_layers"):
        new.model.head.mid_channels = [new.model.head.in_channels] * options["hidden_layers"]
    if options.get("normalise") == "upstream":
        preprocessing = find_recipe(options["recipe"]).preprocessing
        found = upstream_statistics(preprocessing, options["target"], new.model.backbone.get("source"))
        if found:
            new.data_preprocessor.update(mean=found[0], std=found[1], to_rgb=True)
            log.info("pixels are normalised as upstream: mean %s, std %s", *found)
    return new


def _opened(reading: dict[str, Any]) -> TargetData:
    """The training set, once both splits are known to be there with the same classes."""
    options = {name: value for name, value in reading.items() if name not in ("target", "data_root")}
    return open_splits(reading["target"], Path(reading["data_root"]), **options)[0]


def _set_training(cfg: Config, recipe: Recipe, schedule: Schedule, lr: float, *, steps: int) -> None:
    optimizer = dict(type="SGD", lr=lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    cfg.optim_wrapper = ConfigDict(type="OptimWrapper", optimizer=optimizer)
    drops = dict(type="MultiStepLR", by_epoch=True, milestones=list(schedule.drops), gamma=0.1)
    cfg.param_scheduler = [drops] if schedule.drops else []
    cfg.train_cfg = ConfigDict(by_epoch=True, max_epochs=schedule.epochs, val_interval=schedule.test_every)
    cfg.auto_scale_lr = ConfigDict(enable=False, base_batch_size=recipe.batch_size)
    hooks = cfg.default_hooks
    hooks.checkpoint.update(interval=schedule.test_every, max_keep_ckpts=1)
    hooks.logger.update(interval=min(hooks.logger.get("interval", 100), steps))


def _set_head(cfg: Config, row: Target, n_classes: int, options: TargetOptions) -> None:
    """As many outputs as the data have classes, and the metric of the row."""
    topk = (1, 5) if n_classes >= 5 else (1,)
    init = copy.deepcopy(HEAD_INITS[options.head_init])
    cfg.model.head.update(num_classes=n_classes, topk=topk, init_cfg=init)
    if options.hidden_layers:
        cfg.model.head.update(type="StackedLinearClsHead", mid_channels=[])  # their width is the source's
    cfg.data_preprocessor.num_classes = n_classes
    top: dict[str, Any] = dict(type="Accuracy", topk=topk)
    mean = dict(type="SingleLabelMetric", items=("recall",), average="macro")
    by_class = row.metric == MEAN_PER_CLASS
    cfg.val_evaluator, cfg.test_evaluator = [top, mean], ConfigDict(mean if by_class else top)
