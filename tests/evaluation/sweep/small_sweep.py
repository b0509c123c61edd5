"""A sweep of three cells, and what watches its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rtx.evaluation.evaluate import evaluate as evaluate_model
from rtx.evaluation.sweep.events import CellStarted, Event
from tests.evaluation.stand_in import PixelDetector, coco_config

FEW = dict(corruptions=["gaussian_noise", "fog"], severities=[2], workers=0)


KEYS = ["clean", "gaussian_noise_2", "fog_2"]


def evaluate(root: Path, out: Path, model: PixelDetector | None = None, **options: Any) -> dict[str, Any]:
    return evaluate_model(model or PixelDetector(), coco_config(root), out, **{**FEW, "resamples": 20, **options})


class Watch:
    """Keeps the events of a sweep."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def started(self) -> list[str]:
        return [event.condition.key for event in self.events if isinstance(event, CellStarted)]
