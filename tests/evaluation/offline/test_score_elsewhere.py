"""Predictions made by another program on an exported set score as the same model does inside the sweep."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

from rtx.cli.main import main  # noqa: E402
from rtx.datasets.voc import NAMES  # noqa: E402
from rtx.errors import BadValue, DataError  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.adapters import Detector, Segmenter  # noqa: E402
from rtx.evaluation.offline.score import check_exported, score_predictions  # noqa: E402
from rtx.evaluation.offline.voc import VocFolder  # noqa: E402
from rtx.results.evaluation import Evaluation  # noqa: E402
from rtx.results.intervals import confidence  # noqa: E402
from rtx.results.predictions import encode_map  # noqa: E402
from rtx.types import Condition  # noqa: E402
from tests.evaluation.models.plain_functions import by_colour, nearest_colour  # noqa: E402
from tests.evaluation.stand_in import CLASSES  # noqa: E402
from tests.makers import ADE_NAMES, VOC_NAMES  # noqa: E402

FEW: dict[str, Any] = dict(corruptions=["pixelate"], severities=[2], workers=0)
FOLDERS = {"clean": "", "pixelate_2": "pixelate_2"}


def export(data: Path, out: Path) -> Path:
    assert (
        main(["corrupt", str(data), "--out", str(out), "--corruptions", "pixelate", "--severities", "2", "--lossless"])
        == 0
    )
    return out


def rgb(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def same_cells(scored: Path, mine: dict[str, Any]) -> None:
    """Equal metrics to 1e-9, in cells that the rest of rtx reads."""
    found = Evaluation.read(scored)
    card, cells = found.card, found.cells
    assert {c.key for c in cells} == set(mine["cells"])
    for condition, cell in cells.items():
        expected = {k: np.nan if v is None else v for k, v in mine["cells"][condition.key]["metrics"].items()}
        assert cell.metrics == pytest.approx(expected, abs=1e-9, nan_ok=True)
        assert cell.n_images == mine["n_images"]
    assert card["corruption_engine"] == "rtx" and card["corruption_at"] == "original_resolution"
    metric = json.loads((scored / "summary.json").read_text())["metric"]
    assert metric == mine["metric"] and confidence(Evaluation.read(scored).evidence, metric, resamples=10).P is not None


def test_coco_results(made_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported = export(made_coco, tmp_path / "exported")
    truth = made_coco / "annotations/instances_val2017.json"
    content = json.loads(truth.read_text())
    ids = {c["name"]: c["id"] for c in content["categories"]}
    for key, folder in FOLDERS.items():
        rows = []
        for image in content["images"]:
            root = exported / folder if folder else made_coco
            found = by_colour([rgb(root / "val2017" / image["file_name"])])[0]
            for box, score, label in zip(*(found[k].tolist() for k in ("boxes", "scores", "labels")), strict=True):
                wide = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                rows.append({"image_id": image["id"], "category_id": ids[CLASSES[label]], "score": score, "bbox": wide})
        (tmp_path / "found").mkdir(exist_ok=True)
        (tmp_path / "found" / f"{key}.json").write_text(json.dumps(rows))
    command = ["score", str(tmp_path / "found"), "--coco", str(truth), "--exported", str(exported), "--resamples", "0"]
    assert main([*command, "--out", str(tmp_path / "scored")]) == 0
    mine = evaluate(Detector(by_colour, CLASSES, name="a"), made_coco, tmp_path / "swept", **FEW)
    assert mine["mPC"] > 0
    same_cells(tmp_path / "scored", mine)
    spoilt = next((exported / "pixelate_2/val2017").iterdir())
    spoilt.write_bytes(spoilt.read_bytes() + b"\0")
    assert main([*command, "--out", str(tmp_path / "x")]) == 2
    assert "is not what was exported (sha256)" in capsys.readouterr().err and not (tmp_path / "x").exists()
    assert main([*command, "--out", str(tmp_path / "x"), "--skip-hashes"]) == 0
    spoilt.unlink()
    assert main([*command, "--out", str(tmp_path / "y"), "--skip-hashes"]) == 2 and "is gone" in capsys.readouterr().err


def test_what_was_not_exported_is_not_scored(made_coco: Path, tmp_path: Path) -> None:
    arguments = ["corrupt", str(made_coco), "--out", str(tmp_path), "--corruptions", "contrast", "--severities", "4"]
    assert main([*arguments, "--limit", "2"]) == 0
    names = {p.stem for p in (made_coco / "val2017").glob("*.jpg")}
    with pytest.raises(BadValue, match=r"contrast_4 lacks 2 of 4 images, e\.g\. '000000000103'"):
        check_exported(tmp_path, [Condition("contrast", 4)], names)
    with pytest.raises(BadValue, match="fog_1 was not exported"):
        check_exported(tmp_path, [Condition("fog", 1)], names)
    assert check_exported(tmp_path, [Condition("contrast", 4)], sorted(names)[:2]) == 2
    with pytest.raises(BadValue, match="not an rtx manifest of an exported set"):
        check_exported(made_coco, [Condition("fog", 1)], names)


def voc_predictions(root: Path, home: Path, kind: str, out: Path) -> None:
    """The stand-in's detections as VOC result files, or as a list."""
    rows = []
    for name in (home / "ImageSets/Main/test.txt").read_text().split():
        found = by_colour([rgb(root / "JPEGImages" / f"{name}.jpg")])[0]
        parts = zip(*(found[k].tolist() for k in ("boxes", "scores", "labels")), strict=True)
        rows += [(name, VOC_NAMES[label], score, box) for box, score, label in parts]
    out.mkdir(parents=True)
    if kind == "json":
        found = [
            dict(image_id=i, category=c, score=s, bbox=[b[0], b[1], b[2] - b[0], b[3] - b[1]]) for i, c, s, b in rows
        ]
        (out / "all.json").write_text(json.dumps(found))
        return
    for label in VOC_NAMES:
        lines = [f"{i} {s!r} {' '.join(str(v + 1) for v in b)}\n" for i, c, s, b in rows if c == label]
        (out / f"comp4_det_test_{label}.txt").write_text("".join(lines))


