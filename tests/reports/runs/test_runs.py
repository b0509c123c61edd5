from __future__ import annotations

import json
import logging
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue, RunConflict
from rtx.reports.build import build
from rtx.reports.runs.eps_lines import eps_lines
from rtx.reports.runs.groups import group_runs, unlike
from rtx.reports.runs.intervals import Resamples, difference
from rtx.reports.runs.naming import dataset_of, method_of, source_of, unique_names
from rtx.reports.runs.runs import load_run, load_runs
from rtx.reports.strips.selection import choose, models_shown
from rtx.reports.tables.run_tables import of_group, over_seeds
from rtx.reports.text.banners import banners, merged
from rtx.reports.text.verdict import gain, verdict
from rtx.results.by_class import write_classes
from rtx.results.command import Command, note_command
from rtx.results.confidence import Known, read_confidences, table_bytes, write_confidences
from rtx.results.evaluation import Evaluation
from rtx.results.examples import read_examples
from rtx.sources.catalog.rows import CATALOG
from rtx.types import CLEAN, SEVERITIES, Condition
from tests.reports.made import card, make_evidence_run, make_examples, make_family, make_run, score, write_intervals

FOG = (CLEAN, *(Condition("fog", s) for s in SEVERITIES))


def test_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path, "m", clean=0.4, robust=0.3))
    for condition, value in run.grid().items():
        assert value == score(0.4, condition, 0.3)
    values = [score(0.4, Condition(n, s), 0.3) for n in BENCHMARK for s in SEVERITIES]
    assert run.summary.mPC == pytest.approx(math.fsum(values) / 75, abs=1e-15)
    assert run.missing == () and run.dataset == "coco_val2017" and run.method == "Mask R-CNN"


def test_a_folder_of_runs_means_each_of_them(tmp_path: Path) -> None:
    make_family(tmp_path / "all")
    (tmp_path / "all" / "notes").mkdir()
    assert [run.name for run in load_runs([tmp_path / "all"])] == [
        "eps3 fixed",
        "eps3 full",
        "standard fixed",
        "standard full",
    ]


def test_a_training_run_means_its_corruption_eval(tmp_path: Path) -> None:
    make_run(tmp_path / "work", "corruption_eval", labels={"run": "my model"})
    assert load_runs([tmp_path / "work"])[0].name == "my model"


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    a = make_run(tmp_path, "one", labels={"run": "mask"}, transfer="fixed")
    b = make_run(tmp_path, "two", labels={"run": "mask"}, transfer="full")
    assert [run.name for run in load_runs([a, b])] == ["mask fixed", "mask full"]
    assert unique_names([("a",), ("a",)]) == ["a #1", "a #2"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: (out / "protocol.json").write_text("{"), "protocol.json"),
        (lambda out: (out / "summary.json").write_text("[]"), "summary.json"),
    ],
    ids=["card", "summary"],
)
def test_damage_is_named(tmp_path: Path, damage: object, message: str) -> None:
    out = make_run(tmp_path, "m", resamples=20)
    damage(out)  # type: ignore[operator]
    with pytest.raises(BadValue, match=message):
        load_run(out)


def test_no_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="rtx corrupt_eval"):
        load_runs([tmp_path])
    with pytest.raises(BadValue, match="twice"):
        load_runs([make_run(tmp_path, "m"), tmp_path / "m"])


def test_a_cell_of_another_protocol_is_refused(tmp_path: Path) -> None:
    a, b = make_run(tmp_path, "a"), make_run(tmp_path, "b", corruption_seed=1)
    (a / "cells" / "fog_3.json").write_text((b / "cells" / "fog_3.json").read_text())
    with pytest.raises(RunConflict, match="fog_3"):
        load_run(a)


def test_a_partial_grid_never_says_mpc(tmp_path: Path) -> None:
    runs = load_runs([make_run(tmp_path, "whole"), make_run(tmp_path, "part", conditions=FOG)])
    (group,) = group_runs(runs)
    said = verdict(group, runs[1])
    assert said.incomplete and "mPC(1/15" in said.sentence and said.big_label != "mPC"
    assert gain(group, runs[1]) is None
    (banner,) = [b for b in banners([group]) if b.title == "Incomplete: part"]
    assert banner.level == "stop" and "gaussian_noise" in banner.text and "fog" not in banner.text
    assert banner.command.startswith("cd /made && rtx corrupt_eval made.py made.pth --out part --corruptions benchmark")


