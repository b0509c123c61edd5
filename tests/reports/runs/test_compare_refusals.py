"""Why two evaluations are not compared is said with both values and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtx.errors import RunConflict
from rtx.reports.runs.compare import compare
from rtx.reports.runs.groups import differing, unlike
from rtx.reports.runs.runs import load_runs
from tests.reports.made import make_run


def refused(root: Path, one: dict[str, Any], two: dict[str, Any]) -> str:
    runs = load_runs([make_run(root, "one", **one), make_run(root, "two", **two)])
    with pytest.raises(RunConflict) as error:
        compare(*runs)
    return str(error.value)


def test_both_values_are_said(tmp_path: Path) -> None:
    text = refused(tmp_path, {}, {"precision": "amp_fp16", "corruption_seed": 2})
    assert "precision (fp32 and amp_fp16)" in text and "corruption seed (0 and 2)" in text
    assert "evaluate one again like the other" in text and "test sets" not in text


def test_of_a_metric_only_what_differs_is_said(tmp_path: Path) -> None:
    metric = {"scorer": "coco", "scorer_version": "hotcoco 1", "n_classes": 80}
    text = refused(tmp_path, {"metric_card": metric}, {"metric_card": {**metric, "scorer_version": "hotcoco 2"}})
    assert '({"scorer_version": "hotcoco 1"} and {"scorer_version": "hotcoco 2"})' in text


def test_a_field_of_one_alone_is_said(tmp_path: Path) -> None:
    assert "extra (not stated and 3)" in refused(tmp_path, {}, {"extra": 3})


def test_a_preview_is_no_other_test_set(tmp_path: Path) -> None:
    part = {"limit": 50, "n_images": 50, "data_sha256": "3" * 64, "subset": "stratified/1"}
    text = refused(tmp_path, {}, {**part, "corruption_seed": 2})
    assert "two (PREVIEW) is of 50 images (all of them with: cd /made && rtx corrupt_eval" in text and "two_whole" in text
    assert "test sets" not in text and "data hash" not in text and "subset (--limit) (all images and 50)" in text
    assert "corruption seed (0 and 2)" in text, "what else differs is said, too"


def test_other_images_are_another_test_set(tmp_path: Path) -> None:
    other = {"n_images": 7, "data_sha256": "3" * 64, "labels": {"data": "fruits"}}
    text = refused(tmp_path, {"n_images": 7}, other)
    assert "their test sets are coco_val2017 and fruits" in text and "data hash" in text


def test_what_is_said_is_what_differs(tmp_path: Path) -> None:
    a, b = load_runs([make_run(tmp_path, "a"), make_run(tmp_path, "b", precision="x", batching="y")])
    assert tuple(word for word, _, _ in differing(a, b)) == unlike(a, b)
    assert differing(a, a) == []


def test_a_preview_and_a_name_like_one_stay_apart(tmp_path: Path) -> None:
    a = make_run(tmp_path, "one", labels={"run": "x (PREVIEW)"})
    b = make_run(tmp_path, "two", limit=50, n_images=50, labels={"run": "x"})
    names = [run.name for run in load_runs([a, b])]
    assert names == ["x (PREVIEW) #1", "x (PREVIEW) #2"]
    assert [run.name for run in load_runs([b])] == ["x (PREVIEW)"]
