"""What a loss consists of: shares of the types whose dAP rose, and nothing where nothing was lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtx.corruptions import BENCHMARK
from rtx.metrics.error_names import SPECIAL, TYPES
from rtx.results.cell import Cell
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CellFolder
from rtx.results.losses import MEAN, calibration_errors, error_losses, sentence, undefined_reasons
from rtx.results.summary import build_summary, markdown
from rtx.types import CLEAN, SEVERITIES, Condition

CARD: dict[str, Any] = {"limit": None, "n_images": 9, "labels": {}}
FOG = Condition("fog", 3)


def block(ap50: float | None, **gains: float) -> dict[str, Any]:
    every = {name: gains.get(name, 0.0) if ap50 is not None else None for name in (*TYPES, *SPECIAL)}
    return {"version": "rtx.errors/1", "AP50": ap50, "dAP": every, "counts": {}, "objects": 3}


def cell(condition: Condition, errors: dict[str, Any], calibration: dict[str, Any] | None = None) -> Cell:
    diagnosis = {"errors": {"bbox": errors}, "calibration": {"bbox": calibration or {"D-ECE": 0.1, "LaECE": None}}}
    return Cell(condition, {"bbox_mAP": 0.3}, 9, CARD, diagnosis=diagnosis)


def cells(*rows: Cell) -> dict[Condition, Cell]:
    return {row.condition: row for row in rows}


CLEAN_CELL = cell(CLEAN, block(0.6, missed=0.1, background=0.2, duplicate=0.05))


def test_shares_are_of_the_types_that_rose_and_make_one() -> None:
    found = error_losses(cells(CLEAN_CELL, cell(FOG, block(0.4, missed=0.4, background=0.3, duplicate=0.0))))
    row = found["bbox"]["corruptions"]["fog"]
    assert row["loss"] == pytest.approx(0.2)
    assert row["share"]["missed"] == pytest.approx(0.75) and row["share"]["background"] == pytest.approx(0.25)
    assert row["share"]["duplicate"] == 0, "what fell takes no part"
    assert sum(row["share"].values()) == pytest.approx(1)
    assert sentence(found["bbox"]) == "under fog 75 % of the loss (20.0 points of AP50) is missed objects"


@pytest.mark.parametrize("ap50", [0.6, 0.7, 0.595])
def test_where_nothing_is_lost_nothing_is_divided(ap50: float) -> None:
    found = error_losses(cells(CLEAN_CELL, cell(FOG, block(ap50, missed=0.4))))["bbox"]
    assert found["corruptions"]["fog"]["share"] is None and sentence(found) == ""


def test_a_corruption_is_the_mean_of_its_severities_and_all_the_mean_of_corruptions() -> None:
    rows = [cell(Condition("fog", s), block(0.6 - 0.1 * s, missed=0.1 + 0.1 * s)) for s in (1, 3)]
    rows += [cell(Condition("snow", 1), block(0.2, background=0.6))]
    found = error_losses(cells(CLEAN_CELL, *rows))["bbox"]["corruptions"]
    assert found["fog"]["loss"] == pytest.approx(0.2) and found["fog"]["severities"] == [1, 3]
    assert found[MEAN]["loss"] == pytest.approx((0.2 + 0.4) / 2) and found[MEAN]["corruptions"] == 2
    rises = {"missed": (0.3 + 0.0) / 2 - 0.1, "background": (0.0 + 0.6) / 2 - 0.2}
    assert found[MEAN]["share"]["missed"] == pytest.approx(rises["missed"] / sum(rises.values()))


def test_what_is_held_out_is_in_no_mean() -> None:
    rows = [cell(FOG, block(0.4, missed=0.3)), cell(Condition("spatter", 1), block(0.1, background=0.6))]
    found = error_losses(cells(CLEAN_CELL, *rows))["bbox"]["corruptions"]
    assert found[MEAN]["loss"] == found["fog"]["loss"] and found["spatter"]["loss"] == pytest.approx(0.5)


def test_cells_without_are_passed_over() -> None:
    old = Cell(FOG, {"bbox_mAP": 0.2}, 9, CARD)
    assert error_losses(cells(Cell(CLEAN, {"bbox_mAP": 0.3}, 9, CARD), old)) == {}
    assert error_losses(cells(CLEAN_CELL, old))["bbox"]["corruptions"] == {}
    assert error_losses(cells(cell(CLEAN, block(None)), old)) == {}, "no objects: undefined"
    assert error_losses({}) == calibration_errors({}) == {}


def test_calibration_by_corruption_and_by_severity() -> None:
    rows = [
        cell(Condition(name, s), block(0.4), {"D-ECE": 0.1 * s, "LaECE": 0.2}) for name in BENCHMARK for s in SEVERITIES
    ]
    found = calibration_errors(cells(CLEAN_CELL, *rows))["bbox"]
    assert found["clean"] == {"D-ECE": 0.1, "LaECE": None}
    assert found["severities"]["5"]["D-ECE"] == pytest.approx(0.5)
    assert found["corruptions"]["fog"]["D-ECE"] == pytest.approx(0.3) == found["corruptions"][MEAN]["D-ECE"]
    part = calibration_errors(cells(CLEAN_CELL, *rows[:-1]))["bbox"]
    assert "5" not in part["severities"] and "4" in part["severities"], "a mean over fewer cells is another quantity"


def test_what_is_undefined_has_its_reason() -> None:
    reason = {"version": "rtx.calibration/1", "undefined": "no scores"}
    row = Cell(CLEAN, {"mIoU": 0.5}, 9, CARD, diagnosis={"calibration": {"pixels": reason}})
    assert undefined_reasons(cells(row)) == {"pixels": "no scores"} and calibration_errors(cells(row)) == {}


def test_a_summary_holds_them_and_its_table_says_them() -> None:
    there = cells(CLEAN_CELL, cell(FOG, block(0.4, missed=0.4)))
    summary = build_summary(Evaluation(Path(), CARD, there), "bbox_mAP")
    assert summary["errors"]["bbox"]["corruptions"]["fog"]["share"]["missed"] == 1
    assert summary["cells"]["fog_3"]["errors"]["bbox"]["AP50"] == 0.4
    text = markdown(summary)
    assert "under fog 100 % of the loss (20.0 points of AP50) is missed objects" in text
    assert "Calibration (bbox): D-ECE 10.0 on clean images, 10.0 under corruption." in text
    bare = {c: Cell(c, row.metrics, 9, CARD) for c, row in there.items()}
    old = build_summary(Evaluation(Path(), CARD, bare), "bbox_mAP")
    assert not {"errors", "calibration"} & old.keys() and "Calibration" not in markdown(old)


def test_a_cell_keeps_its_diagnosis_and_a_cell_without_is_what_it_was(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, CARD)
    folder.open()
    folder.write(CLEAN_CELL)
    folder.write(Cell(FOG, {"bbox_mAP": 0.2}, 9, CARD))
    back = folder.read([CLEAN, FOG])
    assert back[CLEAN].diagnosis == json.loads(json.dumps(CLEAN_CELL.diagnosis)) and back[FOG].diagnosis == {}
    assert "diagnosis" not in json.loads(folder.path(FOG).read_text())


@pytest.mark.parametrize("wrong", [[], {"errors": 3}, {"errors": {"bbox": 3}}])
def test_a_diagnosis_of_another_form_is_no_cell(tmp_path: Path, wrong: Any) -> None:
    from rtx.errors import BadValue

    row = json.loads(CLEAN_CELL.to_json())
    with pytest.raises(BadValue, match="not an rtx cell file"):
        Cell.from_row({**row, "diagnosis": wrong}, place="a cell")
