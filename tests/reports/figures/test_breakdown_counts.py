"""A sentence about sizes or classes rests on the models and rows that it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.reports.figures import breakdown
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import load_runs
from rtx.results.folder import CellFolder, stored_conditions
from rtx.types import CLEAN, Condition
from tests.reports.made import make_run


def _group(*paths: Path) -> Group:
    (group,) = group_runs(load_runs(paths))
    return group


def _rewrite(out: Path, change: dict[Condition, dict[str, float]]) -> None:
    folder = CellFolder.there(out)
    for condition, cell in folder.read(stored_conditions(out)).items():
        cell.metrics.update(change.get(condition, {}))
        folder.write(cell)


def test_models_without_classes_are_not_counted(tmp_path: Path) -> None:
    with_classes = [make_run(tmp_path, f"with {n}", classes=("cat", "dog"), robust=0.1 * n) for n in (1, 2)]
    without = make_run(tmp_path, "without", robust=0.5)
    assert breakdown.class_point(_group(with_classes[0], without)).endswith("%), in with 1 alone")
    assert breakdown.class_point(_group(*with_classes, without)).endswith(", mean of 2 of 3 models")
    assert breakdown.class_point(_group(*with_classes)).endswith("%), mean of 2 models")
    assert breakdown.class_point(_group(with_classes[0])).endswith("%)")


def test_a_class_that_a_model_has_no_drop_for_is_not_ranked(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path, n, classes=("cat", "dog", "hen"), robust=r) for n, r in (("a", 0.1), ("b", 0.2)))
    full = breakdown.class_point(_group(a, b))
    assert full.startswith("“cat” loses most"), "the first class drops most by the way these runs are made"
    # In b nothing was found of cats on clean images: its drop of cats is undefined, and a alone would decide on them.
    _rewrite(b, {CLEAN: {"bbox_mAP/cat": 0.0}})
    text = breakdown.class_point(_group(a, b))
    assert text.startswith("“dog” loses most") and text.endswith(", mean of 2 models; 2 of 3 classes")


def test_without_a_row_that_all_have_nothing_is_ranked(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path, n, classes=(c,)) for n, c in (("a", "cat"), ("b", "dog")))
    assert "no class that the compared models all have" in breakdown.class_point(_group(a, b))


def test_sizes_are_ranked_by_the_same_rule(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path, n, robust=r) for n, r in (("a", 0.1), ("b", 0.2)))
    assert breakdown.size_point(_group(a, b)).startswith("Small objects lose most")
    _rewrite(b, {Condition("fog", 3): {"bbox_mAP_s": float("nan")}})
    text = breakdown.size_point(_group(a, b))
    assert not text.startswith("Small") and text.endswith("; 2 of 3 sizes")


@pytest.mark.parametrize("baseline", ["with", "without"])
def test_classes_are_ordered_by_a_model_that_has_them(tmp_path: Path, baseline: str) -> None:
    names = [f"c{n:02d}" for n in range(25)]
    paths = [make_run(tmp_path, "with", classes=tuple(reversed(names))), make_run(tmp_path, "without")]
    (group,) = group_runs(load_runs(paths, baseline=baseline))
    drops = [values[0] for _, values in breakdown.class_rows(group)]
    assert drops == sorted(drops, reverse=True) and len(drops) == 25
