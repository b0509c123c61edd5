"""Runs of unlike models or sources share no mean, no line and no "best of"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.models import Model, model_of
from rtx.reports.tables.paper_tables import transfer_tables
from rtx.reports.runs.runs import load_run, load_runs
from rtx.reports.tables.table import Table
from rtx.types import CLEAN
from tests.reports.made import make_run

L2_0, L2_3 = "resnet50_l2_eps0", "resnet50_l2_eps3"
Made = tuple[str, str, float]


def _tables(root: Path, rows: list[Made], **more: object) -> dict[str, Table]:
    """Tables over runs given as (config, source, clean score)."""
    paths = [
        make_run(root, f"m{n}", source=source, clean=clean, labels={"run": f"m{n}", "config": config}, **more)
        for n, (config, source, clean) in enumerate(rows)
    ]
    return {table.name: table for table in transfer_tables(group_runs(load_runs(paths)))}


def _texts(table: Table) -> dict[str, list[str]]:
    return {row[0].text: [f"{entry.text} {entry.below}".strip() for entry in row[1:]] for row in table.rows}


def test_unlike_detectors_are_never_averaged(tmp_path: Path) -> None:
    rows = [(f"{kind}_r50_coco", source, clean + step) for kind, clean in (("fcos", 0.38), ("detr", 0.6))
            for source, step in ((L2_0, 0.0), (L2_3, -0.02))]  # fmt: skip
    found = _tables(tmp_path, rows)
    assert _texts(found["layout_utrera"]) == {
        "COCO val2017, box AP, fcos_r50_coco, full": ["38.00", "36.00"],
        "COCO val2017, box AP, detr_r50_coco, full": ["60.00", "58.00"],
    }
    salman = found["layout_salman"]
    assert [[entry.text for entry in row[2:]] for row in salman.rows] == [["36.00", "58.00"], ["38.00", "60.00"]]
    assert {row[1].text for row in found["layout_yamada"].rows} == {"fcos_r50_coco", "detr_r50_coco"}


def test_schedules_of_one_detector_are_unlike(tmp_path: Path) -> None:
    rows = [("maskrcnn_r50_1x", L2_0, 0.37), ("maskrcnn_r50_1x", L2_3, 0.36), ("maskrcnn_r50_3x", L2_0, 0.41)]
    found = _texts(_tables(tmp_path, rows)["layout_utrera"])
    assert [values for _, values in sorted(found.items())] == [["37.00", "36.00"], ["41.00", "–"]]  # noqa: RUF001


def test_two_files_of_one_name_are_two_sources(tmp_path: Path) -> None:
    rows = [("maskrcnn_r50", f"resnet50:/{place}/robust.pth", 0.3 + 0.2 * n) for n, place in enumerate("ab")]
    found = _tables(tmp_path, [*rows, ("maskrcnn_r50", "resnet50_in1k_v1", 0.4)])
    assert found["layout_utrera"].head == ("data", "natural", "a/robust.pth", "b/robust.pth")
    assert list(_texts(found["layout_utrera"]).values()) == [["40.00", "30.00", "50.00"]]
    assert {row[0].text for row in found["layout_yamada"].rows} == {"a/robust.pth", "b/robust.pth", "in1k_v1"}


def test_repeats_are_averaged_with_their_number_and_other_setups_are_not(tmp_path: Path) -> None:
    rows = [("maskrcnn_r50", L2_3, 0.30), ("maskrcnn_r50", L2_3, 0.40), ("maskrcnn_r50", L2_0, 0.36)]
    found = _tables(tmp_path / "seeds", rows)
    assert list(_texts(found["layout_utrera"]).values()) == [["36.00", "35.00 mean of 2"]]
    robust = found["layout_salman"].rows[0][2]
    assert robust.text == "35.00" and robust.below.endswith("L2 eps 3, mean of 2")
    paths = [
        make_run(tmp_path, f"m{n}", source=source, clean=clean, config_sha256=sha * 64)
        for n, (source, clean, sha) in enumerate([(L2_3, 0.3, "1"), (L2_3, 0.4, "2"), (L2_0, 0.36, "1")])
    ]
    table = next(t for t in transfer_tables(group_runs(load_runs(paths))) if t.name == "layout_utrera")
    assert list(_texts(table).values()) == [["36.00", "30.00, 40.00 unlike setups of 1 and 1 runs, not averaged"]]


def test_a_best_eps_that_is_not_alone_says_so(tmp_path: Path) -> None:
    rows = [("maskrcnn_r50", f"resnet50_l2_eps{eps}", 0.3) for eps in (1, 3, 5)]
    assert _tables(tmp_path, rows)["layout_salman"].rows[0][2].below.endswith("L2 eps 1, as clean as 2 more")


def test_the_best_eps_says_its_norm(tmp_path: Path) -> None:
    rows = [("maskrcnn_r50", f"resnet50_{norm}_eps4", 0.3) for norm in ("l2", "linf")]
    below = []
    for norm in ("l2", "linf"):
        found = _tables(tmp_path / norm, [*rows, ("maskrcnn_r50", f"resnet50_{norm}_eps8", 0.5)])
        below.append(found["layout_salman"].rows[0][2].below.partition(") ")[2])
    assert below == ["L2 eps 8", "Linf eps 8/255"]


def test_a_config_of_another_source_or_mode_is_the_same_model(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path, "m", conditions=(CLEAN,)))

    def model(**labels: str) -> Model:
        return model_of(replace(run, name=labels.get("run", "m"), card={**run.card, "labels": labels}))

    mask = {"method": "Mask R-CNN", "schedule": "1x"}
    assert model(**mask, config="maskrcnn_r50_coco") == model(**mask, config="maskrcnn_r50_eps3_coco")
    others = [{**mask, "schedule": "3x"}, {**mask, "method": "Faster R-CNN"}, {**mask, "training": "stylised"}]
    assert len({model(**labels) for labels in (mask, *others)}) == 4
    assert model(run="a") != model(run="b"), "without a method, a run is like no other"
