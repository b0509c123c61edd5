"""Trainings of classifiers on targets: what they are given, what they cost, and their scores by epoch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rtx.datasets.classification import MEAN_PER_CLASS, find_target
from rtx.errors import BadValue, unknown_name

FLAGS = (
    "target", "recipe", "images", "subset_rule", "subset", "caltech_split", "head_init", "normalise", "lr_drops",
    "image_size", "epochs", "lr", "view", "adversarial", "threat", "eps", "attack_steps",
)  # fmt: skip
"""What a run may give `rtx train` beside source and transfer, without dashes."""
EPOCH = "epoch."
"""Before an epoch's number in the name of a score."""
LEFT_BYTES = 1_000_000
"""Log, config, cell and intervals of a run whose weights are removed."""
_PACE = re.compile(r"about (\d+) min for (\d+) epochs on ([\d,]+) images")


def check_flags(flags: Mapping[str, Any]) -> None:
    """See that the flags of a run exist, and name a target that does.

    Raises:
        UnknownName: one does not.
        BadValue: flags without a target.
    """
    for name in flags:
        if name not in FLAGS:
            raise unknown_name("flag", name, place="rtx.experiments.classification.FLAGS", choices=FLAGS)
    if flags and "target" not in flags:
        raise BadValue(f"flags {dict(flags)} need a target")
    if flags:
        find_target(flags["target"])


def flag_words(flags: Mapping[str, Any]) -> list[str]:
    """The flags as words of a command; one that is True takes no value.

    Example:
        >>> flag_words({"target": "cifar10", "subset_rule": "utrera_code", "images": 400, "subset": True})
        ['--target', 'cifar10', '--subset-rule', 'utrera_code', '--images', '400', '--subset']
    """
    words = []
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def epochs_and_tests(flags: Mapping[str, Any]) -> tuple[int, int]:
    """Epochs of a training, and how often it is tested."""
    from rtx.transfer.recipes import find_recipe, schedule_of  # their room loads PyTorch, which a list does not need

    recipe = find_recipe(flags.get("recipe", "salman"))
    schedule = schedule_of(recipe, flags.get("images"), epochs=flags.get("epochs"))
    return schedule.epochs, -(-schedule.epochs // schedule.test_every)


def training_images(flags: Mapping[str, Any]) -> int | None:
    """Images times epochs of a training; None where the size of the target is not known."""
    images = flags.get("images") or find_target(flags["target"]).train
    return None if images is None else int(images) * epochs_and_tests(flags)[0]


def image_passes(flags: Mapping[str, Any], transfer: str | None) -> int | None:
    """Forward and backward passes of a training and its tests, counted once each; frozen features have no backward."""
    trained, row = training_images(flags), find_target(flags["target"])
    if trained is None or row.test is None:
        return None
    return trained * (1 if transfer in ("fixed", "blocks:0") else 2) + epochs_and_tests(flags)[1] * row.test


def gpu_hours(header: str, flags: Mapping[str, Any]) -> float | None:
    """Estimate by the pace in a leaf's header ("about N min for N epochs on N images"); None where it has none."""
    pace, trained = _pace(header), training_images(flags)
    return None if pace is None or trained is None else trained * pace


@cache
def _pace(header: str) -> float | None:
    """Hours for an image in training."""
    found = _PACE.search(" ".join(header.split()))
    if found is None:
        return None
    minutes, epochs, images = (int(part.replace(",", "")) for part in found.groups())
    return minutes / 60 / (epochs * images)


def validation_metric(target: str) -> str:
    """What mmpretrain's validation calls the metric of a target."""
    return "single-label/recall" if find_target(target).metric == MEAN_PER_CLASS else "accuracy/top1"


def scores_by_epoch(run: Path, metric: str) -> dict[str, float]:
    """`epoch.N` -> score as a fraction, of every validation in a run folder; of a repeated epoch the later one counts.

    Args:
        run: the folder that training wrote.
        metric: see `validation_metric`.
    """
    found: dict[int, float] = {}
    for path in sorted(run.glob("*/vis_data/scalars.json")):  # folders are named by time
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            if metric in row:
                found[int(row["step"])] = row[metric] / 100
    return {f"{EPOCH}{step}": round(found[step], 12) for step in sorted(found)}


def remove_weights(run: Path) -> None:
    """Remove the checkpoints of a run folder; configs, logs and scores stay."""
    from rtx.results.folder import LAST_CHECKPOINT  # its room loads NumPy, which a list does not need

    for path in [*run.glob("epoch_*.pth"), *run.glob("iter_*.pth"), *run.glob("best_*.pth")]:
        path.unlink()
    (run / LAST_CHECKPOINT).unlink(missing_ok=True)
