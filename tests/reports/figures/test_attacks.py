"""A report over evaluations under attack: a chapter of their own, with eps in the place of corruptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.errors import RunConflict
from rtx.reports.build import build
from rtx.reports.figures.attacks import draw, point
from rtx.reports.runs.compare import compare
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.results.cell import Cell
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CellFolder
from rtx.results.summary import write_summary
from rtx.types import CLEAN, Condition
from tests.reports.made import card, make_run

ATTACK = {"threat": "linf", "method": "pgd", "steps": 20, "step": 2.5, "restarts": 1, "losses": ["ce"]}


def attacked(root: Path, name: str, scores: dict[Condition, float]) -> Path:
    out = root / name
    fields = {**card(name, n_images=1000), "corruption_engine": "attack", "attack": ATTACK}
    folder = CellFolder(out, fields)
    folder.open()
    cells = {}
    for condition, value in scores.items():
        cells[condition] = Cell(condition, {"accuracy_top1": value}, 1000, folder.card, (), {"seconds": 1.0})
        folder.write(cells[condition])
    write_summary(Evaluation(out, folder.card, cells), "accuracy_top1")
    return out


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    weak = {CLEAN: 0.9, Condition("linf", 2): 0.2, Condition("linf", 10): 0.0, Condition("l2", 0.5): 0.1}
    strong = {CLEAN: 0.8, Condition("linf", 2): 0.7, Condition("linf", 10): 0.3, Condition("l2", 0.5): 0.6}
    return [attacked(tmp_path, "weak", weak), attacked(tmp_path, "strong", strong)]


def test_attacked_and_corrupted_runs_stand_apart_and_none_is_incomplete(runs: list[Path], tmp_path: Path) -> None:
    corrupted = make_run(tmp_path, "corrupted", metric="accuracy_top1", n_images=1000)
    report = build(load_runs([*runs, corrupted]), tmp_path / "report", formats=("svg",))
    assert [group["metric"] for group in report.summary["groups"]] == ["accuracy_top1"] * 2
    text = report.page.read_text()
    assert "Linf 10/255" in text and "L2 0.5" in text and "PGD-20 on ce" in text
    assert not [banner for banner in report.banners if banner.level == "stop"]
    (table,) = (tmp_path / "report").glob("tables/*_attacks/attacks.md")
    assert "| weak | top-1 accuracy | 90.0 | 10.0 | 20.0 | 0.0 |" in table.read_text().replace("**", "")


def test_cells_are_ordered_by_eps_and_the_sentence_is_of_the_largest_common_one(runs: list[Path]) -> None:
    (group,) = group_runs(load_runs(runs))
    assert [c.key for c in group.runs[0].attacks] == ["l2_0.5", "linf_2", "linf_10"]
    assert point(group) == "top-1 accuracy at Linf 10/255: weak 0.0 % (clean 90.0), strong 30.0 % (clean 80.0)"
    figure = draw(group)
    assert figure is not None
    assert [axes.get_xlabel()[:10] for axes in figure.axes] == ["eps (Linf,", "eps (L2, t"]
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[90, 20, 0], [80, 70, 30]]


def test_compare_says_that_it_is_of_corruptions(runs: list[Path]) -> None:
    with pytest.raises(RunConflict, match=r"under attack, and rtx compare is of corruptions; rtx report puts"):
        compare(*load_runs(runs))
