"""`python:FILE.py:NAME`: a function or an adapter of one's own file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")

from rtx.errors import BadValue, RunConflict, UnknownName  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.adapters import Detector  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from tests.evaluation.models.plain_functions import by_colour  # noqa: E402
from tests.makers import COCO_NAMES  # noqa: E402

CLEAN: dict[str, Any] = dict(corruptions=[], severities=[], workers=0, resamples=0)
FILE = """
import torch
import rtx
from tests.evaluation.models.plain_functions import by_colour

CLASSES = ["Disc", "block", "stripe"]
model = rtx.Detector(by_colour, CLASSES, name="mine", version="7")
other = rtx.Segmenter(by_colour, CLASSES, name="mine")
number = 3

def predict(images):
    return by_colour(images)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(2))

    def forward(self, images):
        return by_colour(images)

def made(weights, device="cpu"):
    net = Net()
    if weights is not None:
        net.load_state_dict(torch.load(weights))
    return rtx.Detector(net.to(device), CLASSES, inputs="arrays")

def two(images, more):
    return []
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("name", ["predict", "model", "made"])
def test_each_form_gets_the_scores_of_the_function(name: str, file: Path, made_coco: Path, tmp_path: Path) -> None:
    expected = evaluate(Detector(by_colour, COCO_NAMES, name="x"), made_coco, tmp_path / "a", **CLEAN)
    summary = evaluate(open_model(f"python:{file}:{name}", made_coco), made_coco, tmp_path / "b", **CLEAN)
    assert summary["cells"]["clean"]["metrics"] == expected["cells"]["clean"]["metrics"] and summary["P"] > 0
    card = summary["protocol"]
    assert card["model_name"] == {"predict": "mine.py:predict", "model": "mine", "made": "Net"}[name]
    assert card["model_version"] == "7" if name == "model" else card["model_version"].startswith("sha256 ")


def test_an_edited_file_is_another_model(file: Path, made_coco: Path, tmp_path: Path) -> None:
    evaluate(open_model(f"python:{file}:predict", made_coco), made_coco, tmp_path / "out", **CLEAN)
    file.write_text(FILE.replace("number = 3", "number = 4"))
    with pytest.raises(RunConflict):
        evaluate(open_model(f"python:{file}:predict", made_coco), made_coco, tmp_path / "out", **CLEAN)


def test_another_process_opens_the_file_and_has_the_same_weights(file: Path, made_coco: Path, tmp_path: Path) -> None:
    adapter: Any = open_model(f"python:{file}:made", made_coco)
    adapter.match(["stripe", "disc", "block"])
    adapter.bind(["stripe", "disc", "block"])
    again = pickle.loads(pickle.dumps(adapter))
    assert torch.equal(again.fn.weight, adapter.fn.weight)
    assert again.classes == adapter.classes == ("disc", "block", "stripe")
    assert again._labels.tolist() == adapter._labels.tolist() == [1, 2, 0]


def test_weights_reach_the_function(file: Path, made_coco: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.tensor([5.0, 6.0])}, tmp_path / "w.pth")
    adapter: Any = open_model(f"python:{file}:made", made_coco, weights=tmp_path / "w.pth")
    assert adapter.fn.weight.tolist() == [5, 6]


def test_what_cannot_be(file: Path, made_coco: Path, tmp_path: Path) -> None:
    for name, fault in (
        ("other", "is a Segmenter, but the data of --data-root score boxes"),
        ("number", "number is a int; give a function of the images beside CLASSES"),
        ("two", "takes images, more; give a function of the images"),
    ):
        with pytest.raises(BadValue, match=fault):
            open_model(f"python:{file}:{name}", made_coco)
    with pytest.raises(UnknownName, match="did you mean 'predict'"):
        open_model(f"python:{file}:predikt", made_coco)
    with pytest.raises(BadValue, match=r"give python:FILE.py:NAME"):
        open_model("python:nowhere.py:predict", made_coco)
    (tmp_path / "broken.py").write_text("import no_such_package_of_mine")
    with pytest.raises(BadValue, match=r"the file cannot be run \(ModuleNotFoundError: No module named"):
        open_model(f"python:{tmp_path / 'broken.py'}:predict", made_coco)
    (tmp_path / "bare.py").write_text("def predict(images): return []")
    with pytest.raises(BadValue, match=r"takes images; give a function of the images beside CLASSES"):
        open_model(f"python:{tmp_path / 'bare.py'}:predict", made_coco)
