"""A finished folder is summarised as a whole: what was asked last, or what lies about in it, takes nothing away."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rtx.evaluation.models.adapters import Classifier
from rtx.evaluation.pixels.stored import Stored
from rtx.evaluation.pixels.stored_files import find_stored
from rtx.reports.runs.runs import load_run

pytest.importorskip("mmdet")

from rtx.evaluation.evaluate import evaluate as evaluate_model
from tests.evaluation.stand_in import PixelDetector, coco_config

QUICK: dict[str, Any] = {"workers": 0}


def evaluate(root: Path, out: Path, corruptions: list[str], severities: list[int], **options: Any) -> dict[str, Any]:
    options = {"resamples": 20, **QUICK, **options}
    return evaluate_model(
        PixelDetector(), coco_config(root), out, corruptions=corruptions, severities=severities, **options
    )


def test_asking_for_less_keeps_the_summary_of_all(made_coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = evaluate(made_coco, out, ["contrast", "fog"], [1, 2], keep_predictions=True)
    files = ("summary.json", "table.md", "cells.csv", "by_class.json", "confidence.json", "examples/index.json")
    before = {name: (out / name).read_text() for name in files}
    again = evaluate(made_coco, out, ["fog"], [1], keep_predictions=True)
    assert again == whole and again["label"] == "mPC(2/15 corruptions, severities 1,2)"
    for name in files[:3]:
        assert (out / name).read_text() == before[name], name
    assert set(json.loads((out / "by_class.json").read_text())["cells"]) == set(whole["cells"])
    assert json.loads((out / "confidence.json").read_text())["mPC"] == json.loads(before["confidence.json"])["mPC"]
    pictures = json.loads((out / "examples/index.json").read_text())["images"][0]["conditions"]
    assert set(pictures) == set(whole["cells"])
    more = evaluate(made_coco, out, ["contrast"], [3])
    assert set(more["cells"]) == {*whole["cells"], "contrast_3"}
    replaced = evaluate(made_coco, out, ["fog"], [1], overwrite=True)
    assert set(replaced["cells"]) == {"clean", "fog_1"}


@pytest.mark.parametrize("resamples", [0, 20])
def test_files_that_are_no_cells_and_damaged_ones_stop_nothing(
    made_coco: Path, tmp_path: Path, resamples: int, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    evaluate(made_coco, out, ["fog"], [1, 2], resamples=resamples)
    for name in ("._clean.json", "fog_9.json", "fogg_1.json", "notes.json"):
        (out / "cells" / name).write_text("x")
    (out / "cells/fog_2.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        summary = evaluate(made_coco, out, ["fog"], [1], resamples=resamples)
    assert set(summary["cells"]) == {"clean", "fog_1"} and summary["P"] is not None
    for name in ("._clean.json", "fog_9.json", "fogg_1.json", "notes.json", "fog_2.json"):
        assert f"cells/{name}" in caplog.text
    assert set(evaluate(made_coco, out, ["fog"], [2])["cells"]) == {"clean", "fog_1", "fog_2"}
    assert {c.key for c in load_run(out).cells} == {"clean", "fog_1", "fog_2"}


class First(nn.Module):
    """Says the first class."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0]]).repeat(len(images), 1) + 0 * self.weight


def test_stored_images_too(tmp_path: Path) -> None:
    for level in (1, 2):
        for name in ("cat", "dog"):
            folder = tmp_path / "c/fog" / str(level) / name
            folder.mkdir(parents=True)
            cv2.imwrite(
                str(folder / "0.png"), np.random.default_rng(0).integers(0, 255, (224, 224, 3)).astype(np.uint8)
            )
    out = tmp_path / "out"

    def score(*severities: int) -> dict[str, Any]:
        model = Classifier(First(), ["cat", "dog"], inputs="tensor")
        options = {"corruptions": ["fog"], "severities": severities, "resamples": 0, **QUICK}
        return evaluate_model(model, tmp_path / "c/fog/1", out, pixels=Stored(find_stored(tmp_path / "c")), **options)

    whole = score(1, 2)
    cell = out / "cells/fog_1.json"
    cell.write_text(cell.read_text().replace('"n_images": 2', '"n_images": 3'))
    assert score(1, 2) == whole  # evaluated again, as a sweep does
    assert cell.with_name("fog_1.json.damaged").exists()
    errors = json.loads((out / "imagenet_c.json").read_text())
    assert score(2) == whole and json.loads((out / "imagenet_c.json").read_text()) == errors
