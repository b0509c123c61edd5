"""`rtx influence`: what is written, what is printed, and what is refused before anything long."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from rtx.cli.main import main
from rtx.sources.catalog.archs import build_reference
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
    # Other options do not replace what is there.
    other = words(tmp_path, data, "--test-images", "0", "--convention", "paper", "--inverse", "decay")
    assert main(other) == 2
    assert re.search(r"by other options \(convention 'rtx', now 'paper'\); give another --out", capsys.readouterr().err)
    # The paper's sign is the other one, and its label match the same: what helps is what is ranked.
    assert main([*other, "--out", str(tmp_path / "paper")]) == 0
    card2 = json.loads((tmp_path / "paper" / out.name / "influence.json").read_text())
    assert card2["sign"] == -1 and card2["match_by_rank"] == card["match_by_rank"]
    assert np.array_equal(np.load(tmp_path / "paper" / out.name / "influence.npz")["influence"], -arrays["influence"])


def test_two_files_of_one_name(tmp_path: Path) -> None:
    data = colours(tmp_path / "data")
    files = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / str(seed) / "weights.pth"
        path.parent.mkdir()
        torch.save(build_reference("resnet18").state_dict(), path)
        files.append(f"resnet18:{path}")
    line = words(tmp_path, data, "--test-images", "0")
    assert main([*line[:2], *files, *line[3:]]) == 0
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["heads"]
    assert rows[0]["name"] == "weights" and re.fullmatch(r"weights_[0-9a-f]{8}", rows[1]["name"])
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {row["name"] for row in rows}
    assert rows[0]["top1_minus_first"] is None and rows[1]["top1_minus_first"]["value"] <= 1


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
