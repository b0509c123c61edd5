"""The command lines of a run, as one would type them in the root of the source tree."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from rtx.errors import BadValue
from rtx.experiments.classification import flag_words
from rtx.experiments.read import configs_folder
from rtx.experiments.record import ATTACKS, Experiment, PlannedRun

_COST = re.compile(r"^Cost:\s+(\d+) GPUs? x \d+ images(?:; about ([\d.]+) h)?", re.M)


def run_folder(experiment: Experiment, run: PlannedRun, seed: int, *, root: str = "work_dirs") -> str:
    """Where a run's config, log, checkpoints and scores go."""
    return f"{root}/{experiment.name}/{run.name}/seed{seed}"


def cost_of(config: str) -> tuple[int, float | None]:
    """What the `Cost:` line of a leaf's header says: GPUs, which its learning rate belongs to, and hours or None.

    Raises:
        BadValue: there is no such leaf, or its header has no such line.
    """
    found = _COST.search(header_of(config))
    if found is None:
        raise BadValue(
            f"configs/{config}: its header has no line 'Cost: N GPUs x M images'; add it, or give the number of GPUs"
        )
    return int(found.group(1)), float(found.group(2)) if found.group(2) else None


def header_of(config: str) -> str:
    """The docstring of a leaf, which is read once: an experiment can have ten thousand runs of one.

    Raises:
        BadValue: there is no such leaf.
    """
    return _header(config, os.getcwd())


@cache
def _header(config: str, place: str) -> str:
    path = configs_folder() / config
    if not path.is_file():
        raise BadValue(f"config {config!r} is not in {path.parent}")
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def train_command(
    experiment: Experiment,
    run: PlannedRun,
    seed: int,
    *,
    gpus: int | None = None,
    data_root: str | None = None,
    root: str = "work_dirs",
) -> list[str]:
    """The words of the training command.

    Args:
        experiment: the run's.
        run: what to train.
        seed: one of the run's.
        gpus: processes on this node; None for as many as the leaf is made for. With another number the command asks for
            a learning rate scaled to the batch.
        data_root: another data folder than the leaf's; of runs on targets, the folder of the targets' folders.
        root: folder of all run folders.
    """
    config = f"configs/{run.config}"
    usual, _ = cost_of(run.config)
    gpus = usual if gpus is None else gpus
    words = ["python", "tools/train.py", config] if gpus == 1 else ["tools/dist_train.sh", config, str(gpus)]
    words += ["--source", run.source]
    words += ["--transfer", run.transfer] if run.transfer else []
    words += ["--norm", run.norm] if run.norm else []
    words += ["--auto-scale-lr"] if gpus != usual else []
    words += ["--seed", str(seed), "--work-dir", run_folder(experiment, run, seed, root=root)]
    words += flag_words(run.flags)
    if data_root:
        words += ["--data-root", f"{data_root}/{run.flags['target']}" if run.flags else data_root]
    if run.options:
        words += ["--cfg-options", *(f"{key}={value}" for key, value in run.options.items())]
    return words


def own_head_command(
    experiment: Experiment, run: PlannedRun, seed: int, *, data_root: str | None = None, root: str = "work_dirs"
) -> list[str]:
    """The words of the command that tests the source's own classifier on `val` of a target in class folders."""
    data = f"{data_root or 'data'}/{run.flags['target']}/val"
    folder = run_folder(experiment, run, seed, root=root)
    if experiment.attack:
        words = ["python", "tools/attack_eval.py", "--source", run.source, "--data-root", data, "--out", folder]
        return words + attack_words(experiment.attack)
    return ["python", "tools/imagenet_c.py", "--clean", data, "--source", run.source, "--out", folder]


def evaluate_command(experiment: Experiment, run: PlannedRun, seed: int, *, root: str = "work_dirs") -> list[str]:
    """The words of the evaluation command; the run folder holds config and checkpoint, data folder included."""
    folder = run_folder(experiment, run, seed, root=root)
    if experiment.evaluation == ATTACKS:
        return ["python", "tools/attack_eval.py", folder, *attack_words(experiment.attack)]
    words = ["python", "tools/corrupt_eval.py", folder]
    return words if experiment.evaluation == "corruptions" else [*words, "--severities", "0"]


def attack_words(attack: Mapping[str, Any]) -> list[str]:
    """The flags of an attack as words.

    Example:
        >>> attack_words({"threat": "l2", "eps": ["3/32", "3/16"], "no_random_start": True})
        ['--threat', 'l2', '--eps', '3/32', '3/16', '--no-random-start']
    """
    words = []
    for name, value in attack.items():
        values = [] if value is True else value if isinstance(value, list | tuple) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words
