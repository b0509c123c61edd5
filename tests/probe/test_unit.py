"""Units of grids: a head on a file of features, and one row of a probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtx.errors import BadValue, DataError
from rtx.probe.run import run_probe
from rtx.probe.unit import probe, train
from tests.probe.worlds import colours, options


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    centres = rng.normal(size=(3, 5)) * 3
    found = {}
    for part in ("train", "test"):
        found |= {f"{part}_x": centres[labels] + rng.normal(size=(120, 5)), f"{part}_y": labels}
    np.savez(tmp_path / "f.npz", **found)
    return tmp_path / "f.npz"


def test_heads(file: Path) -> None:
    settings = dict(features=str(file), seed=0, n_images=60, weight_decay=1e-3, steps=100)
    found = train(settings, "cpu")
    assert found == train(settings, "cpu"), "repeatable"
    flat = train({**settings, "weight_decay": 1e4, "n_images": 120}, "cpu")
    assert found["accuracy"] > 0.9 and flat["loss"] == pytest.approx(np.log(3), abs=0.01)
    assert train({**settings, "n_images": 3}, "cpu")["train_accuracy"] == 1.0, "one image of each class"
    assert found != train({**settings, "seed": 1}, "cpu")


def test_bad_input(file: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="121 images"):
        train(dict(features=str(file), seed=0, n_images=121), "cpu")
    with pytest.raises(DataError, match="no such file on this node"):
        train(dict(features=str(tmp_path / "no.npz"), seed=0), "cpu")
    with pytest.raises(DataError, match="the experiment means another file"):
        train(dict(features=str(file), seed=0, sha256="0" * 64), "cpu")


def test_a_row_of_a_probe(tmp_path: Path) -> None:
    data = colours(tmp_path / "data")
    asked = options(tmp_path, data, images=(9,), seeds=2)
    (wanted,) = run_probe(asked)
    settings = dict(
        source="resnet18:random", target="folder", data_root=str(data), images=9, seed=1, image_size=32,
        decays=list(asked.decays), cache=str(asked.cache),
    )  # fmt: skip
    found = probe(settings, "cpu")
    assert found["accuracy"] == wanted.rows[1].accuracy and found["decay"] == pytest.approx(wanted.rows[1].decay)
    assert probe({**settings, "images": "all"}, "cpu")["images"] == 24
    with pytest.raises(BadValue, match="setting is missing or unknown"):
        probe({**settings, "sizes": 3}, "cpu")
