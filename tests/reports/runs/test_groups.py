from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rtx.reports.text.banners import banners
from rtx.reports.build import build
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.text.verdict import gain
from rtx.reports.text.wording import percent
from tests.reports.made import make_run

SAME_LETTERS = [("水果", "坚果"), ("Set 1", "set-1"), ("a_b", "A  b")]


def _two_sets(root: Path, names: tuple[str, str]) -> list[Path]:
    return [
        make_run(root, f"m{n}", clean=0.5 - 0.3 * n, data_sha256=str(n) * 64, labels={"run": f"m{n}", "data": name})
        for n, name in enumerate(names)
    ]


@pytest.mark.parametrize("names", SAME_LETTERS)
def test_test_sets_whose_names_have_the_same_letters_keep_apart(tmp_path: Path, names: tuple[str, str]) -> None:
    paths = _two_sets(tmp_path, names)
    found = {g.dataset: g.slug for g in group_runs(load_runs(paths))}
    assert len(set(found.values())) == 2
    assert {g.dataset: g.slug for g in group_runs(load_runs(paths[::-1]))} == found
    (alone,) = group_runs(load_runs(paths[:1]))
    assert alone.slug == found[names[0]].rpartition("_")[0]


def test_each_heading_has_the_numbers_of_its_own_test_set(tmp_path: Path) -> None:
    runs = load_runs(_two_sets(tmp_path, SAME_LETTERS[0]))
    report = build(runs, tmp_path / "out", formats=("svg",))
    text = html.unescape(report.page.read_text(encoding="utf-8"))
    places = [text.index(f'id="g{n}-t-overall"') for n in range(2)]
    shown = [re.sub(r"<[^>]+>|\s+", " ", text[place : text.index("</table>", place)]) for place in places]
    for run, mine in zip(runs, shown, strict=True):
        assert all(f" {percent(value)} " in mine for value in (run.summary.P, run.summary.mPC))
    curves = [name for name in report.summary["files"] if name.endswith("curve.svg")]
    assert len(curves) == 2 and len({(tmp_path / "out" / name).read_bytes() for name in curves}) == 2


def test_a_preview_is_no_baseline_where_there_is_a_whole_run(tmp_path: Path) -> None:
    quick = make_run(tmp_path, "std", limit=50, n_images=50, labels={"run": "std", "data": "coco_val2017"})
    part = make_run(tmp_path, "part", conditions=tuple(load_runs([quick])[0].cells)[:9])
    whole = [make_run(tmp_path, f"eps{e}", source=f"resnet50_l2_eps{e}", robust=e / 10) for e in (1, 3)]
    (group,) = group_runs(load_runs([quick, part, *whole]))
    assert group.baseline.name == "eps1" and gain(group, group.runs[-1]) is not None
    assert [run.name for run in group.claimed] == ["eps1", "eps3"]
    (named,) = group_runs(load_runs([quick, part, *whole], baseline="std"))
    assert named.baseline.name == "std (PREVIEW)"


def test_the_baseline_is_a_run_that_others_can_be_compared_with(tmp_path: Path) -> None:
    rows = [("amp", {"precision": "amp_fp16"}), ("fp32", {}), ("eps3", {"source": "resnet50_l2_eps3"})]
    (group,) = group_runs(load_runs([make_run(tmp_path, name, **more) for name, more in rows]))
    assert group.baseline.name == "fp32"


def test_only_an_ending_that_the_report_itself_put_there_goes(tmp_path: Path) -> None:
    sets = ("fruits", "nuts")
    paths = [
        make_run(tmp_path, "mask", folder=s, n_images=7 + len(s), labels={"run": "mask", "data": s}) for s in sets
    ]
    assert [g.runs[0].name for g in group_runs(load_runs(paths))] == ["mask", "mask"]
    given = ["trained on fruits", "trained on nuts"]
    assert [g.runs[0].name for g in group_runs(load_runs(paths, names=given))] == given
    other = make_run(tmp_path, "mask fruits", n_images=99, labels={"run": "mask fruits", "data": "fruits"})
    assert [g.runs[0].name for g in group_runs(load_runs([other, paths[1]]))] == ["mask fruits", "mask"]


def test_a_difference_is_said_once_and_in_words(tmp_path: Path) -> None:
    labels = {"run": "p", "data": "coco_val2017"}
    whole = make_run(tmp_path, "w")
    preview = make_run(tmp_path, "p", limit=50, n_images=50, subset="stratified/1", labels=labels)
    found = [b.title for b in banners(group_runs(load_runs([whole, preview]))) if b.title.startswith("Mixed")]
    assert found == ["Mixed protocols: subset (--limit)"]
    imported = make_run(tmp_path, "i", origin="published result file", unknown=["precision"], precision="unknown")
    found = [b.title for b in banners(group_runs(load_runs([whole, imported]))) if b.title.startswith("Mixed")]
    assert found == ["Mixed protocols: who evaluated"]  # its other banner says what it leaves open
    assert not group_runs(load_runs([whole, imported]))[0].comparable[1:]


def test_runs_of_one_name_do_not_hide_that_they_differ(tmp_path: Path) -> None:
    runs = load_runs([make_run(tmp_path, "a"), make_run(tmp_path, "b", precision="amp_fp16")])
    (group,) = group_runs([runs[0], replace(runs[1], name="a")])
    assert any("precision" in banner.title for banner in banners([group]))
