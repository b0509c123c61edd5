"""The importer of published result files says what it takes, and takes nothing by half."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from rtx.cli.main import main
from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue, UnknownName
from rtx.results.published_files import import_file, import_folder
from rtx.types import CLEAN, SEVERITIES, Condition

COCO = {"bbox": {"AP": 0.4, "AP50": 0.6, "AP75": 0.4, "APs": 0.2, "APm": 0.4, "APl": 0.5}}


def write(
    root: Path, name: str, *, row: Any = COCO, corruptions: tuple[str, ...] = BENCHMARK, folder: str = "coco"
) -> Path:
    path = root / folder / f"{name}_results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {corruption: {str(level): row for level in (0, *SEVERITIES)} for corruption in corruptions}
    path.write_text(json.dumps(table))
    return path


def coco(**changes: float) -> Any:
    return {"bbox": {**COCO["bbox"], **changes}}


def test_a_partial_grid_is_printed_under_its_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "part", corruptions=tuple(name for name in BENCHMARK if name != "fog"))
    write(tmp_path, "whole")
    assert main(["import_published", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    part, whole = capsys.readouterr().out.splitlines()
    assert part.endswith("P 40.0, mPC(14/15 corruptions, severities 1,2,3,4,5) 40.0")
    assert whole.endswith("P 40.0, mPC 40.0, rPC 100.0")


@pytest.mark.parametrize("bad", ["corruption", "percent", "negative", "not a number"])
def test_what_cannot_be_taken_is_named_before_anything_is_written(tmp_path: Path, bad: str) -> None:
    write(tmp_path, "a_good_one")
    if bad == "corruption":
        path = write(tmp_path, "bad", corruptions=(*BENCHMARK, "rain"))
    else:
        value = {"percent": 40.0, "negative": -0.5, "not a number": math.nan}[bad]
        path = write(tmp_path, "bad", row=coco(APs=value))
    with pytest.raises(UnknownName if bad == "corruption" else BadValue, match=r"bad_results\.json") as error:
        import_file(path)
    assert ("rain" if bad == "corruption" else "bbox_mAP_s of") in str(error.value)
    assert main(["import_published", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_minus_one_is_undefined_in_coco_statistics_only(tmp_path: Path) -> None:
    found = import_file(write(tmp_path, "sizes", row=coco(APs=-1)))
    assert all(math.isnan(cell.metrics["bbox_mAP_s"]) for cell in found.cells.values())
    assert found.cells[Condition("fog", 3)].metrics["bbox_mAP"] == found.cells[CLEAN].metrics["bbox_mAP"] == 0.4
    # In a list of classes it would count as a score in their mean.
    with pytest.raises(BadValue, match="AP of class 1 of"):
        import_file(write(tmp_path, "voc", row=[{"ap": 0.5}, {"ap": -1}, {"ap": 0.9}], folder="pascal_voc"))


def test_two_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one", "mask")
    two = write(tmp_path / "two", "mask", row=coco(AP=0.3))
    assert main(["import_published", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert str(one) in said and str(two) in said and not (tmp_path / "out").exists()
    write(tmp_path / "three", "mask", folder="cityscapes")
    two.unlink()
    assert main(["import_published", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_other_json_files_are_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "mask")
    (tmp_path / "coco" / "summary.json").write_text("{}")
    with caplog.at_level(logging.INFO, "rtx"):
        assert len(list(import_folder(tmp_path))) == 1
    assert "coco/summary.json" in caplog.text and "_results.json" in caplog.text
