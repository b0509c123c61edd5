"""Cells of other library versions or devices share a folder, and everything that shows their numbers says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtx.cli.final_table import final_table, look_of
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_run
from rtx.reports.text.banners import banners
from rtx.results.cell import Cell, mixed_makers
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CellFolder
from rtx.results.summary import write_summary
from rtx.types import CLEAN, SEVERITIES, Condition

CARD: dict[str, Any] = {"limit": None, "n_images": 50, "device": "cpu", "rtx": "1", "versions": {"mmcv": "2.1"}}


def folder(root: Path, **second: Any) -> dict[str, Any]:
    """An evaluation whose fog was made under a card with other context."""
    place = CellFolder(root, CARD)
    place.open()
    cells = {c: Cell(c, {"mIoU": 0.5}, 50, CARD) for c in [CLEAN]}
    cells |= {c: Cell(c, {"mIoU": 0.4}, 50, CARD | second) for c in (Condition("fog", s) for s in SEVERITIES)}
    for cell in cells.values():
        place.write(cell)
    return write_summary(Evaluation(root, CARD, cells), "mIoU")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"versions": {"mmcv": "2.2"}}, "mmcv 2.1 / 2.2"),
        ({"versions": {"mmcv": None}}, "mmcv 2.1 / none"),
        ({"device": "NVIDIA H200"}, "device NVIDIA H200 / cpu"),
        ({"rtx": "2"}, "rtx 1 / 2"),
    ],
)
def test_a_mixture_is_said_in_summary_tables_and_report(tmp_path: Path, second: dict[str, Any], said: str) -> None:
    summary = folder(tmp_path, **second)
    assert list(summary["mixed"]) == [said.split()[0]]
    assert f"different versions or on different devices: {said}." in (tmp_path / "table.md").read_text()
    assert said in final_table(summary, look_of(width=120))
    shown = [b for b in banners(group_runs([load_run(tmp_path)])) if "different ways" in b.title]
    assert len(shown) == 1 and shown[0].level == "warn" and said in shown[0].text


def test_one_way_is_not_remarked_upon(tmp_path: Path) -> None:
    assert "mixed" not in folder(tmp_path)
    assert "different" not in (tmp_path / "table.md").read_text()
    assert mixed_makers([]) == {} == mixed_makers([Cell(CLEAN, {}, 1, {})] * 2)
