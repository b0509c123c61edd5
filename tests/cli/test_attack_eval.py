"""`rtx attack_eval` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from rtx.cli import main as cli
from rtx.cli.attack_eval import eps_of
from rtx.errors import BadValue
from tests.evaluation.class_folders import class_config, make_folders, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a trained classifier."""
    root = tmp_path_factory.mktemp("run")
    cfg = class_config(make_folders(root / "data"))
    init_default_scope("mmpretrain")
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    train(model)
    cfg.dump(str(root / "made.py"))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, root / "epoch_1.pth")
    (root / "last_checkpoint").write_text(str(root / "epoch_1.pth"))
    return root


def test_a_run_folder_is_attacked_resumed_and_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attack_eval", str(run), "--eps", "2", "8/255", "--steps", "3", "--resamples", "20", "--workers", "0"]
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    assert "Linf 2/255" in text and "Linf 8/255" in text and "PGD-3 on ce" in text and "mPC" not in text
    cells = run / "attack_eval" / "cells"
    assert sorted(path.stem for path in cells.glob("*.json")) == ["clean", "linf_2", "linf_8"]
    before = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert cli.main([*words, "--eps", "2", "8"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert cli.main(["status", str(run)]) == 0
    told = capsys.readouterr().out
    assert "complete" in told and "3/3" in told and "mPC" not in told


def test_another_attack_does_not_mix_with_the_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attack_eval", str(run), "--eps", "2", "--resamples", "0", "--workers", "0", "--out", str(run / "other")]
    assert cli.main([*words, "--steps", "2"]) == 0
    assert cli.main([*words, "--steps", "3"]) == 2
    assert "attack" in capsys.readouterr().err


def test_a_surrogate_is_another_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run / "transfer"
    words = ["attack_eval", str(run), "--eps", "8", "--steps", "2", "--resamples", "0", "--surrogate", str(run)]
    assert cli.main([*words, "--out", str(out), "--workers", "0"]) == 0
    card = json.loads((out / "protocol.json").read_text())
    assert card["attack"]["surrogate_sha256"] == card["weights_sha256"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--eps", "0"], "eps 0"), (["--eps", "300"], "eps"), (["--eps", "x"], "--eps x: is no number"),
        (["--steps", "0"], "steps 0"), (["--loss", "js"], "js"), (["--target", "9"], "target 9"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(run: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attack_eval", str(run), "--out", str(run / "wrong"), *words]) == 2
    assert says in capsys.readouterr().err


def test_eps_is_written_in_the_unit_of_its_threat_or_as_a_fraction_of_the_range() -> None:
    assert (eps_of("4", "linf"), eps_of("4/255", "linf"), eps_of("3/32", "l2")) == (4, 4, 3 / 32)
    with pytest.raises(BadValue, match="no number"):
        eps_of("1/0", "l2")
