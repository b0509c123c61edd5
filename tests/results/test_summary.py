"""The Markdown table of a summary: the overall drop beside the families', and a name for clean images alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtx.corruptions import BENCHMARK
from rtx.results.cell import Cell
from rtx.results.evaluation import Evaluation
from rtx.results.summary import build_summary, markdown
from rtx.types import CLEAN, SEVERITIES, Condition

CARD: dict[str, Any] = {"limit": None, "n_images": 9, "labels": {}}


def table(conditions: list[Condition]) -> list[str]:
    cells = {c: Cell(c, {"mIoU": 0.5 if c == CLEAN else 0.2}, 9, CARD) for c in conditions}
    return markdown(build_summary(Evaluation(Path(), CARD, cells), "mIoU")).splitlines()


def test_the_overall_drop_stands_beside_those_of_the_families() -> None:
    lines = table([CLEAN, *(Condition(name, level) for name in BENCHMARK for level in SEVERITIES)])
    head = ["metric", "P", "mPC", "rPC", "drop", "noise drop", "blur drop", "weather drop", "digital drop"]
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == head
    assert lines[1].count("---") == len(head)
    assert [cell.strip() for cell in lines[2].strip("|").split("|")][1:5] == ["50.00", "20.00", "40.00", "60.00"]


@pytest.mark.parametrize("level", [None, 2])
def test_clean_images_alone_are_no_incomplete_grid(level: int | None) -> None:
    text = "\n".join(table([CLEAN, *([Condition("fog", level)] if level else [])]))
    assert ("INCOMPLETE" in text) == bool(level) and ("Clean images only: P, and no mPC." in text) != bool(level)
