"""Adapters on YOLO and Cityscapes folders, and their kept predictions scored again without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

from PIL import Image

from rtx.cli.main import main
from rtx.datasets.annotated import read_annotated
from rtx.datasets.cityscapes import CLASSES, INSTANCE_CLASSES
from rtx.errors import BadValue, DataError
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.models.adapters import Detector, Segmenter
from tests.datasets.layout_worlds import make_cityscapes, to_yolo
from tests.evaluation.models.plain_functions import by_colour
from tests.makers import COCO_NAMES

FEW: dict[str, Any] = dict(corruptions=["fog"], severities=[3], workers=0, resamples=0, keep_predictions=True)


def scores(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: cell["metrics"] for key, cell in summary["cells"].items()}


def score(out: Path, *words: str) -> dict[str, Any]:
    again = out.parent / f"{out.name}_again"
    assert main(["score", str(out / "predictions"), *words, "--out", str(again), "--resamples", "0"]) == 0
    return json.loads((again / "summary.json").read_text())


def test_a_yolo_folder_scores_as_its_coco_file(made_coco: Path, tmp_path: Path) -> None:
    tables = to_yolo(made_coco, tmp_path / "set")["val"]
    (tmp_path / "val.json").write_text(json.dumps(tables))
    detector = Detector(by_colour, COCO_NAMES, name="by colour")
    mine = evaluate(detector, tmp_path / "set", tmp_path / "yolo", **FEW)
    theirs = evaluate(detector, made_coco / "val2017", tmp_path / "coco", annotations=tmp_path / "val.json", **FEW)
    for key, cell in scores(theirs).items():
        assert scores(mine)[key] == pytest.approx(cell, abs=1e-9), key
    assert mine["P"] > 0.2
    assert scores(score(tmp_path / "yolo", "--yolo", str(tmp_path / "set"))) == scores(mine)
    one = evaluate(detector, tmp_path / "set", tmp_path / "one", classes=["disc"], **FEW)
    assert one["protocol"]["metric"]["n_classes"] == 1


def test_results_in_the_form_of_ultralytics(made_coco: Path, tmp_path: Path) -> None:
    """Images by their file name as a number, class n as n + 1."""
    to_yolo(made_coco, tmp_path / "set")
    found = read_annotated(tmp_path / "set", "yolo", "val").tables
    rows = [dict({k: row[k] for k in ("image_id", "category_id", "bbox")}, score=0.9) for row in found["annotations"]]
    assert {row["image_id"] for row in rows} <= {101, 102, 103, 104} and {row["category_id"] for row in rows} <= {
        1,
        2,
        3,
    }
    (tmp_path / "run/predictions").mkdir(parents=True)
    (tmp_path / "run/predictions/clean.json").write_text(json.dumps(rows))
    assert score(tmp_path / "run", "--yolo", str(tmp_path / "set"))["P"] == 1


def truth_as_masks(root: Path) -> Any:
    """A detector that knows the instances of an image by its pixels."""
    known = {}
    for path in sorted((root / "leftImg8bit").rglob("*.png")):
        end = path.relative_to(root / "leftImg8bit").as_posix().replace("leftImg8bit.png", "gtFine_instanceIds.png")
        known[np.asarray(Image.open(path)).tobytes()] = np.asarray(Image.open(root / "gtFine" / end)).astype(int)

    def predict(images: list[np.ndarray]) -> list[dict[str, Any]]:
        rows = []
        for image in images:
            numbers = known.get(image.tobytes(), np.zeros(image.shape[:2], int))
            there = [n for n in np.unique(numbers) if n >= 1000 and n // 1000 != 29]
            masks = [numbers == n for n in there]
            corners = [(m.any(0).nonzero()[0], m.any(1).nonzero()[0]) for m in masks]
            boxes = [[x[0], y[0], x[-1] + 1, y[-1] + 1] for x, y in corners]
            labels = [{24: 0, 26: 2}[n // 1000] for n in there]
            rows.append(dict(boxes=boxes, scores=[0.9] * len(there), labels=labels, masks=masks))
        return rows

    return predict


def test_cityscapes_instances_and_maps(tmp_path: Path) -> None:
    city = make_cityscapes(tmp_path / "city")
    detector = Detector(truth_as_masks(city), INSTANCE_CLASSES, name="knows", masks=True)
    summary = evaluate(detector, city, tmp_path / "boxes", **FEW)
    assert scores(summary)["clean"]["bbox_mAP"] == scores(summary)["clean"]["segm_mAP"] == 1
    assert scores(summary)["fog_3"]["bbox_mAP"] == 0
    again = score(tmp_path / "boxes", "--cityscapes", str(city))
    assert scores(again) == scores(summary)
    assert again["protocol"]["data_sha256"] == summary["protocol"]["data_sha256"]

    def sky_over_road(images: list[np.ndarray]) -> list[np.ndarray]:
        return [np.repeat([10] * 21 + [0] * (len(i) - 21), i.shape[1]).reshape(i.shape[:2]) for i in images]

    segmenter = Segmenter(sky_over_road, CLASSES, name="sky over road")
    maps = evaluate(segmenter, city, tmp_path / "train ids", **FEW)
    labels = [np.asarray(Image.open(path)) for path in sorted((city / "gtFine/val").rglob("*TrainIds.png"))]
    found = np.concatenate([sky_over_road([label])[0] for label in labels]), np.concatenate(labels)
    both = [((found[0] == c) & (found[1] == c)).sum() for c in range(19)]
    either = [(((found[0] == c) & (found[1] != 255)) | (found[1] == c)).sum() for c in range(19)]
    assert maps["P"] == pytest.approx(np.mean([b / e for b, e in zip(both, either, strict=True) if e]), abs=1e-12)
    assert 0.05 < maps["P"] < 0.9
    assert scores(score(tmp_path / "train ids", "--cityscapes", str(city), "--maps")) == scores(maps)
    for path in (city / "gtFine").rglob("*labelTrainIds.png"):
        path.unlink()
    other = evaluate(segmenter, city, tmp_path / "ids", **FEW)
    assert scores(other) == scores(maps)
    assert scores(score(tmp_path / "ids", "--cityscapes", str(city), "--maps")) == scores(maps)


def test_what_does_not_fit_is_said(made_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to_yolo(made_coco, tmp_path / "set")
    with pytest.raises(BadValue, match="3 of the 3 classes of the data are none of the model's"):
        evaluate(Detector(by_colour, ["car"], name="a"), tmp_path / "set", tmp_path / "out", **FEW)
    with pytest.raises(BadValue, match="has the layout of yolo; a Segmenter is scored on"):
        evaluate(Segmenter(lambda images: images, ["car"], name="a"), tmp_path / "set", tmp_path / "out", **FEW)
    next((tmp_path / "set/images/val").iterdir()).write_bytes(b"")
    with pytest.raises(DataError, match="is no image that Pillow can read"):
        evaluate(Detector(by_colour, COCO_NAMES, name="a"), tmp_path / "set", tmp_path / "out", **FEW)
    (tmp_path / "predictions").mkdir()
    words = [str(tmp_path / "predictions"), "--out", str(tmp_path / "out")]
    assert main(["score", *words, "--yolo", str(tmp_path / "set"), "--maps"]) == 2
    assert "--maps goes with --cityscapes" in capsys.readouterr().err
    assert main(["score", *words, "--yolo", str(tmp_path)]) == 2
    assert "has no data.yaml" in capsys.readouterr().err


MODELS = """
import numpy as np
import rtx