def test_a_preview_is_named_everywhere(tmp_path: Path) -> None:
    runs = load_runs([make_run(tmp_path, "quick", limit=50, n_images=50)])
    assert runs[0].name == "quick (PREVIEW)"
    found = [b for b in banners(group_runs(runs)) if b.title.startswith("PREVIEW")]
    assert found and "--limit" not in found[0].command and "quick_whole" in found[0].command


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("precision", "amp_fp16", "precision"),
        ("channel_order", "bgr_legacy", "channel order"),
        ("corruption_seed", 3, "corruption seed"),
        ("corruption_engine", "rtx", "corruption engine"),
        ("data_sha256", "f" * 64, "data hash"),
    ],
)
def test_unlike_protocols_are_said_and_not_compared(tmp_path: Path, field: str, value: object, word: str) -> None:
    runs = load_runs([make_run(tmp_path, "a"), make_run(tmp_path, "b", **{field: value})])
    (group,) = group_runs(runs)
    assert any(word in name for name in unlike(*runs))
    assert gain(group, runs[1]) is None
    assert any(b.level == "stop" and word in b.title for b in banners([group]))
    assert group.comparable == (runs[0],)


def test_other_metrics_and_sets_do_not_share_a_group(tmp_path: Path) -> None:
    other = make_run(tmp_path, "c", labels={"data": "fruits"}, data_sha256="f" * 64)
    runs = load_runs([make_run(tmp_path, "a"), make_run(tmp_path, "b", metric="mIoU"), other])
    assert len(group_runs(runs)) == 3


def test_many_banners_of_a_kind_become_one(tmp_path: Path) -> None:
    runs = load_runs([make_run(tmp_path, f"m{i}", conditions=FOG) for i in range(6)])
    found = merged(banners(group_runs(runs)))
    assert [b.title for b in found if b.title.startswith("Incomplete")] == ["Incomplete: 6 runs"]


def test_intervals_are_read_and_never_invented(tmp_path: Path) -> None:
    bare = load_run(make_run(tmp_path, "bare"))
    assert bare.intervals.of("mPC") is None and "no confidence.json" in bare.intervals.absent
    out = make_run(tmp_path, "m", resamples=200)
    found, known = load_run(out).intervals, json.loads((out / "confidence.json").read_text())
    for name in ("P", "mPC", "rPC"):  # with and without resamples.npz the same numbers
        assert found.of(name) == pytest.approx((known[name]["low"], known[name]["high"]), abs=1e-12)
    (out / "resamples.npz").unlink()
    alone = load_run(out).intervals
    assert alone.of("rPC") == (known["rPC"]["low"], known["rPC"]["high"])
    assert alone.cell(Condition("fog", 3)) == pytest.approx(found.cell(Condition("fog", 3)))
    assert alone.severity(3) is None and alone.severity(0) == alone.of("P")


def test_intervals_of_other_scores_are_left_out(tmp_path: Path) -> None:
    out = make_run(tmp_path, "m", resamples=20)
    known = json.loads((out / "confidence.json").read_text())
    for change in (
        {"metric": "segm_mAP"},
        {"level": 0.9},
        {"P": {**known["P"], "low": 0.1}},
        {"cells": {"fog_3": {**known["cells"]["fog_3"], "value": 0}}},
    ):
        (out / "confidence.json").write_text(json.dumps({**known, **change}))
        found = load_run(out).intervals
        assert found.of("mPC") is None and found.resamples is None and "confidence.json" in found.absent


