"""A model by the name of its library: what is shown, and what is said where something does not fit."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")

from rtx.errors import BadValue, MissingDependency, UnknownName, WeightsError  # noqa: E402
from rtx.evaluation.evaluate import evaluate, prepare  # noqa: E402
from rtx.evaluation.models import presets  # noqa: E402
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter  # noqa: E402
from rtx.evaluation.models.library import read_state  # noqa: E402
from rtx.evaluation.models.presets import PRESETS, Preset, open_model  # noqa: E402
from tests.evaluation.models.plain_functions import by_colour  # noqa: E402
from tests.makers import ADE_NAMES, COCO_NAMES  # noqa: E402

PROJECT = Path(__file__).resolve().parents[3]
CLEAN: dict[str, Any] = dict(corruptions=[], severities=[], workers=0, resamples=0)


def test_no_library_is_imported_before_it_is_asked_for() -> None:
    libraries = {row.library for row in PRESETS.values()} - {""}
    modules = [row.module for row in PRESETS.values()]
    # What OpenMMLab imports itself (mmdet: transformers, where it is installed) is there after its own registries only.
    for loaded, names in (
        ("rtx.cli.corrupt_eval", libraries),
        (presets.__name__, {"libreyolo", "detectron2", *modules}),
    ):
        code = f"import sys, {loaded}; print(*sorted({names!r} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
        assert done.stdout.strip() == ""


def test_names_that_are_none(made_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"name the library too; one of torchvision:NAME, transformers:FOLDER"):
        open_model("fasterrcnn_resnet50_fpn", made_coco)
    with pytest.raises(UnknownName, match=r"'torchvison' is not in .*did you mean 'torchvision'"):
        open_model("torchvison:resnet50", made_coco)
    with pytest.raises(BadValue, match=r"data folder .*nowhere' does not exist"):
        open_model("torchvision:resnet50", tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"--weights .*no.pth' does not exist"):
        open_model("torchvision:resnet50", made_coco, weights=tmp_path / "no.pth")


def test_a_library_that_is_absent_or_broken(made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "gone", Preset("gone_preset", "NAME", "no_such_library", "pip install 'x[gone]'"))
    with pytest.raises(MissingDependency, match=r"no_such_library is not installed; pip install 'x\[gone\]'"):
        open_model("gone:net", made_coco)
    (tmp_path / "broken_preset.py").write_text("from os import no_such_name")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PRESETS, "broken", Preset("broken_preset", "NAME", "os", "pip install 'x[broken]'"))
    with pytest.raises(
        MissingDependency, match=r"os cannot be imported \(cannot import name 'no_such_name'.*x\[broken\]"
    ):
        open_model("broken:net", made_coco)


def test_a_library_is_one_file_and_one_line(made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colour_preset.py").write_text(
        "import torch\n"
        "from tests.evaluation.models.plain_functions import by_colour\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, images): return by_colour(images)\n"
        "def open_preset(asked):\n"
        "    return asked.adapter(Net(), asked.classes or ['disc', 'block', 'stripe'], f'colour {asked.what}')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PRESETS, "colour", Preset("colour_preset", "VERSION"))
    adapter = open_model("colour:2", made_coco, class_map={"disc": "disc"})
    plain = Detector(by_colour, COCO_NAMES, name="by colour")
    ours, theirs = (evaluate(m, made_coco, tmp_path / str(n), **CLEAN) for n, m in enumerate((adapter, plain)))
    assert ours["cells"]["clean"]["metrics"] == theirs["cells"]["clean"]["metrics"] and ours["P"] > 0
    assert ours["protocol"]["model_name"] == "colour:2" and ours["protocol"]["model_version"] == "colour 2"


def mapped(class_map: Any, made_coco: Path, out: Path, names: Any = ("Disc!", "bloc", "moon")) -> Any:
    return prepare(Detector(by_colour, names, name="x", class_map=class_map), made_coco, out)


def test_the_mapping_is_shown_and_counts(made_coco: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        job = mapped({"bloc": "block"}, made_coco, tmp_path)
    text = caplog.text
    assert "2 of the data's 3 are matched by name" in text and "Disc! -> disc, bloc -> block" in text
    assert "model only    moon" in text and "data only     stripe" in text
    assert job.model._labels.tolist() == [0, 1, -1]
    assert job.card["config_sha256"] != mapped({}, made_coco, tmp_path).card["config_sha256"]
    with pytest.raises(BadValue, match="no class of the model"):
        mapped({}, made_coco, tmp_path, ("sun", "moon"))
    with pytest.raises(BadValue, match="name them alike"):  # without a mapping names are the caller's own business
        prepare(Detector(by_colour, ("disc", "moon"), name="x"), made_coco, tmp_path)
    twice = Detector(by_colour, ("circle", "moon"), name="x", class_map={"circle": "disc"})
    for _ in range(2):
        assert prepare(twice, made_coco, tmp_path).model.classes == ("disc", "moon")


def test_segmenters_and_classifiers_are_matched_too(made_ade: Path, tmp_path: Path) -> None:
    names = [name.upper() for name in ADE_NAMES[:-1]]
    segmenter = Segmenter(lambda images: [np.zeros(i.shape[:2], int) for i in images], names, name="x", class_map={})
    assert prepare(segmenter, made_ade, tmp_path).model._labels.tolist() == [0, 1, 2]
    for folder in ("Disc", "block"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "0.jpg").write_bytes(next(made_ade.rglob("*.jpg")).read_bytes())

    def classifier(class_map: dict[str, str], names: Any) -> Any:
        made = Classifier(lambda images: np.zeros((len(images), len(names))), names, name="x", class_map=class_map)
        return prepare(made, tmp_path / "data", tmp_path).dataset.rows

    assert [row["gt_label"] for row in classifier({}, ["block", "sun", "disc"])] == [2, 0]
    with pytest.raises(BadValue, match=r"1 of 2 class folders are none of the model's 2 classes: Disc \(near: dist\)"):
        classifier({}, ["block", "dist"])
    with pytest.raises(BadValue, match="two classes of a classifier cannot be one folder"):
        classifier({"a": "Disc", "b": "Disc"}, ["block", "a", "b"])


def test_boxes_of_another_scale_are_said_once(
    made_coco: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def scaled(images: Any) -> Any:
        return [
            {**row, "boxes": [[v * 9 for v in box] for box in np.asarray(row["boxes"])]} for row in by_colour(images)
        ]

    evaluate(Detector(scaled, COCO_NAMES, name="x"), made_coco, tmp_path / "out", **CLEAN)
    said = [record for record in caplog.records if "lie outside of its" in record.getMessage()]
    assert len(said) == 1 and "pixels of the image that x was given" in said[0].getMessage()


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", None])
def test_weights_are_found_where_trainers_put_them(key: str | None, tmp_path: Path) -> None:
    state = {"module.a": torch.ones(2)}
    torch.save({key: state, "epoch": 1} if key else state, tmp_path / "w.pth")
    assert list(read_state(tmp_path / "w.pth")) == ["a"]


def test_every_row_has_its_file() -> None:
    for name, row in presets.PRESETS.items():
        file = PROJECT.joinpath(*row.module.split(".")).with_suffix(".py")
        assert file.is_file() and f"`{name}:" in file.read_text("utf-8").splitlines()[0]
