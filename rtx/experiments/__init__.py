"""Published experiments as data: the runs of a paper, what it printed for them, and the commands that repeat them."""

from __future__ import annotations

from rtx.experiments.commands import evaluate_command, own_head_command, run_folder, train_command
from rtx.experiments.numbers import published
from rtx.experiments.read import read, read_all
from rtx.experiments.record import Experiment, PlannedRun

__all__ = [
    "Experiment",
    "PlannedRun",
    "evaluate_command",
    "own_head_command",
    "published",
    "read",
    "read_all",
    "run_folder",
    "train_command",
]
