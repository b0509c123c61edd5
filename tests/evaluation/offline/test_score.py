from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rtx.cli.main import main
from rtx.errors import BadValue, DataError, RunConflict, UnknownName
from rtx.evaluation.offline.score import exported_settings, find_predictions, score_predictions
from rtx.evaluation.offline.truth import CocoFile, LabelFolder
from rtx.metrics import miou
from rtx.metrics.coco_truth import read_truth
from rtx.reports.runs.compare import compare
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.results.conditions import grid
from rtx.results.evaluation import Evaluation
from rtx.results.intervals import confidence
from rtx.results.predictions import detections_to_bytes, encode_map, maps_to_bytes
from rtx.results.protocol import differing
from rtx.types import Condition
from tests.metrics.coco_worlds import CATEGORIES, results, world, write_annotations
from tests.metrics.scores import coco_ap

FOG = Condition("fog", 3)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Folder with an annotation file and predictions for two conditions, one as a file and one as a folder."""
    _, content, found = world(0)
    write_annotations(tmp_path / "truth.json", content)
    worse = sorted(found, key=lambda d: len(d.scores))[:3]  # the images with most objects are missed
    home = tmp_path / "predictions"
    (home / "fog_3").mkdir(parents=True)
    (home / "clean.json").write_text(json.dumps(results(found)))
    (home / "fog_3" / "results.json").write_text(json.dumps(results(worse)))
    return tmp_path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Folder with label maps of four images and predictions for two conditions."""
    rng = np.random.default_rng(0)
    for name in ("labels", "predictions/clean", "predictions/fog/3"):
        (tmp_path / name).mkdir(parents=True)
    for n in range(4):
        truth = rng.integers(1, 5, (12, 14))
        truth[0] = 0  # not labelled, in ADE20K's convention
        (tmp_path / "labels" / f"{n}.png").write_bytes(encode_map(truth))
        for place, share in (("clean", 0.9), ("fog/3", 0.6)):
            guess = np.where(rng.random(truth.shape) < share, truth, rng.integers(1, 5, truth.shape)) - 1
            (tmp_path / "predictions" / place / f"{n}.png").write_bytes(encode_map(np.maximum(guess, 0)))
    return tmp_path


