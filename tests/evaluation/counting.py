"""A scorer small enough to be sent to another process in a moment; this module imports nothing heavy."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue
from rtx.metrics.per_image import PixelEvidence


class Counting:
    """A scorer whose score is the sum of what it was given."""

    headline = "sum"
    metrics = ("sum",)
    keep = False

    def __init__(self) -> None:
        self.truth = 10
        self.reset()

    def reset(self) -> None:
        self.seen: list[float] = []

    def process(self, data_samples: list[Any]) -> None:
        self.seen.extend(data_samples)

    def compute(self) -> dict[str, float]:
        if not self.seen:
            raise BadValue("nothing to score")
        logging.getLogger("rtx.counting").warning("a remark of the scorer")
        print("what a library prints")
        return {"sum": self.truth + sum(self.seen)}

    def flags(self) -> list[str]:
        return [f"process {'other' if os.environ.get('RAYON_NUM_THREADS') == '1' else 'own'}"]

    def evidence(self) -> PixelEvidence:
        return PixelEvidence(("a",), np.array([[0, 0, 1, 1, 1]]), 1)

    def predictions(self) -> tuple[str, bytes]:
        return ".npz", b"kept"


class Lambda(Counting):
    """Cannot be sent anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.odd = lambda: None


class Gated(Counting):
    """Waits for a file before it scores."""

    def __init__(self, gate: Path) -> None:
        super().__init__()
        self.gate = gate

    def compute(self) -> dict[str, float]:
        while not self.gate.exists():
            time.sleep(0.01)
        return super().compute()