def test_intervals_of_evidence_pair_between_runs_on_the_same_images(tmp_path: Path) -> None:
    a, b = (make_evidence_run(tmp_path, name, robust=robust) for name, robust in (("a", 0.2), ("b", 0.6)))
    assert load_run(a).intervals.of("mPC") is None, "a report reads no evidence"
    known, _ = (write_confidences(Evaluation.read(out), ["mIoU"])["mIoU"] for out in (a, b))
    assert known.mPC and load_run(a).intervals.of("mPC") == (known.mPC.low, known.mPC.high)
    pair = difference(load_run(a).intervals, load_run(b).intervals, Resamples.mean)
    assert pair is not None and pair[0] > 0


def test_a_paired_difference_is_tighter_than_its_parts(tmp_path: Path) -> None:
    a = load_run(make_run(tmp_path, "aa", resamples=400))
    b = load_run(make_run(tmp_path, "bbbb", robust=0.3, resamples=400))
    low, high = difference(a.intervals, b.intervals, Resamples.mean) or (0, 0)
    assert low < b.summary.mPC - a.summary.mPC < high
    one, two = a.intervals.of("mPC") or (0, 0), b.intervals.of("mPC") or (0, 0)
    assert high - low < 0.5 * ((one[1] - one[0]) + (two[1] - two[0]))


def test_other_draws_are_not_paired(tmp_path: Path) -> None:
    import numpy as np

    a, b = make_run(tmp_path, "aa", resamples=20), make_run(tmp_path, "b", resamples=20)
    with np.load(b / "resamples.npz") as table:
        arrays = dict(table)
    columns = enumerate(arrays["conditions"])
    rows = {Condition.from_key(key): np.insert(arrays["bbox_mAP"][:, n], 0, 0.0) for n, key in columns}
    evaluation = Evaluation.read(b)
    known = read_confidences(evaluation)
    assert isinstance(known, Known)
    write_intervals(evaluation, [known.headline], table_bytes(rows, "bbox_mAP", "others"))
    assert load_run(b).intervals.resamples is not None
    assert difference(load_run(a).intervals, load_run(b).intervals, Resamples.mean) is None


def test_sources() -> None:
    assert source_of(card("m", source="resnet50_linf_eps4")).eps == 4
    assert source_of(card("m")).eps == 0
    assert source_of({"source": None}).eps is None
    assert source_of({"source": "random"}).eps is None


@pytest.mark.parametrize("arch", [None, "timm:tf_efficientnet_lite0"])
def test_imagenet_sources_of_every_architecture_are_standard(arch: str | None) -> None:
    drawn = {"freeze_map": {"backbone": {"arch": arch}}} if arch else {}
    assert source_of({"source": "efficientnet_lite0_in1k", **drawn}).eps == 0
    assert not [name for name in CATALOG if re.search("_in1k(_v[12])?$", name) and source_of({"source": name}).eps != 0]
    assert source_of({"source": "swin_b_w12_in22k"}).arch == "swin_b_w12"


def test_the_card_of_another_place_is_not_needed(tmp_path: Path) -> None:
    out = make_run(tmp_path, "m")
    (out / "summary.json").unlink()
    assert load_run(out).metric == "bbox_mAP"
    assert json.loads((out / "protocol.json").read_text())["labels"]["run"] == "m"


def test_masks_beside_boxes_do_not_make_box_ap_another_metric(tmp_path: Path) -> None:
    metric = {"scorer": "coco", "n_classes": 80, "kinds": ["bbox", "segm"]}
    a, b = (
        make_run(tmp_path, "faster", metric_card={**metric, "kinds": ["bbox"]}),
        make_run(tmp_path, "mask", metric_card=metric),
    )
    other = make_run(tmp_path, "other", metric_card={**metric, "n_classes": 20})
    one, two, three = (load_run(path) for path in (a, b, other))
    assert unlike(one, two) == () and unlike(one, three) == ("metric definition or scorer",)


def test_eps_lines_of_two_detectors_are_not_called_two_transfers(tmp_path: Path) -> None:
    rows = [("a", "fasterrcnn_r50", "fixed", 0), ("b", "fasterrcnn_r50", "fixed", 3)]
    rows += [("c", "maskrcnn_r50", "full", 0), ("d", "maskrcnn_r50", "full", 3)]
    paths = [
        make_run(tmp_path, n, source=f"resnet50_l2_eps{eps}", transfer=mode, labels={"run": n, "config": config})
        for n, config, mode, eps in rows
    ]
    found = [line.mode for line in eps_lines(group_runs(load_runs(paths))[0])]
    assert found == ["fixed (Faster R-CNN)", "full (Mask R-CNN)"]
    assert [line.mode for line in eps_lines(group_runs(load_runs(paths[:2]))[0])] == ["fixed"]


