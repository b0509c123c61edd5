"""Models between two trained ones: the ends are the ends, the middle is the middle, and each is a run folder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from rtx.cli.main import main
from rtx.config import with_transfer
from rtx.errors import BadValue, RunConflict
from rtx.evaluation.models.load import load_model
from rtx.files import read_json
from rtx.interpolation import between, check_ends, interpolate, parse_alphas, read_end, source_end
from rtx.results.folder import INSIDE_RUN, last_checkpoint, run_config
from rtx.training import train
from tests.evaluation.class_folders import make_folders
from tests.small_configs import small_config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fixed and a full training of the shipped classifier, ResNet-18, one epoch of 3 steps from one source."""
    from rtx.backbones import SourceResNet

    place = tmp_path_factory.mktemp("between")
    make_folders(place / "data/train", per_class=4)
    make_folders(place / "data/val", per_class=2)
    weights = {**SourceResNet(18).state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    torch.save(weights, place / "source.pth")
    cfg = small_config("classify_r50.py", place / "data")
    cfg.model.backbone.update(depth=18, source=f"resnet18:{place / 'source.pth'}")
    cfg.model.head.in_channels = 512
    cfg.train_dataloader.update(batch_size=8, num_workers=0, persistent_workers=False)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1)
    cfg.randomness = dict(seed=0)
    for mode in ("fixed", "full"):
        one = with_transfer(copy.deepcopy(cfg), mode)
        one.work_dir = str(place / mode)
        train(one)
    return place / "fixed", place / "full"


def test_the_ends_are_the_ends_and_the_middle_is_the_mean(runs: Any) -> None:
    a, b = read_end(str(runs[0])), read_end(str(runs[1]))
    check_ends(a, b)
    for alpha, end in ((0.0, a), (1.0, b)):
        assert all(torch.equal(value, end.state[name]) for name, value in between(a.state, b.state, alpha).items())
    middle = between(a.state, b.state, 0.5)
    name = "backbone.layer4.1.conv2.weight"
    assert not torch.equal(a.state[name], b.state[name])
    torch.testing.assert_close(middle[name], (a.state[name] + b.state[name]) / 2)
    torch.testing.assert_close(
        middle["backbone.bn1.running_var"],
        (a.state["backbone.bn1.running_var"] + b.state["backbone.bn1.running_var"]) / 2,
    )
    assert torch.equal(middle["backbone.bn1.num_batches_tracked"], b.state["backbone.bn1.num_batches_tracked"])


def test_the_source_has_the_backbone_of_the_start_and_the_head_of_the_end(runs: Any) -> None:
    fixed, full = read_end(str(runs[0])), read_end(str(runs[1]))
    source = source_end(full)
    name = "backbone.layer4.1.conv2.weight"
    assert torch.equal(source.state[name], fixed.state[name]), "a fixed run still has the source's backbone"
    heads = [name for name in full.state if name.startswith("head.")]
    assert heads and all(torch.equal(source.state[name], full.state[name]) for name in heads)


def test_the_command_writes_runs_that_are_evaluated_once(
    runs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = map(str, runs)
    few = ["--corruptions", "fog", "--severities", "3", "--device", "cpu", "--workers", "0"]
    words = ["weights", "interpolate", a, b, "--alpha", "0:1:0.5", "--out", str(tmp_path), "--sweep", *few]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "0.5 fixed + 0.5 full" in printed
    cards = [read_json(tmp_path / f"alpha_{n}" / INSIDE_RUN / "protocol.json") for n in ("0", "0.5", "1")]
    found = [card["interpolation"]["alpha"] for card in cards]
    assert found == [0, 0.5, 1]
    middle = tmp_path / "alpha_0.5"
    model = load_model(_config(middle), last_checkpoint(middle) or Path())
    assert model.dataset_meta["classes"] == read_end(b).classes
    stamp = (middle / INSIDE_RUN / "cells/fog_3.json").stat().st_mtime_ns
    assert main(words) == 0 and (middle / INSIDE_RUN / "cells/fog_3.json").stat().st_mtime_ns == stamp
    assert (tmp_path / "curve.csv").read_text().startswith("alpha,P,mPC,rPC\n0.000000,")
    with pytest.raises(RunConflict, match="something else"):
        list(interpolate(read_end(b), read_end(a), (0.5,), tmp_path))


def _config(folder: Path) -> Any:
    from rtx.config import load

    return load(run_config(folder))


def test_what_has_nothing_between_is_refused(runs: Any, tmp_path: Path) -> None:
    full = read_end(str(runs[1]))
    with pytest.raises(BadValue, match="same weights"):
        check_ends(full, full)
    with pytest.raises(BadValue, match="no run folder"):
        read_end(str(tmp_path))
    other = copy.deepcopy(full.config)
    other.model.get("data_preprocessor", other.get("data_preprocessor"))["mean"] = [0.0, 0.0, 0.0]
    with pytest.raises(BadValue, match="mean"):
        check_ends(type(full)(other, full.state, full.classes, "other"), full)


@pytest.mark.parametrize("text", ["", "0:1", "0:2:0.5", "1:0:0.1", "0:1:0", "0:1:1e-9", "a", "0.5,2", "nan", "0,1:2"])
def test_alphas_are_from_0_to_1(text: str) -> None:
    with pytest.raises(BadValue, match="--alpha"):
        parse_alphas(text)