CLASSES = ["road", "car"]

def maps(images):
    return [np.zeros(image.shape[:2], int) for image in images]

def boxes(images):
    return [dict(boxes=[[0, 0, 8, 8]], scores=[1.0], labels=[1]) for image in images]

segmenter = rtx.Segmenter(maps, CLASSES, name="maps")
detector = rtx.Detector(boxes, CLASSES, name="boxes")
"""


@pytest.mark.parametrize(
    ("name", "task", "metric"),
    [
        ("segmenter", None, "mIoU"),
        ("detector", None, "bbox_mAP"),
        ("boxes", None, "bbox_mAP"),
        ("maps", "maps", "mIoU"),
        ("segmenter", "maps", "mIoU"),
    ],
)
def test_a_cityscapes_folder_takes_detectors_and_segmenters(
    name: str, task: str | None, metric: str, tmp_path: Path
) -> None:
    root = make_cityscapes(tmp_path / "city")
    (tmp_path / "models.py").write_text(MODELS)
    words = [
        "--model",
        f"python:{tmp_path / 'models.py'}:{name}",
        "--data-root",
        str(root),
        *(["--task", task] if task else []),
    ]
    few = ["--corruptions", "fog", "--severities", "3", "--resamples", "0", "--workers", "0"]
    assert main(["corrupt_eval", *words, *few, "--out", str(tmp_path / "out")]) == 0
    cells = json.loads((tmp_path / "out/summary.json").read_text())["cells"]
    assert set(cells) == {"clean", "fog_3"} and metric in cells["clean"]["metrics"]


def test_a_task_that_cannot_be(made_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_cityscapes(tmp_path / "city")
    (tmp_path / "models.py").write_text(MODELS)
    for data, task, said in (
        (root, "boxes", "is a Segmenter, but the data of --data-root score boxes"),
        (root, "classes", "has the layout of cityscapes, which scores boxes or maps"),
        (made_coco, "maps", "has the layout of coco, which scores boxes"),
        (root, "map", "did you mean 'maps'"),
    ):
        words = ["--model", f"python:{tmp_path / 'models.py'}:segmenter", "--data-root", str(data), "--task", task]
        assert main(["corrupt_eval", *words, "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
