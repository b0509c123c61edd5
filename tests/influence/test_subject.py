"""Heads of sources and of run folders, with their features, labels and pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope

from rtx import config as configs
from rtx.errors import BadValue, DataError
from rtx.evaluation.models.load import load_model
from rtx.influence.subject import last_layer, of_run, of_source
from rtx.transfer.classify import TargetOptions, fit_to_source, with_target
from tests.probe.worlds import colours, options

ROOT = Path(__file__).resolve().parents[2]
HOW: dict[str, Any] = dict(data_root=None, tests=None, seed=0, device="cpu", batch_size=5, workers=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours(tmp_path_factory.mktemp("data"))


def run_folder(folder: Path, data: Path, **more: Any) -> Path:
    """As training leaves it, but for the training."""
    cfg = configs.load(ROOT / "configs" / "classify_r50.py")
    cfg.model.backbone.update(depth=18, source="random")
    cfg.model.head.in_channels = 512
    cfg = fit_to_source(with_target(cfg, TargetOptions("folder", str(data), image_size=32, images=12, seed=3, **more)))
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    model = MODELS.build({"data_preprocessor": cfg.data_preprocessor, **cfg.model})
    folder.mkdir()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    cfg.dump(str(folder / "classify_r50.py"))
    return folder


def test_a_source_has_its_optimum(tmp_path: Path, data: Path) -> None:
    subject = of_source(replace(options(tmp_path, data), images=(12,)), tests=6, seed=1)
    assert subject.head.train.shape == (12, 512) and subject.head.test.shape == (6, 512)
    assert subject.head.gradient_norm() < 1e-6 and subject.head.decay == subject.card["decay"] > 0
    assert set(subject.head.train_labels) == set(subject.head.test_labels) == {0, 1, 2}
    assert subject.pixels("train", 0).shape == (32, 32, 3)
    again = of_source(replace(options(tmp_path, data), images=(12,)), tests=6, seed=2)
    assert not np.array_equal(again.head.train, subject.head.train)


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_run_has_what_its_model_predicts(tmp_path: Path, data: Path, hidden: int) -> None:
    folder = run_folder(tmp_path / "run", data, hidden_layers=hidden)
    subject = of_run(folder, **HOW)
    assert subject.head.train.shape == (12, 512) and len(subject.head.test) == 12
    assert subject.head.decay == 5e-4 and subject.head.bias_decays and subject.classes == ("c0", "c1", "c2")
    cfg = configs.load(folder / "classify_r50.py")
    model = load_model(cfg, folder / "epoch_1.pth")
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    samples = model.test_step(pseudo_collate([dataset[n] for n in range(12)]))
    logits = torch.from_numpy(subject.head.test @ subject.head.weight.T + subject.head.bias)
    assert torch.allclose(logits.softmax(1).float(), torch.stack([one.pred_score for one in samples]), atol=1e-5)
    assert subject.head.test_labels.tolist() == [int(one.gt_label) for one in samples]
    # Training images in the steps of the test: the same features a second time. Pixels are RGB, of the class's tint.
    assert np.array_equal(of_run(folder, **HOW).head.train, subject.head.train)
    for row in range(12):
        pixels = subject.pixels("train", row).reshape(-1, 3).mean(0)
        assert pixels.argmax() == subject.head.train_labels[row] or np.ptp(pixels) < 1  # the grey ones


def test_a_run_without_its_training_images(tmp_path: Path) -> None:
    gone = colours(tmp_path / "gone")
    folder = run_folder(tmp_path / "run", gone)
    gone.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"run .*its TargetDataset is not in .*gone.*--data-root"):
        of_run(folder, **HOW)
    assert len(of_run(folder, **{**HOW, "data_root": tmp_path / "moved"}).head.train) == 12


def test_runs_that_are_none(tmp_path: Path, data: Path) -> None:
    folder = run_folder(tmp_path / "run", data)
    text = (folder / "classify_r50.py").read_text()
    (folder / "classify_r50.py").write_text(text.replace("default_scope = 'mmpretrain'", "default_scope = 'mmdet'"))
    with pytest.raises(BadValue, match="trains no classifier"):
        of_run(folder, **HOW)
    (folder / "classify_r50.py").write_text(text)
    (folder / "last_checkpoint").unlink()
    with pytest.raises(BadValue, match="names no checkpoint"):
        of_run(folder, **HOW)


class _Head(torch.nn.Module):
    def __init__(self, scale: float, *, bias: bool = True) -> None:
        super().__init__()
        self.in_channels, self.scale, self.fc = 4, scale, torch.nn.Linear(4, 3, bias=bias)

    def forward(self, features: Any) -> Any:
        return self.scale * self.fc(features[-1])


def test_heads_that_are_not_linear() -> None:
    model = torch.nn.Module()
    model.head = _Head(1.0)
    assert last_layer(model, "here") is model.head.fc
    for head in (_Head(2.0), _Head(1.0, bias=False), torch.nn.Sequential(torch.nn.ReLU())):
        model.head = head
        with pytest.raises(BadValue, match=f"here: the head {type(head).__name__} does not end in a linear layer"):
            last_layer(model, "here")
