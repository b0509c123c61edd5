"""What is written about a cell, from a scorer that has seen its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.errors import BadValue
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.sweep.scoring import ScoredCell, score
from rtx.metrics.per_image import PixelEvidence
from rtx.results import arrays
from rtx.types import Condition
from tests.evaluation.stand_in import PixelDetector, coco_config

FOG = Condition("fog", 1)


class Counting:
    """A scorer whose score is the sum of what it was given."""

    headline = "mIoU"

    def __init__(self, *seen: float) -> None:
        self.seen = seen

    def compute(self) -> dict[str, float]:
        if not self.seen:
            raise BadValue("nothing to score")
        return {"mIoU": sum(self.seen)}

    def flags(self) -> list[str]:
        return ["a remark"]

    def evidence(self) -> PixelEvidence:
        return PixelEvidence(("a", "b"), np.array([[0, 0, 1, 1, 1], [1, 0, 1, 1, 1]]), 1)

    def predictions(self) -> tuple[str, bytes]:
        return ".npz", b"kept"


def scored(scorer: Any, **options: Any) -> ScoredCell:
    card = {"limit": options.pop("limit", None)}
    return score(scorer, FOG, 2, card, key="key", timing={"seconds": 1.0}, **options)


def test_a_scored_cell_holds_all_that_is_written(tmp_path: Path) -> None:
    found = scored(Counting(0.25, 0.5))
    assert (found.cell.condition, found.cell.metrics, found.cell.n_images) == (FOG, {"mIoU": 0.75}, 2)
    assert found.cell.flags == ("a remark",)
    assert found.cell.timing["seconds"] == 1.0 and found.cell.timing["scoring_seconds"] >= 0
    path = tmp_path / "fog_1.npz"
    path.write_bytes(found.evidence)
    assert arrays.load(path, key="key").rows.shape == (2, 5)
    assert (found.predictions, found.ends) == (None, None)


def test_predictions_are_asked_for_only_where_they_are_kept() -> None:
    assert scored(Counting(1.0), keep=True).predictions == (".npz", b"kept")


def test_only_a_preview_has_an_interval_at_once() -> None:
    ends = scored(Counting(1.0), limit=2).ends
    assert ends is not None and ends[0] <= ends[1]


def test_an_error_of_the_scorer_is_raised_as_it_is(made_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"^nothing to score$"):
        scored(Counting())

    class Strange(PixelDetector):
        def test_step(self, batch: dict[str, Any]) -> Any:
            samples = super().test_step(batch)
            for sample in samples:
                sample.set_metainfo({"img_id": 1})
            return samples

    with pytest.raises(BadValue, match=r"^image .* was scored twice"):
        evaluate(Strange(), coco_config(made_coco), tmp_path, corruptions=["fog"], workers=0)
    assert not list((tmp_path / "cells").glob("*")) and not list(tmp_path.glob(".*"))