def test_results_made_elsewhere_give_cells_summary_and_intervals(
    coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = coco / "out"
    arguments = ["score", str(coco / "predictions"), "--coco", str(coco / "truth.json"), "--out", str(out)]
    assert main([*arguments, "--resamples", "200"]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    _, _, found = world(0)
    truth = read_truth(coco / "truth.json")
    order = list(truth.categories)
    assert tuple(order) == CATEGORIES
    expected = coco_ap(truth, found, order, kinds=("bbox", "segm"))
    cell = summary["cells"]["clean"]["metrics"]
    assert cell == pytest.approx({k: v if v == v else None for k, v in expected.items()}, abs=1e-9)
    assert summary["metric"] == "bbox_mAP" and summary["label"] == "mPC(1/15 corruptions, severity 3)"
    assert summary["P"] == cell["bbox_mAP"] > summary["mPC"] > 0 and not summary["complete"]
    assert summary["n_images"] == 6 and summary["key"] == json.loads((out / "cells/fog_3.json").read_text())["key"]
    assert summary["protocol"]["labels"] == {"run": "predictions", "data": coco.name}
    intervals = json.loads((out / "confidence.json").read_text())
    assert intervals["P"]["value"] == pytest.approx(summary["P"], abs=1e-12)
    assert intervals["mPC"]["low"] < summary["mPC"] < intervals["mPC"]["high"]
    ends = f"[{100 * intervals['P']['low']:.2f}, {100 * intervals['P']['high']:.2f}]"
    assert f"{100 * summary['P']:.2f} {ends}" in " ".join(printed.split()) and "INCOMPLETE" in printed


def test_kept_predictions_of_an_evaluation_score_alike(coco: Path) -> None:
    _, _, found = world(0)
    kept = coco / "kept"
    kept.mkdir()
    (kept / "clean.npz").write_bytes(detections_to_bytes(found, CATEGORIES))
    mine = score_predictions(kept, CocoFile(coco / "truth.json"), coco / "a")
    theirs = score_predictions(coco / "predictions", CocoFile(coco / "truth.json"), coco / "b")
    assert mine["cells"]["clean"]["metrics"] == pytest.approx(theirs["cells"]["clean"]["metrics"], abs=1e-9)
    with pytest.raises(BadValue, match="made for other categories"):
        (kept / "clean.npz").write_bytes(detections_to_bytes(found, [*CATEGORIES[:-1], 77]))
        score_predictions(kept, CocoFile(coco / "truth.json"), coco / "c")


def test_label_maps_give_the_miou_of_summed_counts(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = labels / "out"
    arguments = ["score", str(labels / "predictions"), "--labels", str(labels / "labels"), "--out", str(out)]
    assert main([*arguments, "--n-classes", "4", "--reduce-zero-label", "--resamples", "50"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    total = miou.PixelCounts.empty(4)
    for n in range(4):
        from PIL import Image

        truth = np.asarray(Image.open(labels / f"labels/{n}.png")).astype(int) - 1
        guess = np.asarray(Image.open(labels / f"predictions/fog/3/{n}.png")).astype(int)
        total += miou.count(guess, np.where(truth < 0, 255, truth), 4)[0]
    assert summary["cells"]["fog_3"]["metrics"]["mIoU"] == miou.scores(total)["mIoU"]
    assert summary["P"] > summary["mPC"] and json.loads((out / "confidence.json").read_text())["n_images"] == 4
    maps = ((f"{n}", (labels / f"predictions/fog/3/{n}.png").read_bytes()) for n in range(4))
    zipped = labels / "zipped"
    zipped.mkdir()
    (zipped / "fog_3.zip").write_bytes(maps_to_bytes(maps))
    again = score_predictions(zipped, LabelFolder(labels / "labels", 4, reduce_zero_label=True), labels / "b")
    assert again["cells"]["fog_3"]["metrics"] == summary["cells"]["fog_3"]["metrics"]
    assert main([*arguments, "--overwrite"]) == 2
    assert "--labels needs --n-classes" in capsys.readouterr().err


def test_label_maps_must_be_those_of_the_ground_truth(labels: Path) -> None:
    truth = LabelFolder(labels / "labels", 4, reduce_zero_label=True)
    assert (labels / "predictions/clean/3.png").rename(labels / "predictions/clean/9.png")
    with pytest.raises(BadValue, match="label map '9' has no ground truth"):
        score_predictions(labels / "predictions", truth, labels / "out")
    (labels / "predictions/clean/9.png").unlink()
    with pytest.raises(BadValue, match=r"clean: lacks 1 of the 4 evaluated images, the first is '3'"):
        score_predictions(labels / "predictions", truth, labels / "out")
    (labels / "predictions/clean/3.png").write_bytes(encode_map(np.zeros((3, 3), int)))
    with pytest.raises(BadValue, match=r"clean: 3: predictions of shape \(3, 3\)"):
        score_predictions(labels / "predictions", truth, labels / "out")
    assert not (labels / "out").exists(), "nothing is written before one condition was good"
    with pytest.raises(DataError, match="is no folder of label maps"):
        LabelFolder(labels / "absent", 4)


def test_conditions_are_found_in_either_layout_and_misnamed_ones_refused(tmp_path: Path) -> None:
    for name in ("clean", "fog_3", "snow/2", "snow/5", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "manifest.jsonl").write_text("")
    keys = [c.key for c in find_predictions(tmp_path, (".json",))]
    assert keys == ["clean", "snow_2", "snow_5", "fog_3"]
    (tmp_path / "fog_3.json").write_text("[]")
    with pytest.raises(BadValue, match="fog_3 is there twice"):
        find_predictions(tmp_path, (".json",))
    (tmp_path / "fog_3.json").rename(tmp_path / "fogg_3.json")
    with pytest.raises(UnknownName, match="did you mean 'fog'"):
        find_predictions(tmp_path, (".json",))
    (tmp_path / "fogg_3.json").rename(tmp_path / "fog_9.json")
    with pytest.raises(BadValue, match=r"fog_9\.json: not named after a condition"):
        find_predictions(tmp_path, (".json",))
    with pytest.raises(BadValue, match="no such folder"):
        find_predictions(tmp_path / "absent", (".json",))
    shutil.rmtree(tmp_path / "snow")
    with pytest.raises(BadValue, match="holds no predictions"):
        find_predictions(tmp_path / ".hidden", (".json",))


def test_other_predictions_do_not_mix_with_old_scores(coco: Path) -> None:
    truth, out = CocoFile(coco / "truth.json"), coco / "out"
    first = score_predictions(coco / "predictions", truth, out)
    assert score_predictions(coco / "predictions", truth, out) == first
    (coco / "predictions/fog_3/results.json").write_text("[]")
    with pytest.raises(RunConflict, match="predictions_sha256"):
        score_predictions(coco / "predictions", truth, out)
    changed = score_predictions(coco / "predictions", truth, out, overwrite=True)
    assert changed["cells"]["fog_3"]["metrics"]["segm_mAP"] == 0 and changed["cells"]["fog_3"]["flags"] == [
        "no predictions"
    ]
    assert confidence(Evaluation.read(out).evidence, "segm_mAP", resamples=20).mPC is not None


def test_two_runs_are_compared_on_the_same_pixels_only(coco: Path) -> None:
    truth = CocoFile(coco / "truth.json")
    stated = {"corruption_engine": "rtx", "corruption_seed": 0}
    score_predictions(coco / "predictions", truth, coco / "a", stated=stated)
    (coco / "predictions/fog_3/results.json").write_text((coco / "predictions/clean.json").read_text())
    score_predictions(coco / "predictions", truth, coco / "b", stated=stated)
    score_predictions(coco / "predictions", truth, coco / "c", stated={**stated, "corruption_seed": 1})
    a, b, c = (Evaluation.read(coco / name).card for name in "abc")
    assert differing(a, b) == [] and differing(a, c) == ["corruption_seed"]
    assert differing(a, {**a, "weights_sha256": "other", "config_sha256": "other"}) == []
    (coco / "a/cells/fog_3.npz").unlink()
    with pytest.raises(BadValue, match=r"fog_3\.npz: not an rtx evidence file"):
        confidence(Evaluation.read(coco / "a").evidence, "bbox_mAP")
    with pytest.raises(BadValue, match="give the output folder of an evaluation"):
        Evaluation.read(coco / "absent")


def test_two_models_scored_on_the_same_ground_truth_are_compared_and_ranked(labels: Path) -> None:
    truth = LabelFolder(labels / "labels", 4, reduce_zero_label=True)
    for n, (name, place) in enumerate((("one", "fog/3"), ("two", "clean"))):
        for condition in grid():
            shutil.copytree(labels / "predictions" / place, labels / name / condition.key)
        score_predictions(labels / name, truth, labels / f"scored{n}")
    a, b = load_runs([labels / "scored0", labels / "scored1"])
    assert compare(a, b).line("mPC").change > 0
    (group,) = group_runs([a, b])
    assert group.comparable == (a, b) and "highest mPC" in group.roles["two"]
    assert differing(a.card, b.card) == []


def test_what_an_exported_set_states_goes_into_the_card(coco: Path) -> None:
    head = {
        "layout": "coco",
        "rtx": "0.1",
        "image_key": "file_stem",
        "engine": "rtx",
        "seed": 3,
        "channel_order": "rgb",
    }
    (coco / "manifest.jsonl").write_text(json.dumps({"settings": {**head, "quality": 95}}) + "\n")
    stated = exported_settings(coco)
    assert (stated["corruption_engine"], stated["corruption_seed"]) == ("rtx", 3)
    summary = score_predictions(coco / "predictions", CocoFile(coco / "truth.json"), coco / "out", stated=stated)
    assert summary["protocol"]["corruption_seed"] == 3 and summary["protocol"]["precision"] == "unstated"
    assert "elastic_smoothing" not in summary["protocol"]
    large = {**head, "quality": 95, "elastic_smoothing": "sliding_waves"}
    (coco / "manifest.jsonl").write_text(json.dumps({"settings": large}) + "\n")
    assert exported_settings(coco) == {**stated, "elastic_smoothing": "sliding_waves"}
    (coco / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(BadValue, match="not an rtx manifest of an exported set"):
        exported_settings(coco)
