"""A model scored while it runs and its kept predictions scored afterwards: one card and the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")
pytest.importorskip("mmseg")
pytest.importorskip("mmpretrain")

from mmengine.registry import init_default_scope  # noqa: E402
from mmpretrain.registry import MODELS  # noqa: E402

from rtx.cli.main import main  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.adapters import Detector, Segmenter  # noqa: E402
from rtx.results.evaluation import Evaluation  # noqa: E402
from rtx.results.folder import CellFolder  # noqa: E402
from rtx.results.predictions import read_detections  # noqa: E402
from tests.evaluation.class_folders import class_config, make_folders, train  # noqa: E402
from tests.evaluation.models.plain_functions import by_colour, nearest_colour  # noqa: E402
from tests.evaluation.stand_in import PixelDetector, coco_config  # noqa: E402
from tests.makers import ADE_NAMES, VOC_NAMES, make_ade, make_coco, make_voc  # noqa: E402

FEW: dict[str, Any] = dict(corruptions=["pixelate"], severities=[2], workers=0, resamples=0, keep_predictions=True)


def coco(root: Path, out: Path) -> list[str]:
    data = make_coco(root, splits={"train2017": 1, "val2017": 4})
    evaluate(PixelDetector(), coco_config(data), out, limit=3, **FEW)
    return ["--coco", str(data / "annotations/instances_val2017.json")]


def voc(root: Path, out: Path) -> list[str]:
    data = make_voc(root)
    evaluate(Detector(by_colour, VOC_NAMES, name="a"), data, out, classes=VOC_NAMES, **FEW)
    _, classes = read_detections(out / "predictions/clean.npz")
    return ["--voc", str(data), "--classes", *map(str, classes)]


def miou(root: Path, out: Path) -> list[str]:
    data = make_ade(root)
    evaluate(Segmenter(nearest_colour, ADE_NAMES, name="a"), data, out, **FEW)
    return ["--labels", str(data / "annotations/validation"), "--n-classes", "4", "--reduce-zero-label"]


def accuracy(root: Path, out: Path) -> list[str]:
    data = make_folders(root)
    cfg = class_config(data)
    init_default_scope("mmpretrain")
    model = MODELS.build({"data_preprocessor": cfg.data_preprocessor, **cfg.model})
    train(model, steps=1)
    evaluate(model, cfg, out, **FEW)
    return ["--class-folders", str(data)]


@pytest.mark.parametrize("live", [coco, voc, miou, accuracy], ids=lambda f: f.__name__)
def test_live_and_offline_have_one_card_and_the_same_numbers(
    live: Callable[[Path, Path], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran, scored, other = tmp_path / "ran", tmp_path / "scored", tmp_path / "other"
    truth = live(tmp_path / "data", ran)
    command = ["score", str(ran / "predictions"), *truth, "--resamples", "0", "--out"]
    assert main([*command, str(scored)]) == 0
    mine, theirs = Evaluation.read(ran), Evaluation.read(scored)
    assert theirs.card == mine.card, "the whole card"
    assert len(mine.card["images_sha256"]) == 64 != mine.card["data_sha256"]
    assert len(mine.cells) == 2
    for condition, cell in mine.cells.items():
        again = theirs.cells[condition]
        assert str(again.metrics) == str({name: cell.metrics[name] for name in again.metrics}), "to the last bit"
        assert again.metrics.keys() == cell.metrics.keys()
        assert (again.flags, again.n_images) == (cell.flags, cell.n_images)
        assert again.diagnosis == cell.diagnosis and cell.diagnosis["calibration"], "error types and calibration"
        names = [root / "cells" / f"{condition.key}.npz" for root in (ran, scored)]
        assert names[0].read_bytes() == names[1].read_bytes(), "the evidence"
    # Predictions whose evaluation is not known are other predictions: nothing says how their pixels were made.
    (ran / "predictions").rename(tmp_path / "predictions")
    assert main(["score", str(tmp_path / "predictions"), *truth, "--resamples", "0", "--out", str(other)]) == 0
    card = Evaluation.read(other).card
    assert card["data_sha256"] == mine.card["data_sha256"]
    assert card["images_sha256"] == card["weights_sha256"] == "unstated" and card["predictions_sha256"]


def test_scoring_adds_error_types_to_an_evaluation_of_an_earlier_version(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    truth = coco(tmp_path / "data", ran)
    made = Evaluation.read(ran)
    folder = CellFolder.there(ran)
    for cell in made.cells.values():
        folder.write(replace(cell, diagnosis={}))
    old = Evaluation.read(ran)
    assert not any(cell.diagnosis for cell in old.cells.values())
    assert main(["score", str(ran / "predictions"), *truth, "--resamples", "0", "--out", str(ran)]) == 0
    again = Evaluation.read(ran)
    assert again.key == old.key and {c: cell.diagnosis for c, cell in again.cells.items()} == {
        c: cell.diagnosis for c, cell in made.cells.items()
    }
    assert [cell.timing for cell in again.cells.values()] == [cell.timing for cell in made.cells.values()]
    assert json.loads((ran / "summary.json").read_text())["errors"]["bbox"]["clean"]["AP50"] is not None


def test_scoring_keeps_confidences_that_only_the_sweep_could_know(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    truth = miou(tmp_path / "data", ran)
    folder, known = CellFolder.there(ran), {"calibration": {"pixels": {"ECE": 0.1, "gap": 0.1, "n": 3}}}
    for cell in Evaluation.read(ran).cells.values():
        folder.write(replace(cell, diagnosis=known))
    assert main(["score", str(ran / "predictions"), *truth, "--resamples", "0", "--out", str(ran)]) == 0
    assert all(cell.diagnosis == known for cell in Evaluation.read(ran).cells.values())


def test_the_exported_set_must_not_contradict_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_coco(tmp_path / "data", splits={"train2017": 1, "val2017": 2})
    evaluate(PixelDetector(), coco_config(data), tmp_path / "ran", **FEW)
    export = ["corrupt", str(data), "--corruptions", "pixelate", "--severities", "2", "--lossless", "--out"]
    for seed in ("0", "3"):
        assert main([*export, str(tmp_path / seed), "--seed", seed]) == 0
    command = ["score", str(tmp_path / "ran/predictions"), "--coco", str(data / "annotations/instances_val2017.json")]
    command += ["--resamples", "0", "--out", str(tmp_path / "scored"), "--exported"]
    assert main([*command, str(tmp_path / "3")]) == 2
    assert "corruption_seed is 3 in the exported set, and 0 in" in capsys.readouterr().err
    assert not (tmp_path / "scored").exists()
    assert main([*command, str(tmp_path / "0")]) == 0
    ran, scored = (json.loads((tmp_path / name / "protocol.json").read_text()) for name in ("ran", "scored"))
    assert scored == ran
