from __future__ import annotations

from pathlib import Path

import pytest

from rtx.corruptions import CORRUPTIONS
from rtx.metrics.robustness import summarise
from rtx.reports.published import PAPERS, all_records, trend_points
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.runs.trend import fit, residual
from rtx.reports.tables.paper_tables import paper_against_yours
from rtx.results.published_files import import_folder, read_result_file
from tests.reports.made import make_run


def test_every_record_is_cited_and_a_fraction() -> None:
    records = all_records()
    assert len(records) == len(set(records)) == 674
    for record in records:
        assert record.paper in PAPERS and record.place
        assert 0 <= record.value <= 1
        assert not record.quantity.startswith("drop:") or record.quantity[5:] in CORRUPTIONS.values()


def test_printed_numbers_agree_with_each_other() -> None:
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for r in all_records():
        rows.setdefault((r.paper, r.place, r.dataset, r.method, r.backbone, r.source, r.metric, r.note), {})[
            r.quantity
        ] = r.value
    checked = 0
    for row in rows.values():
        if {"P", "mPC", "rPC"} <= set(row):
            assert row["mPC"] / row["P"] == pytest.approx(row["rPC"], abs=0.0025)
            checked += 1
        if {"P", "mPC", "drop"} <= set(row):
            assert 1 - row["mPC"] / row["P"] == pytest.approx(row["drop"], abs=2e-4)
            checked += 1
    assert checked == 24


def test_table_7_of_utrera_says_what_it_is_known_to_say() -> None:
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for r in all_records():
        if (r.paper, r.place) == ("utrera2021", "Table 7"):
            rows.setdefault((r.dataset, r.note.split()[0]), {})[r.source] = r.value
    assert len(rows) == 60 and all(len(row) == 5 for row in rows.values())
    lost = {s: sum(r[s] <= r["in1k"] for r in rows.values()) for s in ("l2_eps3", "linf_eps4", "linf_eps8")}
    assert lost == {"l2_eps3": 1, "linf_eps4": 2, "linf_eps8": 11}
    scratch = [key for key, row in rows.items() if row["random"] == max(row.values())]
    assert len(scratch) == 7 and {("svhn", "25600"), ("svhn", "all"), ("kmnist", "all")} < set(scratch)


def test_what_could_not_be_read_at_its_source_is_not_there() -> None:
    assert not [r for r in all_records() if r.paper == "salman2020" and r.place == "Table 1"]


def test_accuracy_under_attack_falls_with_its_strength_and_its_steps() -> None:
    rows: dict[tuple[str, str], list[float]] = {}
    for r in all_records():
        if r.paper == "engstrom2019":
            rows.setdefault((r.source, r.note.split(",")[0]), []).append(r.value)
    assert len(rows) == 6 and all(values == sorted(values, reverse=True) for values in rows.values())
    assert all(rows[s, "PGD(100)"] <= values for (s, _), values in rows.items())


def test_the_trend_by_hand() -> None:
    line = fit([("a", 0.1, 0.15), ("b", 0.2, 0.25), ("c", 0.3, 0.35)])
    assert line is not None and line.few
    assert (line.slope, line.offset) == pytest.approx((1.0, 0.05))
    assert line.residual(0.5, 0.5) == pytest.approx(-0.05)
    assert fit([("a", 0.1, 0.1)] * 5) is None


def test_the_trend_is_of_the_same_test_set_only(tmp_path: Path) -> None:
    runs = load_runs([make_run(tmp_path, "coco"), make_run(tmp_path, "own", n_images=26, labels={"data": "own"})])
    coco, own = group_runs(runs)
    assert residual(coco, runs[0]) is not None and residual(own, runs[1]) is None
    assert len(trend_points("coco_val2017", "bbox_mAP")) == 12


def test_paper_against_yours_needs_set_method_and_metric(tmp_path: Path) -> None:
    match = make_run(tmp_path, "match", transfer="fixed")
    others = [
        make_run(tmp_path, "set", n_images=26, labels={"data": "fruits", "method": "Mask R-CNN"}),
        make_run(tmp_path, "method", labels={"run": "method", "config": "retina_net_mine"}),
        make_run(tmp_path, "preview", limit=50, labels={"run": "p", "data": "coco_val2017", "config": "maskrcnn_r50"}),
    ]
    table, doubts = paper_against_yours(load_runs([match, *others]))
    assert table is not None and {row[0].text for row in table.rows} == {"match"}
    assert any("severities are never stated" in doubt for doubt in doubts)
    assert paper_against_yours(load_runs(others))[0] is None
    first = table.rows[0]
    assert first[1].text == "Yamada & Otani 2022, Table 1" and first[-1].text == "all"


@pytest.mark.realdata
def test_imported_results_are_the_printed_ones(real_data: Path) -> None:
    root = real_data / "ref_robustness_results" / "detection"
    found = {item.card["labels"]["file"]: item for item in import_folder(root).values()}
    assert len(found) == 16
    for path in root.rglob("*_results.json"):
        item = found[path.name]
        summary = summarise(read_result_file(path)[0][item.headline])
        assert {c: cell.metrics[item.headline] for c, cell in item.cells.items()}
        assert item.card["unknown"] and len(item.cells) == 1 + 19 * 5
        printed = [
            r
            for r in all_records()
            if r.paper == "michaelis2019"
            and (r.dataset, r.method, r.backbone, r.metric)
            == (
                item.card["labels"]["data"],
                item.card["labels"]["method"],
                item.card["freeze_map"]["backbone"]["arch"],
                item.headline,
            )
            and r.quantity == "mPC"
            and bool(r.note) == ("stylised" in item.card["labels"]["training"])
        ]
        if printed and "stylised" not in item.card["labels"]["training"]:
            assert min(abs(r.value - summary.mPC) for r in printed) < 0.0025, path.name
