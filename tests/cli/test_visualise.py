"""`rtx visualise`: networks side by side, what is not searched again, what is refused before anything long."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.cli.main import main
from tests.drift.worlds import classifier_run, source_file
from tests.probe.worlds import colours


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier's run, beside its source and an image."""
    root = tmp_path_factory.mktemp("world")
    drawn = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(drawn).save(root / "cat.png")
    return classifier_run(root / "mine", colours(root / "data"), source_file(root))


def words(out: Path, *more: str) -> list[str]:
    return ["visualise", *more, "--image-size", "32", "--device", "cpu", "--out", str(out)]


def rows(folder: Path) -> list[dict[str, object]]:
    return list(json.loads((folder / "visualise.json").read_text())["images"].values())


def test_side_by_side_and_not_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = words(tmp_path, str(run), "resnet18:random", "--units", "1", "5", "--steps", "4")
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert re.search(r"mine: 5 from noise: activation [\d.e-]+ to [\d.e-]+", printed) and "sheet.png" in printed
    folders = [tmp_path / "mine", tmp_path / "resnet18-random"]
    files = [folder / str(row["file"]) for folder in folders for row in rows(folder)]
    assert [file.name for file in files[:2]] == ["00_features_1_noise.png", "01_features_5_noise.png"]
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    assert all(row["activation_after"] >= row["activation_before"] for row in rows(folders[0]))  # type: ignore[operator]
    files[1].unlink()
    sheet = (tmp_path / "sheet.png").read_bytes()
    assert main(line) == 0
    assert [file.read_bytes() == content for file, (content, _) in before.items()] == [True] * 4
    assert [file.stat().st_mtime_ns == time for file, (_, time) in before.items()] == [True, False, True, True]
    assert (tmp_path / "sheet.png").read_bytes() == sheet
    capsys.readouterr()
    assert main([*line, "--seed", "2"]) == 2
    assert re.search(r"by other options \(seed 0, now 2\); give another --out", capsys.readouterr().err)
    assert main([*line, "--seed", "2", "--overwrite"]) == 0
    assert files[0].read_bytes() != before[files[0]][0]


def test_a_class_from_an_image(run: Path, tmp_path: Path) -> None:
    image = str(run.parent / "cat.png")
    assert main(words(tmp_path, str(run), "--layer", "logits", "--units", "2", "--start", image, "--steps", "5")) == 0
    (row,) = rows(tmp_path / "mine")
    assert (row["what"], row["start"]) == ("2", "cat")
    assert row["activation_after"] > row["activation_before"]  # type: ignore[operator]
    assert 0 < row["l2_from_start"] <= 10 + 1e-4  # type: ignore[operator]


def test_inversion(run: Path, tmp_path: Path) -> None:
    image = str(run.parent / "cat.png")
    line = words(tmp_path, str(run), "--invert", image, "--layer", "stage1", "--steps", "60", "--step", "0.3")
    assert main(line) == 0
    (row,) = rows(tmp_path / "mine")
    assert row["distance_after"] < 0.6 * row["distance_before"] and row["start"] == "noise"  # type: ignore[operator]


@pytest.mark.parametrize("method", ["fourier", "maco"])
def test_other_methods(run: Path, tmp_path: Path, method: str) -> None:
    more = ["--magnitude", str(run.parent / "data")] if method == "maco" else []
    assert main(words(tmp_path, str(run), "--method", method, "--units", "3", "--steps", "3", *more)) == 0
    card = json.loads((tmp_path / "mine" / "visualise.json").read_text())["card"]
    assert card["method"] == method and card["magnitude"] == (more[1] if more else None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--layer", "layer4.1.conv3"],
            r"layer 'layer4.1.conv3' is not in the network of .*did you mean '.*layer4.1.conv2'",
        ),
        (["--layer", "stage5"], "layer 'stage5'.*did you mean 'stage4'"),
        (["--units", "512"], "unit 512 of layer 'features' of mine: must be 0 to 511"),
        (["--units", "frog"], "unit 'frog' of layer 'features' of mine: must be a number, 0 to 511"),
        (["--layer", "logits", "--units", "3"], "unit 3 of layer 'logits' of mine: must be 0 to 2"),
        (["--method", "mako"], "method 'mako'.*did you mean 'maco'"),
        (["--start", "gone.png"], "image 'gone.png': cannot be read"),
        (["--invert", "gone.png", "--units", "3"], "--invert: .*leave out --units"),
        (["--tv", "1"], "--tv: goes with --invert"),
        (["--magnitude", "."], "--magnitude: goes with --method maco"),
        (["--steps", "0"], "--steps 0: must be above 0"),
        (["--eps", "-1"], "--eps -1"),
        (["resnet18:random", "resnet18:random"], "two networks have one name"),
        (["resnet19"], "resnet19"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str) -> None:
    assert main(words(tmp_path / "out", str(run), *more)) == 2
    found = capsys.readouterr().err
    assert re.search(message, found), found
    assert not (tmp_path / "out").exists()
