"""The command's table says what was selected on what, and a second call computes nothing."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.cli.main import main
from rtx.cli.probe import table
from rtx.probe.results import HeadRow, Results
from tests.backbones.users import USERS_FILE, forget
from tests.probe.worlds import colours


def command(tmp: Path, data: Path, *more: str) -> list[str]:
    fixed = [
        "probe",
        "--source",
        "resnet18:random",
        "--target",
        "folder",
        "--data-root",
        str(data),
        "--image-size",
        "32",
    ]
    return [*fixed, "--cache", str(tmp / "f"), "--out", str(tmp / "o"), "--decays", "0.01", "0.1", *more]


def test_table_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = colours(tmp_path / "data")
    words = command(tmp_path, data, "--images", "9", "all", "--seeds", "3", "--device", "cpu")
    assert main(words) == 0
    first = capsys.readouterr()
    assert "weight decay selected on held-out" in first.out and "95 % interval" in first.out
    rows = list(csv.DictReader((tmp_path / "o" / "probe.csv").open()))
    assert [(row["images"], row["seed"]) for row in rows] == [("9", "0"), ("9", "1"), ("9", "2"), ("24", "0")]
    assert main(words) == 0
    second = capsys.readouterr()
    # A library may say something when it is first imported.
    assert first.out.endswith(second.out) and "seeds in" in first.err and "seeds in" not in second.err
    assert main([*words, "--select", "test", "--out", str(tmp_path / "t")]) == 0
    assert "weight decay selected on test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--images", "many"], "--images many"),
        (["--images", "0"], "--images 0"),
        (["--images", "100"], "100 images of a training set of 24"),
        (["--device", "warp"], "--device warp"),
        (["--memory", "0"], "--memory 0"),
        (["--target", "fodler"], "did you mean 'folder'"),
    ],
)
def test_bad_words(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str) -> None:
    data = colours(tmp_path / "data")
    assert main(command(tmp_path, data, *more)) == 2
    assert said in capsys.readouterr().err


def test_pairs_edges_and_fits_that_did_not_end() -> None:
    def made(name: str, gain: float) -> Results:
        rows = (
            HeadRow(10, 0, 0.5 + gain, 0.5, "held-out", 1.0, at_edge=gain > 0),
            HeadRow(10, 1, 0.6 + gain, 0.5, "held-out", 1.0, converged=False),
        )
        return Results(Path(name), {"source": name, "target": "t"}, rows)

    text = table([made("a", 0.0), made("b", 0.1)], "accuracy")
    lines = [line.split() for line in text.splitlines()]
    assert ["a", "10", "2", "55.00", "7.07", "50.00", "60.00", "-8.53", "to", "118.53"] in lines
    assert ["b", "10", "2", "+10.00", "0.00", "10.00", "to", "10.00"] in lines
    assert "1 heads chose an end of the grid" in text and "2 heads did not reach the tolerance" in text


def test_a_network_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module is imported as named, its features are those of its layers, and its code counts for the cache."""
    data = colours(tmp_path / "data")
    (tmp_path / "pocket.py").write_text(USERS_FILE)
    words = command(tmp_path, data, "--images", "9", "--seeds", "2", "--device", "cpu", "--source", "pocket:random")
    assert main(words) == 2 and "pocket" in capsys.readouterr().err
    assert main([*words, "--import", "poket"]) == 2
    said = capsys.readouterr().err
    assert "--import poket: ModuleNotFoundError" in said and "PYTHONPATH" in said
    monkeypatch.syspath_prepend(str(tmp_path))
    words += ["--import", "pocket"]
    try:
        assert main(words) == 0 and "pocket:random" in capsys.readouterr().out
        first = sorted((tmp_path / "f").rglob("*.npy"))
        assert sorted(np.load(path).shape for path in first) == [(12, 64), (24, 64)]
        assert main([*words, "--select", "test", "--out", str(tmp_path / "o2")]) == 0
        assert sorted((tmp_path / "f").rglob("*.npy")) == first, "from the cache"
        with (tmp_path / "pocket.py").open("a") as file:
            file.write("# changed\n")
        assert main([*words, "--out", str(tmp_path / "o3")]) == 0
        assert len(list((tmp_path / "f").rglob("*.npy"))) == 4
    finally:
        sys.modules.pop("pocket", None)
        forget("pocket")
