"""Sources as units of an experiment: kind = "rtx.experiments.sources:train"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.errors import BadValue
from rtx.experiments.command import work
from rtx.results.folder import LAST_CHECKPOINT

FLAGS = (
    "target", "subset", "arch", "from", "recipe", "threat", "eps", "attack_steps", "attack_step", "random_start",
    "replays", "epochs", "lr", "batch_size", "images", "image_size", "seed", "robust_images", "robust_steps", "config",
)  # fmt: skip
"""Settings that are flags of `rtx train_source`, without dashes."""
_OTHERS = ("data_root", "work_dir")
FILE = "source.pth"


def train(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Train a source by `rtx train_source` in `work_dir`, whose `source.pth` other experiments name.

    Args:
        settings: `data_root`, `work_dir`, and flags of `FLAGS`.
        device: see `rtx.experiments.command.work`.

    Returns:
        `source`, the file; `clean` and the robust accuracies, fractions.

    Raises:
        BadValue: a setting that does not exist, or none of the two above.
        CommandFailed: see there.
    """
    import torch

    from rtx.sources.reading.read import read_checkpoint

    if wrong := sorted(set(settings) - {*FLAGS, *_OTHERS}):
        raise BadValue(f"rtx.experiments.sources:train: no setting {wrong[0]!r}; there are {', '.join(FLAGS)}")
    if lacking := [name for name in _OTHERS if name not in settings]:
        raise BadValue(f"rtx.experiments.sources:train: setting {lacking[0]} is missing")
    out = Path(settings["work_dir"])
    words = ["python", "tools/train_source.py", "--data", settings["data_root"], "--work-dir", str(out)]
    for name in FLAGS:
        value = settings.get(name)
        if value not in (None, False):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    work({"words": words, "resume": str(out / LAST_CHECKPOINT)}, device)
    scores = read_checkpoint(out / FILE)["meta"]["scores"]
    found = {k: float(v) for k, v in scores.items() if isinstance(v, int | float | torch.Tensor) and k != "images"}
    return {"source": str(out / FILE), **found}
