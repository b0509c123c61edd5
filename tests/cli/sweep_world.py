"""A whole evaluation as a person starts it, over made images and a model that needs no weights."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS

from tests.evaluation.stand_in import PixelDetector, coco_config

PROJECT = Path(__file__).resolve().parents[2]


@MODELS.register_module()
class SlowPixelDetector(PixelDetector):
    """Takes its time, so that a test can look and interfere.

    Args:
        delay: seconds for each batch; more where `MADE_MODEL_DELAY` says so, which is no part of the protocol.
    """

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        self.delay = delay

    def test_step(self, batch: dict[str, Any]) -> Any:
        time.sleep(max(self.delay, float(os.environ.get("MADE_MODEL_DELAY", 0))))
        return super().test_step(batch)


def write_world(root: Path, data: Path, *, delay: float = 0.0) -> tuple[Path, Path]:
    """Write a config and a checkpoint that `rtx corrupt_eval` takes.

    Args:
        root: folder to write in.
        data: a made COCO data set.
        delay: seconds that the model takes for each batch.

    Returns:
        The config file and the checkpoint file.
    """
    cfg = coco_config(data)
    cfg.model = dict(type="SlowPixelDetector", delay=delay)
    cfg.custom_imports = dict(imports=["tests.cli.sweep_world"], allow_failed_imports=False)
    root.mkdir(parents=True, exist_ok=True)
    config, checkpoint = root / "made.py", root / "made.pth"
    cfg.dump(str(config))
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "meta": {}}, checkpoint)
    return config, checkpoint


def environment(**more: str) -> dict[str, str]:
    """Environment variables for a process of ours."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLUMNS", "LINES")}
    return {**kept, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "TERM": "xterm", **more}