@pytest.mark.parametrize("kind", ["txt", "json"])
def test_voc_results(kind: str, made_voc: Path, tmp_path: Path) -> None:
    year = "VOCdevkit/VOC2007"
    exported = export(made_voc, tmp_path / "exported")
    for key, folder in FOLDERS.items():
        root = (exported / folder if folder else made_voc) / year
        voc_predictions(root, made_voc / year, kind, tmp_path / "found" / key)
    command = ["score", str(tmp_path / "found"), "--voc", str(made_voc), "--out", str(tmp_path / "scored")]
    more = ["--exported", str(exported), "--resamples", "0", "--classes", *VOC_NAMES]
    assert main([*command, *more]) == 0
    detector = Detector(by_colour, VOC_NAMES, name="a")
    mine = evaluate(detector, made_voc, tmp_path / "swept", classes=VOC_NAMES, keep_predictions=True, **FEW)
    assert mine["mPC"] > 0
    same_cells(tmp_path / "scored", mine)
    kept = ["score", str(tmp_path / "swept/predictions"), "--voc", str(made_voc), "--out", str(tmp_path / "kept")]
    assert main([*kept, *more]) == 0
    same_cells(tmp_path / "kept", mine)


def test_label_maps(made_ade: Path, tmp_path: Path) -> None:
    exported = export(made_ade, tmp_path / "exported")
    for key, folder in FOLDERS.items():
        (tmp_path / "found" / key).mkdir(parents=True)
        for path in ((exported / folder if folder else made_ade) / "images/validation").glob("*.jpg"):
            (tmp_path / "found" / key / f"{path.stem}.png").write_bytes(encode_map(nearest_colour([rgb(path)])[0]))
    labels = made_ade / "annotations/validation"
    command = ["score", str(tmp_path / "found"), "--labels", str(labels), "--n-classes", "4", "--reduce-zero-label"]
    assert main([*command, "--exported", str(exported), "--out", str(tmp_path / "scored"), "--resamples", "0"]) == 0
    mine = evaluate(Segmenter(nearest_colour, ADE_NAMES, name="a"), made_ade, tmp_path / "swept", **FEW)
    assert mine["mPC"] > 0
    same_cells(tmp_path / "scored", mine)


