"""`rtx train_source` as a person types it: a source file with its card, resumed, with AMP, and by two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rtx.cli import main as cli
from rtx.cli.train_source import CONFIG
from rtx.config import load, with_source
from tests.evaluation.class_folders import NAMES, make_folders

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders to train and to test on."""
    root = tmp_path_factory.mktemp("folders")
    make_folders(root / "train", per_class=4)
    make_folders(root / "val")
    return root


def words(data: Path, out: Path, *more: str) -> list[str]:
    quiet = ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"]
    quiet += ["val_dataloader.num_workers=0", "val_dataloader.persistent_workers=False"]
    usual = ["--data", str(data), "--arch", "resnet18", "--image-size", "32", "--batch-size", "6", "--lr", "0.01"]
    usual += ["--config", str(PROJECT / CONFIG), "--robust-steps", "2", "--work-dir", str(out)]
    return ["train_source", *usual, *more, "--cfg-options", *quiet]


def scores(out: Path) -> dict[str, object]:
    found: dict[str, object] = torch.load(out / "source.pth", weights_only=False)["meta"]["scores"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [
    ["standard"], ["pgd", "--threat", "l2", "--eps", "0.5"], ["free", "--threat", "linf", "--eps", "4"],
    ["gaussian", "--threat", "l2", "--eps", "3"], ["prime"], ["augmix"],
], ids=lambda words: words[0])  # fmt: skip
def test_every_recipe_ends_with_a_source_that_says_how_it_was_made(
    data: Path, tmp_path: Path, recipe: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main(words(data, out, "--epochs", "1", "--recipe", *recipe)) == 0
    said = capsys.readouterr().out
    assert f"use: --source resnet18:{out}/source.pth" in said and f"recipe {recipe[0]}" in said
    assert {"clean", "images", "metric"} < set(scores(out))
    assert cli.main(["weights", "inspect", str(out / "source.pth")]) == 0
    told = capsys.readouterr().out
    assert f"recipe {recipe[0]}" in told and "under " in told and "resnet18" in told
    bare, named = (with_source(load(PROJECT / CONFIG), f"{arch}{out}/source.pth") for arch in ("", "resnet18:"))
    assert bare.model.backbone == named.model.backbone, "its card states the architecture"
    own = ["--source", f"resnet18:{out}/source.pth", "--data-root", str(data / "val"), "--eps", "4", "--steps", "1"]
    assert cli.main(["attack_eval", *own, "--workers", "0", "--out", str(tmp_path / "own")]) == 0
    head = json.loads((tmp_path / "own" / "summary.json").read_text())
    assert head["P"] == pytest.approx(scores(out)["clean"]), (
        "its own head sees images of the size that it was trained on"
    )


@pytest.mark.slow
def test_a_training_that_was_stopped_is_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rtx.transfer.hardening import TrainUnderAttack

    out, before = tmp_path / "run", TrainUnderAttack.before_train_iter
    mine = words(data, out, "--epochs", "2", "--recipe", "pgd", "--threat", "linf", "--eps", "4")
    mine += ["default_hooks.checkpoint.interval=1"]
    seen: list[int] = []

    def stopping(self, runner, batch_idx, data_batch=None):  # type: ignore[no-untyped-def]
        seen.append(runner.iter)
        if runner.iter == 5 and len(seen) == 6:
            raise KeyboardInterrupt
        return before(self, runner, batch_idx, data_batch)

    monkeypatch.setattr(TrainUnderAttack, "before_train_iter", stopping)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        raise SystemExit(cli.main(mine))
    assert not (out / "source.pth").exists() and (out / "epoch_1.pth").exists()
    at = mine.index("--cfg-options")
    assert cli.main([*mine[:at], "--resume", *mine[at:]]) == 0
    assert seen == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7], "the first epoch is not trained again"
    assert (out / "source.pth").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, --amp trains")
def test_mixed_precision_without_a_gpu_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words(data, tmp_path / "run", "--recipe", "standard", "--amp")) == 2
    assert "leave --amp away" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_train_one_source(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    mine = words(
        data, out, "--epochs", "1", "--recipe", "pgd", "--threat", "linf", "--eps", "4", "--launcher", "pytorch"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*torchrun, "tools/train_source.py", *mine[1:], "env_cfg.dist_cfg.backend=gloo"],
        env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("use: --source") == 1
    assert len(NAMES) * 2 == scores(out)["images"]
    assert len((out / "attack_eval_linf" / "cells.csv").read_text().splitlines()) > 2


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--recipe", "pgd"], "needs --threat and --eps"),
        (["--recipe", "pgd", "--threat", "linf", "--eps", "0"], "eps 0"),
        (["--recipe", "pgd", "--threat", "linf", "--eps", "300"], "so at most 255"),
        (["--recipe", "pgd", "--threat", "linf", "--eps", "4", "--attack-steps", "0"], "steps 0"),
        (["--recipe", "free", "--threat", "l2", "--eps", "1", "--replays", "0"], "replays 0"),
        (["--recipe", "prime", "--threat", "l2", "--eps", "1"], "no threat"),
        (["--recipe", "standard", "--robust-steps", "0"], "--robust-steps 0"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    tmp_path: Path, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = [
        "train_source",
        "--data",
        str(tmp_path / "absent"),
        "--arch",
        "resnet18",
        "--work-dir",
        str(tmp_path / "out"),
    ]
    assert cli.main([*mine, *more]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
