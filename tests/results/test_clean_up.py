"""An output folder belongs to one run: nothing of the one that was overwritten stays beside the new cells."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmdet")

from rtx.errors import BadValue
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.offline.score import score_predictions
from rtx.evaluation.offline.truth import CocoFile
from rtx.results.examples import read_examples
from rtx.results.folder import REMOVED_FIRST, remove_results
from tests.evaluation.stand_in import PixelDetector, coco_config

FEW: dict[str, Any] = dict(corruptions=["contrast"], severities=[1], limit=3, workers=0, resamples=20)


def other() -> PixelDetector:
    model = PixelDetector(silent=True)
    model.weight.data += 1
    return model


def files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def test_nothing_of_the_overwritten_run_stays_even_if_the_new_one_dies(made_coco: Path, tmp_path: Path) -> None:
    class Died(Exception):
        pass

    def dies(*_: Any) -> None:
        raise Died

    evaluate(PixelDetector(), coco_config(made_coco), tmp_path, keep_predictions=True, **FEW)
    assert {"summary.json", "predictions/clean.npz", "examples/index.json", "by_class.json"} <= files(tmp_path)
    for name in ("notes.md", "examples/mine.txt", "predictions/mine.json"):
        (tmp_path / name).write_text("a person's own file")
    with pytest.raises(Died):
        evaluate(other(), coco_config(made_coco), tmp_path, overwrite=True, on_cell=dies, **FEW)
    assert files(tmp_path) == {
        *("protocol.json", "cells/clean.json", "cells/clean.npz"),
        *("notes.md", "examples/mine.txt", "predictions/mine.json"),
    }


def test_predictions_that_are_scored_where_they_lie_are_spared(made_coco: Path, tmp_path: Path) -> None:
    options = {**FEW, "limit": None}
    evaluate(PixelDetector(), coco_config(made_coco), tmp_path, keep_predictions=True, **options)
    kept = sorted((tmp_path / "predictions").iterdir())
    truth = CocoFile(made_coco / "annotations/instances_val2017.json")
    score_predictions(tmp_path / "predictions", truth, tmp_path, overwrite=True)
    assert sorted((tmp_path / "predictions").iterdir()) == kept
    score_predictions(tmp_path / "predictions", truth, tmp_path / "elsewhere", overwrite=True)
    assert sorted((tmp_path / "predictions").iterdir()) == kept


def test_every_file_at_the_top_is_known_to_what_overwrites(made_coco: Path, tmp_path: Path) -> None:
    evaluate(PixelDetector(), coco_config(made_coco), tmp_path, **FEW)
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} - {"protocol.json"} <= set(REMOVED_FIRST)
    remove_results(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} <= {"protocol.json"}


def test_examples_of_another_protocol_are_left_out_and_old_ones_without_a_key_are_read(
    made_coco: Path, tmp_path: Path
) -> None:
    evaluate(PixelDetector(), coco_config(made_coco), tmp_path, keep_predictions=True, **FEW)
    card = json.loads((tmp_path / "protocol.json").read_text())
    assert read_examples(tmp_path, card) is not None
    assert read_examples(tmp_path, {**card, "weights_sha256": "another"}) is None
    index = tmp_path / "examples/index.json"
    table = json.loads(index.read_text())
    del table["key"]
    index.write_text(json.dumps(table))
    assert read_examples(tmp_path, {**card, "weights_sha256": "another"}) is not None
    index.write_text("{}")
    with pytest.raises(BadValue, match="not an index of examples"):
        read_examples(tmp_path, card)


def test_predictions_that_can_no_longer_be_kept_are_said(
    made_coco: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(PixelDetector(), coco_config(made_coco), tmp_path, **FEW)
    with caplog.at_level(logging.WARNING):
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path, keep_predictions=True, **FEW)
    assert "2 finished cells have no predictions, e.g. clean" in caplog.text and "--overwrite" in caplog.text
    caplog.clear()
    again = {**FEW, "keep_predictions": True}
    evaluate(PixelDetector(), coco_config(made_coco), tmp_path, overwrite=True, **again)
    evaluate(PixelDetector(), coco_config(made_coco), tmp_path, **again)
    assert "no predictions, e.g." not in caplog.text
