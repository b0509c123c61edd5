"""Trainings on targets as units: words, cost, scores by epoch, and what stays on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rtx.experiments.classification import image_passes, remove_weights, scores_by_epoch, training_images
from rtx.experiments.collect import columns_of_runs
from rtx.experiments.command import work
from rtx.experiments.plan import cost, units_of
from rtx.experiments.read import read, read_file
from rtx.experiments.store import State
from rtx.sources.catalog.archs import build_reference

MINE = """
experiment = dict(title="t", paper="utrera2021", place="Table 7", question="?", evaluation="{evaluation}", {more})
runs = [dict(name="a", config="classify_r50.py", source="random", transfer="{transfer}", seeds=(1, 2),
             flags=dict(target="pets", recipe="utrera", images=400, subset=True))]
"""


def mine(tmp_path: Path, evaluation: str = "clean", transfer: str = "full", more: str = "") -> Path:
    path = tmp_path / "utrera2021_mine.py"
    path.write_text(MINE.format(evaluation=evaluation, transfer=transfer, more=more), "utf-8")
    return path


def test_a_clean_training_on_a_target_is_one_unit(tmp_path: Path) -> None:
    experiment = read_file(mine(tmp_path))
    first, second = units_of(experiment, work_dirs="w", data_root="/data")
    words = " ".join(first.settings["words"])
    assert words.startswith("python tools/train.py configs/classify_r50.py --source random --transfer full --seed 1 ")
    assert "--target pets --recipe utrera --images 400 --subset --data-root /data/pets" in words
    assert first.settings["summary"] == "w/utrera2021_mine/a/seed1/corruption_eval/summary.json"
    assert (first.name, second.name, first.needs) == ("a/seed1/train", "a/seed2/train", ())
    # 400 images, 100 epochs, forward and backward; tested 5 times on the 3,669 images of the published test set.
    assert first.images == 400 * 100 * 2 + 5 * 3669
    # The leaf says 20 minutes for 150 epochs on 3,030 images.
    assert first.gpu_hours == pytest.approx(400 * 100 / (150 * 3030) * 20 / 60)
    kept = units_of(read_file(mine(tmp_path, more="keep_weights=False")))[0]
    assert kept.disk_bytes is not None and first.disk_bytes is not None and kept.disk_bytes * 100 < first.disk_bytes


def test_a_source_is_collected_under_the_name_that_probes_give_it(tmp_path: Path) -> None:
    own = tmp_path / "own.pth"
    torch.save(build_reference("resnet18", num_classes=5).state_dict(), own)
    for given, listed in ((f"{own}", f"resnet18:{own}"), ("gone.pth", "gone.pth"), ("r18_eps3", "resnet18_l2_eps3")):
        path = mine(tmp_path)
        path.write_text(path.read_text("utf-8").replace('"random"', f'"{given}"'), "utf-8")
        assert columns_of_runs(read_file(path))["a"]["source"] == listed


def test_options_of_a_run_are_collected(tmp_path: Path) -> None:
    path = mine(tmp_path)
    assert columns_of_runs(read_file(path))["a"]["options"] is None
    text = path.read_text("utf-8").replace("seeds=", 'options={"train_dataloader.batch_size": 32, "b": "c"}, seeds=')
    path.write_text(text, "utf-8")
    assert columns_of_runs(read_file(path))["a"]["options"] == "train_dataloader.batch_size=32 b=c"


def test_a_corrupted_evaluation_is_a_unit_of_its_own(tmp_path: Path) -> None:
    units = units_of(read_file(mine(tmp_path, evaluation="corruptions", transfer="fixed")))
    assert [u.name for u in units] == [f"a/seed{n}/{step}" for n in (1, 2) for step in ("train", "evaluate")]
    assert units[0].images == 400 * 100 + 5 * 3669, "frozen features have no backward pass"
    assert units[0].gpu_hours is not None


def test_what_is_not_known_is_not_guessed() -> None:
    assert training_images({"target": "birdsnap"}) is None and image_passes({"target": "birdsnap"}, "full") is None
    units = units_of(read("salman2020_fixed"), ["resnet18_eps0_*"], seeds=[0])
    left = cost(units, {unit.name: State(unit, "missing") for unit in units})
    assert left["units"] == 12 and left["images"]["units_unknown"] == left["gpu_hours"]["units_unknown"] == 1


def test_scores_by_epoch_are_of_the_last_time_an_epoch_was_tested(tmp_path: Path) -> None:
    rows = {"20260101_000000": [(20, 41.0), (40, 40.0)], "20260102_000000": [(40, 45.5), (60, 47.0)]}
    for folder, scores in rows.items():
        path = tmp_path / folder / "vis_data/scalars.json"
        path.parent.mkdir(parents=True)
        lines = [{"loss": 1.0, "epoch": 1, "step": 5}]
        lines += [{"accuracy/top1": score, "single-label/recall": 1.0, "step": epoch} for epoch, score in scores]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    found = scores_by_epoch(tmp_path, "accuracy/top1")
    assert found == {"epoch.20": 0.41, "epoch.40": 0.455, "epoch.60": 0.47}
    assert scores_by_epoch(tmp_path / "none", "accuracy/top1") == {}


def test_a_finished_training_leaves_its_scores_and_no_weights(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "1/vis_data").mkdir(parents=True)
    (run / "1/vis_data/scalars.json").write_text('{"single-label/recall": 50.0, "step": 3}\n', "utf-8")
    (run / "summary.json").write_text('{"P": 0.5, "mPC": null, "metric": "mean_class_accuracy"}', "utf-8")
    for name in ("epoch_3.pth", "other.pth"):
        (run / name).touch()
    settings = {"words": ["true"], "summary": str(run / "summary.json"), "run": str(run)}
    settings["epochs_of"] = "single-label/recall"
    assert work(settings, "cpu") == {"P": 0.5, "epoch.3": 0.5} and (run / "epoch_3.pth").exists()
    work({**settings, "keep_weights": False}, "cpu")
    assert not (run / "epoch_3.pth").exists() and (run / "other.pth").exists()
    remove_weights(tmp_path / "none")