def test_strips_leave_out_models_that_saw_other_pixels(tmp_path: Path) -> None:
    paths = [make_run(tmp_path, "a"), make_run(tmp_path, "b", corruption_seed=1), make_run(tmp_path, "c")]
    for path in paths[:2]:
        make_examples(path, robust=0.3)
    runs = load_runs(paths)
    examples = {run.folder: read_examples(run.folder, run.card) for run in runs[:2]}
    shown, left_out = models_shown(group_runs(runs)[0], examples)  # type: ignore[arg-type]
    assert [name for name, _ in shown] == ["a"] and {name for name, _ in left_out} == {"b", "c"}


def test_strips_show_each_family_once(tmp_path: Path) -> None:
    path = make_run(tmp_path, "a")
    make_examples(path, robust=0.2)
    found = read_examples(path)
    assert found is not None
    chosen = choose([found])
    assert [c.reason for c in chosen[:2]] == ["median drop", "worst drop"]
    assert len({(c.image, c.corruption) for c in chosen}) == len(chosen)
    # Digital has one corruption with examples, all others as many as there are: every family is there.
    assert {"median of noise", "median of blur", "median of weather", "median of digital"} <= {c.reason for c in chosen}


def test_data_and_method_are_what_the_labels_say_and_nothing_is_guessed() -> None:
    coco = {"metric": {"n_classes": 80, "scorer": "coco"}, "n_images": 5000, "labels": {"config": "maskrcnn_r50_coco"}}
    assert (dataset_of(coco), method_of(coco)) == ("unknown data", "unknown")
    stated = {**coco, "labels": {"data": "coco_val2017", "method": "Mask R-CNN"}}
    assert (dataset_of(stated), method_of(stated)) == ("coco_val2017", "Mask R-CNN")


@pytest.mark.parametrize("name", ["\ufeffcat", "\x1b[31mred\r\n", "x" * 4000, "a b " * 1000, "水果" * 500, "\u202egnp"])
def test_odd_names_neither_reach_a_reader_raw_nor_take_long(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path, name, folder="odd", classes=(name, "b"))
    make_examples(run, robust=0.3, classes=(name, "b"))
    other = make_run(tmp_path, f"{name}2", folder="other", classes=(name, "b"))
    started = time.process_time()
    report = build(load_runs([run, other]), tmp_path / "out", formats=("svg",))
    assert time.process_time() - started < 30
    html = report.page.read_text(encoding="utf-8").partition('id="cards"')[0]
    for text in (
        html,
        json.dumps(report.summary, ensure_ascii=False),
        report.summary["groups"][0]["models"][0]["name"],
    ):
        assert not [letter for letter in text if not letter.isprintable() and letter not in "\n\u00a0"]
    assert max(len(model["name"]) for model in report.summary["groups"][0]["models"]) <= 210


def test_runs_on_the_same_images_share_a_group_whatever_their_folder_is_called(tmp_path: Path) -> None:
    names = ("fruits", "copy_of_fruits", None)
    runs = [make_run(tmp_path, f"m{n}", n_images=7, labels={"run": f"m{n}", "data": d}) for n, d in enumerate(names)]
    assert [(g.dataset, len(g.runs)) for g in group_runs(load_runs(runs))] == [("fruits", 3)]
    other = make_run(tmp_path, "other", n_images=7, data_sha256="f" * 64, labels={"run": "other", "data": "fruits"})
    assert "annotations (data hash)" in unlike(load_run(runs[0]), load_run(other))


def test_intervals_over_few_images_are_not_trusted(tmp_path: Path) -> None:
    few = make_run(tmp_path, "few", n_images=3, resamples=20)
    many = make_run(tmp_path, "many", n_images=4000, resamples=20)
    found = banners(group_runs(load_runs([few, many])))
    assert [b.title for b in found if b.level == "warn"] == ["Tiny test set: few"]


