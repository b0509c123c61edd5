"""Trackers get every score, and cannot end a run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.visualization import Visualizer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rtx.errors import UnknownName
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.tracking import Tracker, backend, with_trackers
from tests.evaluation.stand_in import PixelDetector, coco_config

FEW = dict(corruptions=("contrast",), severities=(0, 5), workers=0, resamples=0)


def test_tensorboard_has_the_scores_under_corruption(made_coco: Path, tmp_path: Path) -> None:
    with Tracker(["tensorboard"], tmp_path, "mine") as tracker:
        summary = evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "out", on_event=tracker, **FEW)
        tracker.summary(summary)
    events = EventAccumulator(str(tmp_path / "tracking")).Reload()
    assert events.Scalars("contrast/bbox_mAP")[0].step == 5
    assert events.Scalars("P")[0].value == pytest.approx(summary["P"])
    assert "config/text_summary" in events.Tags()["tensors"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_mean_over_a_part_is_not_reported_as_mpc(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, seen = Tracker([], tmp_path, "mine"), {}
    monkeypatch.setattr(tracker, "scalars", lambda values: seen.update(values))
    tracker.summary(dict(complete=whole, P=0.4, mPC=0.2, rPC=0.5, imagenet_c=dict(complete=whole, mCE=0.7)))
    found = {name for name, value in seen.items() if value is not None}
    assert found == ({"P", "mPC", "rPC", "mCE"} if whole else {"P"})


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_fails_warns_once_and_the_run_goes_on(
    name: str, made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with caplog.at_level(logging.WARNING), Tracker([name], tmp_path, "mine") as tracker:
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "out", on_event=tracker, **FEW)
    warnings = [r.getMessage() for r in caplog.records if "goes on without it" in r.getMessage()]
    assert len(warnings) == 1 and name in warnings[0]


def test_mlflow_is_given_a_database_in_the_folder_or_the_server_that_its_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow 3 refuses the plain files that mmengine asks for."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert backend("mlflow", tmp_path, "mine")["inner"]["tracking_uri"] == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    inner = backend("mlflow", tmp_path, "mine")["inner"]
    assert inner["tracking_uri"] == "http://host:5000" and "artifact_location" not in inner


def test_a_training_config_reports_once_to_each(tmp_path: Path) -> None:
    ours = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
    cfg = Config(dict(work_dir=str(tmp_path), visualizer=dict(type="Visualizer", vis_backends=ours)))
    found = with_trackers(cfg, ["tensorboard", "mlflow"], "mine").visualizer.vis_backends
    assert [b["type"] for b in found] == ["LocalVisBackend", "NeverFails", "NeverFails"]
    visualizer = Visualizer("tracked", vis_backends=[dict(b) for b in found], save_dir=str(tmp_path))
    assert len(visualizer._vis_backends) == 3
    visualizer.add_scalars({"loss": 0.5}, step=3)  # as mmengine's hooks do, in order and not by name
    visualizer.close()
    events = EventAccumulator(str(tmp_path / "tracking")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(3, 0.5)]
    with pytest.raises(UnknownName, match="did you mean 'wandb'"):
        backend("wandbb", tmp_path, "mine")
