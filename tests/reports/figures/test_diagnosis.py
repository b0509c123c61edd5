"""What the figure of error types says, of which runs, and what it says where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtx.reports.figures import diagnosis
from rtx.reports.page.charts import DIAGNOSIS
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import load_runs
from rtx.results.cell import Cell
from rtx.results.folder import CellFolder
from rtx.types import CLEAN, Condition
from tests.reports.made import make_run


def group(*folders: Path) -> Group:
    (found,) = group_runs(load_runs(folders))
    return found


def test_one_model_says_what_most_of_its_loss_is_and_how_calibration_changes(tmp_path: Path) -> None:
    found = diagnosis.point(group(make_run(tmp_path, "a", diagnosed=True)))
    assert found.startswith("Over all corruptions ") and "% of the loss" in found and "is missed objects" in found
    assert "D-ECE 5.0 →" in found and found.endswith("at severity 5")


def test_the_bars_of_a_model_are_as_long_as_its_losses(tmp_path: Path) -> None:
    runs = group(make_run(tmp_path, "a", diagnosed=True))
    figure = diagnosis.draw(runs)
    assert figure is not None
    bars = figure.axes[0].patches
    losses = diagnosis.barred(runs)[0][1]["corruptions"]
    lengths = sum(bar.get_width() for bar in bars)
    assert lengths == pytest.approx(100 * sum(row["loss"] for row in losses.values() if row["share"]))


def test_of_many_models_the_baseline_the_best_and_the_worst_are_drawn(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, f"m{n}", robust=0.1 + 0.1 * n, diagnosed=True) for n in range(5)]
    found = group(*folders)
    assert [run.name for run, _ in diagnosis.barred(found)] == ["m0", "m4"], "the first is baseline and worst"
    assert diagnosis.point(found).count("points of AP50 lost") == 2


def test_a_run_without_says_how_to_add_them(tmp_path: Path) -> None:
    old, new = make_run(tmp_path, "old"), make_run(tmp_path, "new", diagnosed=True)
    both = group(old, new)
    assert [run.name for run, _ in diagnosis.barred(both)] == ["new"]
    ((name, what, command),) = DIAGNOSIS.lacking(both)
    assert name == "old" and "earlier rtx" in what and command.endswith("--overwrite")
    (old / "predictions").mkdir()
    ((_, _, command),) = DIAGNOSIS.lacking(both)
    assert command == f"rtx score {old}/predictions --coco FILE --out {old}"
    alone = group(old)
    assert DIAGNOSIS.draw(alone) is None and "No run here has error types" in DIAGNOSIS.absent(alone)


def pixels(root: Path, block: dict[str, Any]) -> Group:
    folder = make_run(root, "s", metric="mIoU", metric_card={"scorer": "miou", "n_classes": 4})
    cells = CellFolder.there(folder)
    for condition in (CLEAN, *(Condition("fog", s) for s in (1, 2))):
        cell = cells.read([condition])[condition]
        diagnosed = {"calibration": {"pixels": block}}
        cells.write(Cell(condition, cell.metrics, cell.n_images, cell.protocol, (), cell.timing, diagnosed))
    return group(folder)


def test_a_segmenter_without_logits_has_the_reason(tmp_path: Path) -> None:
    found = pixels(tmp_path, {"version": "rtx.calibration/1", "undefined": "no logits at all"})
    assert DIAGNOSIS.lacking(found) == (("s", "no calibration: no logits at all", ""),)


def test_of_a_part_of_the_grid_no_mean_over_corruptions_is_drawn(tmp_path: Path) -> None:
    found = pixels(tmp_path, {"version": "rtx.calibration/1", "ECE": 0.1})
    assert DIAGNOSIS.draw(found) is None and DIAGNOSIS.lacking(found) == ()
