"""Training ends with the clean score of its final weights, from its own validation where that is the test set."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rtx.evaluation.clean_score import CLEAN_ONLY, clean_score_hook
from rtx.evaluation.evaluate import evaluate
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.evaluation.worlds import table

EPOCHS = dict(by_epoch=True, max_epochs=2)
STEPS = dict(type="IterBasedTrainLoop", max_iters=3, val_interval=2)


class Detector(BaseModel):
    """One weight that trains, the stand-in's predictions, and a count of the images it predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.detector = PixelDetector()
        self.validated = self.tested = 0

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> dict[str, torch.Tensor]:
        return {"loss": (self.weight**2).sum()}

    def val_step(self, data: Any) -> Any:
        self.validated += len(data["inputs"])
        return self.detector.test_step(data)

    def test_step(self, data: Any) -> Any:
        self.tested += len(data["inputs"])
        return self.detector.test_step(data)


def config(root: Path, **val: Any) -> Config:
    """A config that validates on its test set, unless `val` says otherwise."""
    cfg = coco_config(root)
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False))
    cfg.val_dataloader = {**loader, "dataset": copy.deepcopy(cfg.test_dataloader.dataset), **val}
    cfg.val_evaluator, cfg.val_cfg = cfg.test_evaluator, dict()
    return cfg


def train(cfg: Config, work_dir: Path, loop: dict[str, Any] = EPOCHS, **more: Any) -> Detector:
    model, cfg = Detector(), copy.deepcopy(cfg)
    hook = clean_score_hook(cfg)
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=DataLoader([dict(inputs=torch.zeros(1))] * 2),
        val_dataloader=cfg.val_dataloader,
        val_evaluator=cfg.val_evaluator,
        val_cfg=cfg.val_cfg,
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch="type" not in loop)),
        default_scope="mmdet",
        experiment_name=work_dir.name,
        cfg=cfg,
        **more,
    )
    if hook:
        runner.register_hook(hook)
    runner.train()
    return model


def summary_of(work_dir: Path) -> dict[str, Any]:
    return json.loads((work_dir / "corruption_eval/summary.json").read_text())


@pytest.mark.parametrize("loop", [EPOCHS, STEPS], ids=["epochs", "steps"])
def test_the_last_validation_gives_the_cell_that_an_evaluation_writes(
    made_coco: Path, tmp_path: Path, loop: dict[str, Any]
) -> None:
    cfg, work_dir = config(made_coco), tmp_path / "run"
    model = train(cfg, work_dir, loop)
    assert (model.validated, model.tested) == (2 * 4, 0), "no image goes through the model a second time"
    last = work_dir / ("iter_3.pth" if loop is STEPS else "epoch_2.pth")
    options = dict(checkpoint=last, labels={"run": "run", "config": next(work_dir.glob("*.py")).stem})
    evaluate(model, cfg, tmp_path / "apart", **CLEAN_ONLY, **options)
    assert model.tested == 4
    assert table(work_dir / "corruption_eval") == table(tmp_path / "apart")
    summary = summary_of(work_dir)
    assert summary["P"] > 0 and summary["mPC"] is None and set(summary["cells"]) == {"clean"}
    assert summary["protocol"]["checkpoint_file"] == last.name


@pytest.mark.parametrize(
    ("val", "loop"),
    [
        (dict(batch_size=2), EPOCHS),
        (dict(sampler=dict(type="DefaultSampler", shuffle=True)), EPOCHS),
        (dict(dataset="another"), EPOCHS),
        ({}, dict(by_epoch=True, max_epochs=2, val_begin=9)),
    ],
    ids=["batches that pad", "shuffled", "other data", "no validation"],
)
def test_a_validation_that_is_another_one_is_not_taken(
    made_coco: Path, tmp_path: Path, val: dict[str, Any], loop: dict[str, Any]
) -> None:
    if "dataset" in val:
        dataset = copy.deepcopy(coco_config(made_coco).test_dataloader.dataset)
        dataset.pipeline[1].scale_factor = 2.0
        val = dict(dataset=dataset)
    model = train(config(made_coco, **val), tmp_path, loop)
    assert model.tested == 4
    assert summary_of(tmp_path)["P"] > 0


def test_a_finished_run_that_is_resumed_keeps_its_cell(made_coco: Path, tmp_path: Path) -> None:
    train(config(made_coco), tmp_path)
    before = (tmp_path / "corruption_eval/cells/clean.json").read_bytes()
    model = train(config(made_coco), tmp_path, resume=True)
    assert (model.validated, model.tested) == (0, 0)
    assert (tmp_path / "corruption_eval/cells/clean.json").read_bytes() == before


def test_a_longer_training_replaces_a_clean_score_and_never_corrupted_ones(
    made_coco: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(config(made_coco), tmp_path)
    first = summary_of(tmp_path)["key"]
    train(config(made_coco), tmp_path, dict(by_epoch=True, max_epochs=3), resume=True)
    second = summary_of(tmp_path)["key"]
    assert second != first
    (tmp_path / "corruption_eval/cells/fog_1.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        train(config(made_coco), tmp_path, dict(by_epoch=True, max_epochs=4), resume=True)
    assert summary_of(tmp_path)["key"] == second
    assert "rtx corrupt_eval" in caplog.text and "--overwrite" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(test_evaluator=None), "no test_evaluator"),
        (dict(test_evaluator=dict(type="LVISMetric")), "LVISMetric"),
        (
            dict(test_dataloader=dict(dataset=dict(type="NoSuchData", pipeline=[dict(type="LoadImageFromFile")]))),
            "NoSuch",
        ),
    ],
    ids=["no evaluator", "unknown evaluator", "unknown data"],
)
def test_a_test_set_that_cannot_be_scored_is_named_before_training_and_does_not_stop_it(
    made_coco: Path, change: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config(made_coco)
    cfg._cfg_dict.update(Config(change)._cfg_dict)
    with caplog.at_level(logging.WARNING):
        assert clean_score_hook(cfg) is None
    (line,) = [text for text in caplog.messages if text.startswith("training ends without a clean score")]
    assert reason in line


def test_where_training_ends_with_a_whole_evaluation_that_holds_the_clean_cell(made_coco: Path) -> None:
    cfg = config(made_coco)
    cfg.custom_hooks = [dict(type="CorruptionEvalHook", interval=0)]
    assert clean_score_hook(cfg) is None
