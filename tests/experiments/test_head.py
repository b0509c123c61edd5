"""A linear head is the minimum of its convex loss, and a draw of images gives each class its share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtx.errors import BadValue, DataError
from rtx.experiments.head import train


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
    assert found["accuracy"] > 0.9 and train({**settings, "weight_decay": 1e4}, "cpu")["loss"] == pytest.approx(
        np.log(3), abs=0.01
    )
    assert train({**settings, "n_images": 3}, "cpu")["train_accuracy"] == 1.0, "one image of each class"
    assert found != train({**settings, "seed": 1}, "cpu")


def test_bad_input(file: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="n_images 121"):
        train(dict(features=str(file), seed=0, n_images=121), "cpu")
    with pytest.raises(DataError, match="no such file on this node"):
        train(dict(features=str(tmp_path / "no.npz"), seed=0), "cpu")
    with pytest.raises(DataError, match="the experiment means another file"):
        train(dict(features=str(file), seed=0, sha256="0" * 64), "cpu")