def test_the_best_is_looked_for_among_comparable_runs_only(tmp_path: Path) -> None:
    rows = [("a", 0.1, {}), ("b", 0.2, {}), ("amp", 0.6, {"precision": "amp_bf16"}), ("part", 0.5, {"limit": 50})]
    group = group_runs(load_runs([make_run(tmp_path, n, robust=r, **more) for n, r, more in rows]))[0]
    for table in of_group(group):
        bold = {row[0].text for row in table.rows for entry in row[1:] if entry.best}
        assert bold <= {"a", "b"}, table.name


def test_intervals_beside_the_headline_are_read_with_it(tmp_path: Path) -> None:
    out = make_run(tmp_path, "m", resamples=20)
    evaluation = Evaluation.read(out)
    known = read_confidences(evaluation)
    assert isinstance(known, Known)
    mean = replace(known.headline.mPC, low=0.1, high=0.2)  # type: ignore[type-var]
    write_intervals(evaluation, [known.headline, replace(known.headline, metric="bbox_mAP_50", mPC=mean)])
    found = load_run(out).intervals
    assert found.of("mPC", "bbox_mAP_50") == (0.1, 0.2) and found.of("mPC", "bbox_mAP_75") is None
    text = (out / "confidence.json").read_text()
    (out / "confidence.json").write_text(text.replace('"low": 0.1,', '"low": 0.11,'))
    assert load_run(out).intervals.of("mPC", "bbox_mAP_50") is None, "edited"


def test_a_damaged_cell_is_left_out_of_a_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, hurt = make_run(tmp_path, "whole"), make_run(tmp_path, "hurt")
    (hurt / "cells" / "fog_3.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        runs = load_runs([whole, hurt])
    assert [len(run.cells) for run in runs] == [76, 75] and "fog_3.json" in caplog.text
    (group,) = group_runs(runs)
    assert [b.title for b in banners([group]) if b.level == "stop"] == ["Incomplete: hurt"]
    for path in (hurt / "cells").iterdir():
        path.write_text("{")
    with pytest.raises(BadValue, match="not an rtx cell file"):
        load_run(hurt)


@pytest.mark.parametrize("name", ["confidence.json", "resamples.npz", "by_class.json"])
def test_a_damaged_file_that_is_made_from_cells_is_left_out_and_made_again(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, hurt = (make_evidence_run(tmp_path, word, robust=0.4) for word in ("whole", "hurt"))
    evaluation = Evaluation.read(hurt)

    def write() -> None:
        write_confidences(evaluation, ["mIoU"], resamples=20)
        write_classes(evaluation, "mIoU", ["road", "sky"])

    write()
    before = (hurt / name).read_bytes()
    (hurt / name).write_bytes(before[: len(before) // 2])
    with caplog.at_level(logging.WARNING):
        runs = load_runs([whole, hurt])
    assert runs[0].cells.keys() == runs[1].cells.keys() and f"{hurt / name}: left out" in caplog.text
    write()
    assert (hurt / name).read_bytes() == before


def test_a_clean_only_run_is_complete_unless_more_was_asked_for(tmp_path: Path) -> None:
    scores = [0.40, 0.42, 0.41]
    folders = [make_run(tmp_path, f"seed{n}", clean=v, conditions=(CLEAN,)) for n, v in enumerate(scores)]
    runs = load_runs(folders)
    (group,) = group_runs(runs)
    assert all(run.clean_only for run in runs)
    assert {b.level for b in banners([group])} == {"note"}
    said = verdict(group, runs[1])
    assert said.sentence.startswith("clean ") and "INCOMPLETE" not in said.sentence and said.big_label == "P, no mPC"
    table = over_seeds(group)
    assert table is not None
    texts = [cell.text for cell in table.rows[0]]
    assert texts[-6:] == ["3", "41.00", "1.00", "0.82", "40.00", "42.00"]
    note_command(folders[0], Command(("rtx", "corrupt_eval", "x"), "/made", (CLEAN, *FOG)))
    assert not load_run(folders[0]).clean_only
