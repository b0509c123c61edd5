"""The corruption-evaluation hook: it runs when it says, and a mistake in it shows before training, not after."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rtx.errors import BadValue, UnknownName
from rtx.evaluation import hook as hooks
from rtx.evaluation.hook import CorruptionEvalHook
from tests.evaluation.stand_in import PixelDetector, coco_config

OPTIONS = dict(corruptions=["frost"], severities=[1, 5], workers=0)


class Trainable(BaseModel):
    """One weight that trains, and the stand-in's predictions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.detector = PixelDetector()
        self.modes: list[bool] = []

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> dict[str, torch.Tensor]:
        self.modes.append(self.training)
        return {"loss": (self.weight**2).sum()}

    def test_step(self, data: Any) -> Any:
        assert not self.training
        return self.detector.test_step(data)


def train(
    root: Path, work_dir: Path, epochs: int = 2, loop: dict[str, Any] | None = None, resume: bool = False, **hook: Any
) -> Trainable:
    model = Trainable()
    part = coco_config(root)
    cfg = Config(dict(default_scope="mmdet", test_dataloader=part.test_dataloader, test_evaluator=part.test_evaluator))
    cfg.model = dict(type="stand-in")
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=DataLoader([dict(inputs=torch.zeros(1))] * 2),
        train_cfg=loop or dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        custom_hooks=[dict(type="CorruptionEvalHook", **{**OPTIONS, **hook})],
        default_scope="mmdet",
        experiment_name=work_dir.name,
        resume=resume,
        cfg=cfg,
    )
    runner.train()
    return model


def test_after_training_the_run_folder_holds_the_scores(made_coco: Path, tmp_path: Path) -> None:
    train(made_coco, tmp_path)
    summary = json.loads((tmp_path / "corruption_eval" / "summary.json").read_text())
    assert set(summary["cells"]) == {"clean", "frost_1", "frost_5"}
    scalars = (next(tmp_path.glob("*/vis_data")) / "scalars.json").read_text()
    assert "corrupted/bbox_mAP/P" in scalars


def test_a_preview_after_training_has_its_intervals(made_coco: Path, tmp_path: Path) -> None:
    train(made_coco, tmp_path, epochs=1, limit=3)
    folder = tmp_path / "corruption_eval"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["preview"] and summary["n_images"] == 3 and len(summary["intervals"]["P"]) == 2
    assert (folder / "confidence.json").is_file()


def test_with_an_interval_every_epoch_has_its_own_folder_and_training_goes_on(made_coco: Path, tmp_path: Path) -> None:
    model = train(made_coco, tmp_path, epochs=3, interval=1)
    keys = [json.loads((tmp_path / f"corruption_eval/epoch_{n}/summary.json").read_text())["key"] for n in (1, 2, 3)]
    assert len(set(keys)) == 3, "the weights moved, so the protocol key must"
    assert not (tmp_path / "corruption_eval" / "summary.json").exists()
    assert all(model.modes), "the model trains again in training mode"


def iterations(done: int) -> dict[str, Any]:
    return dict(type="IterBasedTrainLoop", max_iters=done, val_interval=2)


@pytest.mark.parametrize(
    ("loop", "interval", "folders"),
    [
        (iterations(5), 1, ["iter_2", "iter_4", "iter_5"]),
        (iterations(4), 2, ["iter_4"]),
        (iterations(3), 9, ["iter_3"]),
        (dict(by_epoch=True, max_epochs=3), 2, ["epoch_2", "epoch_3"]),
    ],
    ids=["every validation", "the second is the last", "only the end", "epochs"],
)
def test_an_interval_counts_validations_where_the_loop_counts_iterations_and_the_end_is_evaluated(
    made_coco: Path, tmp_path: Path, loop: dict[str, Any], interval: int, folders: list[str]
) -> None:
    model = train(made_coco, tmp_path, loop=loop, interval=interval, severities=[1])
    there = sorted(path.parent.name for path in tmp_path.glob("corruption_eval/*/summary.json"))
    assert there == folders
    assert all(model.modes), "the model trains again in training mode"


def test_a_resumed_run_keeps_the_rhythm_of_its_interval(made_coco: Path, tmp_path: Path) -> None:
    train(made_coco, tmp_path, loop=iterations(3), interval=2, severities=[1])
    train(made_coco, tmp_path, loop=iterations(5), interval=2, severities=[1], resume=True)
    there = sorted(path.parent.name for path in tmp_path.glob("corruption_eval/*/summary.json"))
    assert there == ["iter_3", "iter_4", "iter_5"]


def test_training_again_in_the_folder_replaces_the_old_scores(made_coco: Path, tmp_path: Path) -> None:
    train(made_coco, tmp_path, epochs=1)
    before = json.loads((tmp_path / "corruption_eval" / "summary.json").read_text())["key"]
    train(made_coco, tmp_path, epochs=2)
    assert json.loads((tmp_path / "corruption_eval" / "summary.json").read_text())["key"] != before


def test_finished_cells_of_the_same_weights_are_kept(made_coco: Path, tmp_path: Path) -> None:
    train(made_coco, tmp_path, epochs=1)
    cells = tmp_path / "corruption_eval" / "cells"
    made = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    (cells / "frost_5.json").unlink()  # as if the run had been killed before its last cell
    train(made_coco, tmp_path, epochs=1)
    again = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert {name for name in made if again[name] != made[name]} == {"frost_5.json"}
    train(made_coco, tmp_path, epochs=1, overwrite=True)
    assert all(path.stat().st_mtime_ns != again[path.name] for path in cells.glob("*.json"))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (dict(interval=-1), BadValue),
        (dict(corruptions=["fogg"]), UnknownName),
        (dict(severities=[6]), BadValue),
        (dict(severity=3), BadValue),
    ],
    ids=str,
)
def test_a_mistake_shows_when_the_hook_is_built(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        CorruptionEvalHook(**options)


def test_a_config_without_test_set_is_refused_before_training() -> None:
    hook = HOOKS.build(dict(type="CorruptionEvalHook"))

    class Stub:
        cfg = Config(dict(test_dataloader=None))

    with pytest.raises(BadValue, match="no test_dataloader"):
        hook.before_train(Stub())


def test_a_test_set_with_other_classes_than_the_training_set_is_refused_before_training(made_coco: Path) -> None:
    hook, part = HOOKS.build(dict(type="CorruptionEvalHook")), coco_config(made_coco)

    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=("block", "disc", "stripe"))))
    with pytest.raises(BadValue, match=r"the model was trained with label 0 as 'block', but in the .* 'disc'"):
        hook.before_train(SimpleNamespace(cfg=part, train_dataloader=loader))


def test_a_test_sees_the_statistics_of_rank_0_and_training_goes_on_with_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mmengine.dist.get_world_size", lambda: 2)
    monkeypatch.setattr("mmengine.dist.broadcast", lambda data, source: data.fill_(7))
    norm = torch.nn.BatchNorm1d(2)
    own = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    with hooks.tested_model(SimpleNamespace(hooks=[], model=norm)) as model:  # type: ignore[arg-type]
        assert model.running_mean.tolist() == [7, 7] and model.num_batches_tracked.item() == 7
        assert torch.equal(model.weight, own["weight"]), "parameters are alike already"
    assert all(torch.equal(tensor, own[name]) for name, tensor in norm.state_dict().items())
