"""A unit that is a command of rtx's: a whole training or evaluation in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.errors import RtxError
from rtx.experiments.classification import remove_weights, scores_by_epoch
from rtx.files import read_json

_TAIL = 40


class CommandFailed(RtxError):
    """A command ended with another exit status than 0."""


def work(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Run the command, which goes on where an earlier one stopped.

    Args:
        settings: `words`; `resume`, a file whose presence means that a training had begun; `summary`, the file with the
            scores afterwards. Of a training on a target: `run`, its folder; `epochs_of`, a metric whose score after
            each epoch is taken too; `keep_weights`, False to remove the checkpoints in the end.
        device: the command takes the GPUs that its worker sees.

    Raises:
        CommandFailed: exit status other than 0; the first line has the last one of its output, which names the error;
            below it the command and the lines before.
    """
    words = list(settings["words"])
    if settings.get("resume") and Path(settings["resume"]).is_file():
        words.append("--resume")
    # The interpreter that runs this, whatever is called python here: an environment need not be active.
    begin = [sys.executable] if words[0] == "python" else words[:1]
    done = subprocess.run(
        [*begin, *words[1:]],
        env={**os.environ, "PYTHON": sys.executable},  # which dist_train.sh takes
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        tail = done.stdout.splitlines()[-_TAIL:]
        last = next((f": {line.strip()}" for line in reversed(tail) if line.strip()), "")
        raise CommandFailed("\n".join([f"exit status {done.returncode}{last}", " ".join(words), *tail]))
    if "summary" not in settings:
        return {}
    summary = read_json(Path(settings["summary"]))
    found = {name: summary[name] for name in ("P", "mPC", "rPC") if isinstance(summary.get(name), int | float)}
    headline = summary.get("headline") or summary.get("metric")
    for key, metrics in summary.get("cells", {}).items():
        value = metrics.get(headline) if isinstance(metrics, Mapping) else metrics
        if isinstance(value, int | float):
            found[f"cell.{key}"] = value
    found |= {f"cell.{key}": value for key, value in (summary.get("attacks") or {}).items() if value is not None}
    if "epochs_of" in settings:
        found |= scores_by_epoch(Path(settings["run"]), settings["epochs_of"])
    if not settings.get("keep_weights", True):
        remove_weights(Path(settings["run"]))
    return found
