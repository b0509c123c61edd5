"""`rtx influence`: what is written, what is printed, and what is refused before anything long."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from rtx.cli.main import main
from tests.probe.worlds import colours


def words(tmp: Path, data: Path, *more: str) -> list[str]:
    given = f"--target folder --data-root {data} --image-size 32 --cache {tmp}/cache --out {tmp}/out --workers 1"
    return ["influence", "--source", "resnet18:random", *given.split(), "--device", "cpu", *more]


def test_files_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = colours(tmp_path / "data")
    assert main(words(tmp_path, data, "--test-images", "0")) == 0
    printed = capsys.readouterr().out
    assert "published, robust   78.6" in printed and "resnet18:random: 24 training and 12 test images" in printed
    out = tmp_path / "out" / "resnet18-random"
    files = {"influence.json", "influence.npz", "heat.pdf", "heat.png", "gallery.pdf", "gallery.png"}
    assert {path.name for path in out.iterdir()} == files
    assert {path.name for path in out.parent.glob("*.*")} >= {"comparison.json", "label_match.png", "label_match.svg"}
    card, arrays = json.loads((out / "influence.json").read_text()), np.load(out / "influence.npz")
    assert arrays["influence"].shape == (12, 24) == (card["test_images"], card["train_images"])
    assert (card["convention"], card["inverse"], card["sign"], card["curvature"]) == ("rtx", "decay", 1, "hessian")
    assert card["gradient_norm"] < 1e-6 and card["solver"] == "cholesky" and 1 <= card["condition"] < 1e13
    # The paper's sign is the other one, and its label match the same: what helps is what is ranked.
    assert main(words(tmp_path, data, "--test-images", "0", "--convention", "paper", "--inverse", "decay")) == 0
    other = json.loads((out / "influence.json").read_text())
    assert other["sign"] == -1 and other["match_by_rank"] == card["match_by_rank"]
    assert np.array_equal(np.load(out / "influence.npz")["influence"], -arrays["influence"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--convention", "pape"], "convention 'pape'.*did you mean 'paper'"),
        (["--curvature", "hesian"], "curvature 'hesian'.*did you mean 'hessian'"),
        (["--inverse", "pinv:2"], "--inverse pinv:2"),
        (["--memory", "0"], "--memory 0"),
        (["--test-images", "-1"], "--test-images -1"),
        (["--images", "2"], "2 images"),
        (["some/run"], "name run folders, or --source"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str) -> None:
    data = colours(tmp_path / "data")
    line = (
        words(tmp_path, data, *more)
        if more != ["some/run"]
        else [*words(tmp_path, data)[:1], "some/run", "--source", "x"]
    )
    assert main(line) == 2
    found = capsys.readouterr().err
    assert re.search(message, found), found
    assert not (tmp_path / "out").exists()


def test_runs_and_flags_of_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["influence", str(tmp_path), "--images", "5"]) == 2
    assert "--images: only with --source" in capsys.readouterr().err
    assert main(["influence", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main(["influence", "--source", "resnet18:random"]) == 2
    assert "--source needs --target NAME and --data-root DIR" in capsys.readouterr().err
