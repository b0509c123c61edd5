"""Published numbers stand beside a run only where its card allows it, and say how far they match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtx.reports.figures.scatter import point
from rtx.reports.published import all_records, published_metric
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.runs.trend import none_of, residual
from rtx.reports.tables.paper_tables import paper_against_yours
from rtx.reports.tables.run_tables import overall
from rtx.reports.text.wording import DASH
from rtx.types import SEVERITIES, Condition
from tests.reports.made import make_run

COCO = {"run": "m", "data": "coco_val2017", "config": "maskrcnn_r50_coco"}
OTHER_PROTOCOLS: list[tuple[dict[str, Any], str]] = [
    ({"corruption_at": "network_input"}, "corrupted at network_input"),
    ({"corruption_engine": "rtx-cifar10c"}, "corruption engine rtx-cifar10c"),
    ({"precision": "amp_fp16"}, "precision amp_fp16"),
    ({"n_images": 7}, "7 images"),
]


def _against(*paths: Path) -> list[dict[str, str]]:
    table, _ = paper_against_yours(load_runs(list(paths)))
    return [dict(zip(table.head, [e.text for e in row], strict=True)) for row in table.rows] if table else []


@pytest.mark.parametrize(("more", "why"), OTHER_PROTOCOLS)
def test_another_protocol_is_not_held_against_published_numbers(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    path = make_run(tmp_path, "m", labels=COCO, robust=0.5, **more)
    (group,) = group_runs(load_runs([path]))
    assert residual(group, group.runs[0]) is None and "above the published trend" not in point(group)
    assert why in none_of(group) and why in point(group) and any(why in note for note in overall(group).notes)
    rows = [row for row in _against(path) if not row["number"].endswith(" P")]
    assert rows and all((row["difference"], row["match"]) == (DASH, f"not compared: {why}") for row in rows)
    clean = {row["difference"] == DASH for row in _against(path) if row["number"].endswith(" P")}
    assert clean == {"corrupt" not in why}  # how images are corrupted does not touch the clean score


@pytest.mark.parametrize("precision", ["fp32", "fp32, tf32 convolutions", "fp32, channels_last"])
@pytest.mark.parametrize("engine", ["rtx", "imagecorruptions"])
def test_the_usual_protocols_are(tmp_path: Path, engine: str, precision: str) -> None:
    path = make_run(tmp_path, "m", robust=0.5, corruption_engine=engine, precision=precision)
    (group,) = group_runs(load_runs([path]))
    assert residual(group, group.runs[0]) is not None and not none_of(group)
    assert any(row["match"] == "all" and row["difference"] != DASH for row in _against(path))


def test_a_published_detector_has_no_distance_from_the_trend_it_is_part_of(tmp_path: Path) -> None:
    def imported(name: str, training: str) -> Path:
        labels = {"name": name, "data": "coco_val2017", "method": "Faster R-CNN", "training": training}
        return make_run(tmp_path, name, labels=labels, origin="published result file", source=None, transfer=None)

    (group,) = group_runs(load_runs([imported("plain", "COCO"), imported("styled", "COCO and stylised COCO")]))
    assert residual(group, group.runs[0]) is None and residual(group, group.runs[1]) is not None
    assert none_of(group) == "plain: the trend is made of it"


@pytest.mark.parametrize(
    ("config", "match"), [("maskrcnn_r50_coco", "all"), ("maskrcnn_r50_1x", "all"), ("maskrcnn_r50_3x", "all but one")]
)
def test_another_schedule_or_training_is_no_full_match(tmp_path: Path, config: str, match: str) -> None:
    path = make_run(tmp_path, "m", labels={**COCO, "config": config})
    rows = [row for row in _against(path) if row["paper"].startswith("Michaelis")]
    assert {row["match"] for row in rows} == {match} and {row["number"][-3:] for row in rows} == {"P P", "mPC", "rPC"}
    assert {row["printed for"] for row in rows} == {"resnet50, in1k, full, 1x"}
    _, doubts = paper_against_yours(load_runs([path]))
    assert any("1x schedule" in doubt for doubt in doubts)


def test_a_run_on_plain_images_is_not_called_alike_to_one_with_stylised_ones(tmp_path: Path) -> None:
    rows = _against(make_run(tmp_path, "m", labels={**COCO, "config": "fasterrcnn_r50_coco"}))
    assert rows and not any("stylised" in row["printed for"] for row in rows)
    labels = {**COCO, "config": "fasterrcnn_r50_coco", "training": "stylised images added"}
    rows = _against(make_run(tmp_path, "s", labels=labels))
    assert any("stylised" in row["printed for"] and row["match"] == "all" for row in rows)


@pytest.mark.parametrize(
    ("metric", "papers"),
    [("AP50_07", {"Michaelis"}), ("AP50_area", set()), ("AP_d2", {"Salman"}), ("bbox_mAP", set()), ("AP_coco", set())],
)
def test_each_definition_of_ap_on_voc_meets_its_own(tmp_path: Path, metric: str, papers: set[str]) -> None:
    labels = {"run": "v", "data": "voc2007_test", "config": "fasterrcnn_r50_voc"}
    rows = _against(make_run(tmp_path, "v", metric=metric, clean=0.52, n_images=4952, labels=labels))
    assert {row["paper"].split()[0] for row in rows} == papers


def _classifier(root: Path, dataset: str, **more: Any) -> Path:
    fields: dict[str, Any] = {
        "source": "resnet50_in1k_v1", "transfer": "blocks:3", "metric": "accuracy_top1", "n_images": 10000,
        "corruption_at": "network_input", "metric_card": {"scorer": "accuracy", "n_classes": 10},
        "labels": {"run": "c", "data": dataset, "config": "r50"},
    }  # fmt: skip
    return make_run(root, "c", clean=0.7, **{**fields, **more})


def test_a_labelled_classifier_sees_the_numbers_of_classifiers(tmp_path: Path) -> None:
    rows = _against(_classifier(tmp_path, "cifar10"))
    utrera = [row for row in rows if row["paper"].startswith("Utrera")]
    assert len(utrera) == 10 and {row["number"] for row in utrera} == {"top-1 accuracy P"}
    assert {row["match"] for row in utrera} == {"all but one"}  # how many images it was trained on is not on its card
    assert all("resnet50" in row["printed for"] for row in rows)


def _trained(recipe: str = "utrera", images: int | None = None, **more: Any) -> dict[str, Any]:
    return {"target": {"target": "cifar10", "recipe": recipe, "images": images, "subset": False, **more}}


@pytest.mark.parametrize(("images", "printed"), [(100, "48.49"), (25_600, "93.93"), (None, "95.36"), (50_000, "95.36")])
def test_a_training_on_a_subset_meets_the_numbers_of_its_size_alone(
    tmp_path: Path, images: int | None, printed: str
) -> None:
    rows = _against(_classifier(tmp_path, "cifar10", **_trained(images=images)))
    assert [row["printed"] for row in rows if row["paper"].startswith("Utrera")] == [printed]
    assert any(row["paper"].startswith("Salman") for row in rows) == (images in (None, 50_000))


@pytest.mark.parametrize(
    ("n_images", "subset", "why"),
    [(5647, False, ""), (900, False, "900 images"), (5647, True, "a part of the published data")],
)
def test_a_part_of_a_target_is_not_held_against_published_numbers(
    tmp_path: Path, n_images: int, subset: bool, why: str
) -> None:
    more = {**_trained("salman", target="caltech101", subset=subset), "n_images": n_images}
    more |= {"source": "resnet50_l2_eps1", "transfer": "fixed", "metric": "mean_class_accuracy"}
    rows = _against(_classifier(tmp_path, "caltech101", **more))
    fixed = [row for row in rows if "fixed" in row["printed for"]]
    assert [row["match"] for row in fixed] == [f"not compared: {why}" if why else "all"]


@pytest.mark.parametrize(("recipe", "match"), [("salman", "all"), ("utrera", "all but one")])
def test_another_papers_recipe_is_no_full_match(tmp_path: Path, recipe: str, match: str) -> None:
    more = {"source": "resnet50_l2_eps3", "transfer": "fixed", **_trained(recipe)}
    rows = _against(_classifier(tmp_path, "cifar10", **more))
    assert {row["match"] for row in rows if "fixed" in row["printed for"]} == {match}


def test_nearly_every_record_can_be_met(tmp_path: Path) -> None:
    known = {"bbox_mAP", "segm_mAP", "mIoU", "AP_d2", "AP50_07", "accuracy_top1", "mean_class_accuracy"}
    names = {published_metric(name) for name in known}
    lost = [r for r in all_records() if r.metric not in names and r.quantity != "mCE"]
    assert not lost


def test_a_run_without_clean_images_has_no_clean_score_beside_a_printed_one(tmp_path: Path) -> None:
    fog = tuple(Condition("fog", level) for level in SEVERITIES)
    assert _against(make_run(tmp_path, "m", labels=COCO, conditions=fog)) == []
