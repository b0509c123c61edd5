"""Natural shifts beside the corruptions: scored as sets of their own, shown, resumed, and part of no mean."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmdet")

from rtx.cli.main import main
from rtx.cli.status import as_json, as_text
from rtx.errors import BadValue, DataError, RunConflict
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.sweep.progress import read_progress
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.tables.run_tables import of_group
from rtx.results.command import Command, note_command
from rtx.types import CLEAN, Condition
from tests.cli.sweep_world import write_world
from tests.datasets.layout_worlds import to_yolo
from tests.evaluation.models.plain_functions import by_colour
from tests.evaluation.stand_in import CLASSES, PixelDetector, coco_config
from tests.makers import make_coco

FEW: dict[str, Any] = dict(corruptions=["fog"], severities=[3], workers=0, resamples=20)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Other images with the same classes, in the layout of COCO-O: no training split."""
    return make_coco(tmp_path / "other", splits={"val2017": 3}, seed=5)


def without_times(out: Path) -> dict[str, Any]:
    rows = {path.name: json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))}
    return {name: {k: v for k, v in row.items() if k not in ("timing", "checksum")} for name, row in rows.items()}


def test_a_shift_is_an_evaluation_of_its_own_beside_the_cells(made_coco: Path, other: Path, tmp_path: Path) -> None:
    plain = evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "plain", **FEW)
    out = tmp_path / "out"
    found = evaluate(PixelDetector(), coco_config(made_coco), out, shifts={"other": other}, **FEW)
    alone = evaluate(PixelDetector(), coco_config(other), tmp_path / "alone", corruptions=[], severities=[0], workers=0)
    row = found["shifts"]["other"]
    assert row["value"] == alone["P"] != found["P"] and row["n_images"] == 3 and row["data"] == "other"
    assert row["relative"] == pytest.approx(alone["P"] / found["P"]) and len(row["interval"]) == 2
    assert {k: v for k, v in found.items() if k != "shifts"} == plain
    assert without_times(out) == without_times(tmp_path / "plain")
    assert json.loads((out / "summary.json").read_text())["shifts"] == found["shifts"]
    table = (out / "table.md").read_text()
    assert "natural shifts, which are part of no mean" in table and "| other | 3 |" in table
    scores = table.partition("What the loss")[0]  # what it consists of has a row for each corruption, too
    assert "\n".join(line for line in scores.splitlines() if "other" not in line).count("fog") == 1
    assert any(f",other,shift,,{row['value']!r},3," in line for line in (out / "cells.csv").read_text().splitlines())
    tables = {table.name: table for table in of_group(group_runs(load_runs([out]))[0])}
    assert [entry.text for entry in tables["shifts"].rows[0]][1:3] == ["other", "3"]
    assert "shifts" not in {table.name for table in of_group(group_runs(load_runs([tmp_path / "plain"]))[0])}


def test_shifts_resume_and_are_seen_by_status(made_coco: Path, other: Path, tmp_path: Path) -> None:
    out, detector = tmp_path / "out", Detector(by_colour, CLASSES, name="by colour")
    to_yolo(other, tmp_path / "yolo")
    shifts = {"other": other, "yolo": tmp_path / "yolo"}
    found = evaluate(detector, made_coco, out, shifts={"other": other}, **FEW)
    before = (out / "shifts/other/cells/clean.json").stat().st_mtime_ns
    note_command(out, Command(("rtx", "it"), "/", (CLEAN, Condition("fog", 3)), tuple(shifts)))
    state = read_progress(out)
    assert state.shifts == {"other": True, "yolo": False} and not state.complete and not state.missing
    assert "1 of 2 shifts missing" in as_text(state) and "yolo (missing)" in as_text(state)
    assert as_json(state)["shifts"] == state.shifts and as_json(state)["commands"]
    again = evaluate(detector, made_coco, out, shifts=shifts, **FEW)
    assert (out / "shifts/other/cells/clean.json").stat().st_mtime_ns == before
    assert list(again["shifts"]) == ["other", "yolo"] and again["shifts"]["other"] == found["shifts"]["other"]
    assert read_progress(out).complete and "shifts    other, yolo" in as_text(read_progress(out))
    third = evaluate(detector, made_coco, out, overwrite=True, **FEW)
    assert "shifts" not in third and not (out / "shifts").exists()


def test_shards_share_the_shifts(made_coco: Path, other: Path, tmp_path: Path) -> None:
    out, detector = tmp_path / "out", Detector(by_colour, CLASSES, name="by colour")
    third = make_coco(tmp_path / "third", splits={"val2017": 2}, seed=8)
    shifts = {"a": other, "b": third}
    for shard in ((1, 2), (2, 2)):
        evaluate(detector, made_coco, out, shifts=shifts, shard=shard, **FEW)
        assert (out / "shifts/b").exists() == (shard == (2, 2))
    assert list(json.loads((out / "summary.json").read_text())["shifts"]) == ["a", "b"]


def test_what_cannot_be_a_shift_is_said_before_anything_runs(made_coco: Path, other: Path, tmp_path: Path) -> None:
    out, detector = tmp_path / "out", Detector(by_colour, CLASSES, name="by colour")
    names = make_coco(tmp_path / "names", names=("disc", "block", "ring"))
    order = make_coco(tmp_path / "order", names=("block", "disc", "stripe"))
    cut = shutil.copytree(other, tmp_path / "cut")
    picture = next((cut / "val2017").iterdir())
    picture.write_bytes(picture.read_bytes()[:-99])
    for model, data in ((detector, made_coco), (PixelDetector(), coco_config(made_coco))):
        for shifts, fault, complaint in (
            ({"a": tmp_path / "gone"}, BadValue, "shift 'a': .*gone' is no folder"),
            ({"a": order}, BadValue, "classes in another order"),
            ({"a": made_coco}, BadValue, "holds the images of the evaluation itself"),
            ({"fog_1": other}, BadValue, "name of a condition"),
            ({"a": cut}, DataError, "1 images are damaged"),
        ):
            with pytest.raises(fault, match=complaint):
                evaluate(model, data, out, shifts=shifts, **FEW)
    with pytest.raises(BadValue, match=r"lacks stripe and has ring besides; its 3 classes"):
        evaluate(PixelDetector(), coco_config(made_coco), out, shifts={"a": names}, **FEW)
    assert not out.exists()
    evaluate(detector, made_coco, out, shifts={"a": other}, **FEW)
    with pytest.raises(RunConflict, match=r"shift 'a': .*belongs to another run"):
        evaluate(detector, made_coco, out, shifts={"a": make_coco(tmp_path / "new", seed=9)}, **FEW)


def test_the_command(made_coco: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, checkpoint = write_world(tmp_path, made_coco)
    words = ["corrupt_eval", str(config), str(checkpoint), "--out", str(tmp_path / "out"), "--workers", "0"]
    words += ["--corruptions", "fog", "--severities", "3", "--resamples", "20"]
    assert main([*words, "--shift", f"other={tmp_path / 'gone'}"]) == 2
    assert "shift 'other'" in capsys.readouterr().err
    assert main([*words, "--shift", f"other={other}"]) == 0
    shown = capsys.readouterr().out
    assert "natural shifts (in no mean)" in shown and "  other" in shown
    assert read_progress(tmp_path / "out").shifts == {"other": True}
    assert main(["status", str(tmp_path / "out")]) == 0