def test_voc_truth_is_what_mmdet_reads(made_voc: Path, tmp_path: Path) -> None:
    from mmdet.datasets import VOCDataset
    from mmengine.registry import init_default_scope

    from rtx.evaluation.scorers.build import build_scorer

    shutil.copytree(made_voc, tmp_path / "voc")
    home = tmp_path / "voc/VOCdevkit/VOC2007"
    names = (home / "ImageSets/Main/test.txt").read_text().split()
    xml = home / "Annotations" / f"{names[0]}.xml"
    tree = ElementTree.parse(xml)
    first, second, third = tree.getroot().findall("object")
    for box, value in (("xmin", "40"), ("xmax", "40")):  # no width
        first.find(f"bndbox/{box}").text = value  # type: ignore[union-attr]
    second.find("name").text = "cat"  # type: ignore[union-attr]
    second.find("bndbox/xmin").text = "3.7"  # type: ignore[union-attr]
    third.remove(third.find("difficult"))  # type: ignore[arg-type]
    tree.write(xml)
    init_default_scope("mmdet")
    prefix = dict(sub_data_root="VOC2007/")
    dataset = VOCDataset(
        data_root=str(home.parent),
        ann_file="VOC2007/ImageSets/Main/test.txt",
        data_prefix=prefix,
        test_mode=True,
        pipeline=[],
    )
    theirs: Any = build_scorer(dict(type="VOCMetric", eval_mode="11points"), dataset)
    mine = VocFolder(tmp_path / "voc")
    assert mine.classes == NAMES == tuple(dataset.metainfo["classes"]) and len(mine.images) == len(dataset)
    assert any(truth.difficult.any() for truth in mine.truth)
    for truth in mine.truth:
        for part in ("boxes", "labels", "difficult"):
            assert (getattr(truth, part) == getattr(theirs.truth[truth.image_id], part)).all()
    assert mine.metric.card() == theirs.card()


def test_faults_of_voc_predictions_name_file_and_row(made_voc: Path, tmp_path: Path) -> None:
    truth = VocFolder(made_voc, classes=VOC_NAMES)
    (tmp_path / "p/clean").mkdir(parents=True)
    stem = sorted(truth.names)[0]
    for name, text, message in (
        ("a_boat.txt", "", "a_boat.txt: is named after none of the classes"),
        ("a_car.txt", f"{stem} 0.5 1 2 3\n", "line 1: must be image, score, left"),
        ("a_car.txt", f"{stem} nan 1 2 3 4\n", "line 1: box .* must be numbers"),
        ("a_car.txt", f"\n{stem} 0.5 9 2 3 4\n", "line 2: box .* right and bottom not before"),
        ("a_car.txt", "stranger 0.5 1 2 3 4\n", "image 'stranger' is not in"),
        ("a.json", json.dumps([dict(image_id=stem, category="cat", score=1, bbox=[0, 0, 1, 1])]), "class 'cat'"),
        (
            "a.json",
            json.dumps([dict(image_id=stem, category_id=1, score=1, bbox=[0, 0, 1, 1])]),
            "row 0: needs image_id",
        ),
        ("a.json", "{}", "must be a list of detections"),
    ):
        path = tmp_path / "p/clean" / name
        path.write_text(text)
        with pytest.raises((BadValue, ValueError), match=message):
            score_predictions(tmp_path / "p", truth, tmp_path / "out")
        path.unlink()
    with pytest.raises(DataError, match="no VOC data set"):
        VocFolder(tmp_path)
    with pytest.raises(DataError, match=r"no ImageSets/Main/eval\.txt"):
        VocFolder(made_voc, split="eval")


@pytest.mark.realdata
def test_blood_cells_with_boxes_of_zero_area(real_data: Path, tmp_path: Path) -> None:
    truth = VocFolder(real_data / "voc_bccd")
    assert truth.classes == ("Platelets", "RBC", "WBC") and len(truth.images) == 55
    rows = [
        dict(image_id=t.image_id, category=truth.classes[n], score=1, bbox=[b[0], b[1], b[2] - b[0], b[3] - b[1]])
        for t in truth.truth
        for b, n in zip(t.boxes.tolist(), t.labels.tolist(), strict=True)
    ]
    (tmp_path / "p").mkdir()
    (tmp_path / "p/clean.json").write_text(json.dumps(rows))
    summary = score_predictions(tmp_path / "p", truth, tmp_path / "out")
    assert summary["cells"]["clean"]["metrics"]["AP50_07"] > 0.99, "VOC's widths reach flat boxes too"
