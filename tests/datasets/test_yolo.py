"""YOLO's layout: its objects are those of the COCO file it was made from, and what is wrong with it is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rtx.datasets.annotated import read_annotated
from rtx.datasets.layouts import find_images, layout_of
from rtx.datasets.yolo import find_file, image_files, read_folder
from rtx.errors import DataError
from rtx.metrics.coco_truth import category_ids, read_truth
from tests.datasets.layout_worlds import jittered, to_yolo
from tests.metrics.scores import coco_ap


def first_label(root: Path) -> Path:
    return next(path for path in sorted((root / "labels/val").iterdir()) if path.stat().st_size)


@pytest.mark.parametrize("outlines", [False, True], ids=["boxes", "outlines"])
def test_the_real_subset_scores_as_its_coco_file(real_data: Path, tmp_path: Path, *, outlines: bool) -> None:
    """The same detections have the same AP, whichever layout the ground truth was written in."""
    expected = to_yolo(real_data / "coco_subset", tmp_path / "set", outlines=outlines)["val"]
    found = read_annotated(tmp_path / "set", "yolo", "val")
    assert len(found.tables["annotations"]) == len(expected["annotations"]) > 100 and not found.notes
    by_image = {row["id"]: [] for row in expected["images"]}
    for row in expected["annotations"]:
        by_image[row["image_id"]].append((*row["bbox"], row["area"]))
    for row in found.tables["annotations"]:
        assert (*row["bbox"], row["area"]) == pytest.approx(by_image[row["image_id"]].pop(0), abs=1e-8)
    kinds = ("bbox", "segm") if outlines else ("bbox",)
    scores = []
    for tables in (expected, found.tables):
        truth = read_truth(tables)
        order = category_ids(truth, [row["name"] for row in tables["categories"]])
        scores.append(coco_ap(truth, jittered(truth, order, masks=outlines), order, kinds=kinds))
    assert scores[1] == pytest.approx(scores[0], abs=1e-9, nan_ok=True)
    assert 0.1 < scores[0]["bbox_mAP"] < 0.99


def yaml(root: Path, text: str) -> None:
    (root / "data.yaml").write_text(text)


GOOD = "train: images/train\nval: images/val\nnames: [disc, block, stripe]\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2]", "holds a list"),
        ("names: {", "cannot be read"),
        ("val: images/val\n", "names is 'None'"),
        ("val: images/val\nnames: [a, a, b]\n", "class name 'a' occurs twice"),
        ("val: images/val\nnames: {1: a, 2: b}\n", "count from 0"),
        ("val: images/val\nnames: [a, b]\nnc: 3\n", "nc is 3, but 2 names"),
        ("names: [a]\n", "names no split"),
        ("train: images/train\nnames: [a]\n", "has no split 'val'.*train by --split"),
        ("val: images/gone\nnames: [a]\n", "'images/gone', which is not there"),
        ("val: 3\nnames: [a]\n", "val is '3'"),
        ("val: ../elsewhere\nnames: [a]\n", "lies outside"),
        ("val: [images/val, images/val]\nnames: [a]\n", "listed twice"),
        ("val: labels/val\nnames: [a]\n", "holds no image"),
        ("val: images/val\nnames: [a]\n", "class .*classes 0 to 0"),
    ],
)
def test_what_is_wrong_with_data_yaml_is_said(text: str, complaint: str, yolo: Path) -> None:
    (yolo.parent / "elsewhere").mkdir()
    yaml(yolo, text)
    with pytest.raises(DataError, match=complaint):
        read_annotated(yolo, "yolo", "val")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("[disc, block, stripe]", "{0: disc, 1: block, 2: stripe}"),
        "path: /somewhere/else\n" + GOOD,
        "path: images\nval: val\nnames: [disc, block, stripe]\n",
        GOOD.replace("val: images/val", "val: ../images/val"),
        GOOD.replace("val: images/val", "val: lists/val.txt"),
        GOOD.replace("val: images/val", "val: [images/val]"),
    ],
)
def test_ways_to_name_a_split(text: str, yolo: Path) -> None:
    expected = read_annotated(yolo, "yolo", "val")
    (yolo / "lists").mkdir()
    names = sorted(path.name for path in (yolo / "images/val").iterdir())
    (yolo / "lists/val.txt").write_text("\ufeff" + "".join(f"images/val/{name}\r\n\n" for name in names))
    yaml(yolo, text)
    found = read_annotated(yolo, "yolo", "val")
    assert found.tables == expected.tables and layout_of(yolo) == "yolo"
    assert bool(found.notes) == ("/somewhere" in text)


def test_list_files_with_missing_images_and_ways_out(yolo: Path) -> None:
    yaml(yolo, GOOD.replace("images/val", "val.txt"))
    (yolo / "val.txt").write_text("./images/val/000000000101.jpg\nimages/val/gone.jpg\n")
    with pytest.raises(DataError, match=r"1 of 2 images are missing: .*gone\.jpg"):
        read_annotated(yolo, "yolo", "val")
    (yolo / "val.txt").write_text("images/val/000000000101.jpg\n../secret.jpg\n")
    with pytest.raises(DataError, match=r"line 2 is '\.\./secret\.jpg', which leads out"):
        read_annotated(yolo, "yolo", "val")
    (yolo / "val.txt").write_text("images/val/000000000101.jpg\n" * 2)
    with pytest.raises(DataError, match="listed twice"):
        read_annotated(yolo, "yolo", "val")


def test_images_without_a_label_file_and_lines_twice_are_counted(yolo: Path) -> None:
    empty = [path for path in sorted((yolo / "labels/val").iterdir()) if not path.stat().st_size]
    assert len(empty) == 1 and not read_annotated(yolo, "yolo", "val").notes
    empty[0].unlink()
    label = first_label(yolo)
    before = len(read_annotated(yolo, "yolo", "val").tables["annotations"])
    label.write_text(label.read_text() + label.read_text().splitlines()[0] + "\n")
    found = read_annotated(yolo, "yolo", "val")
    assert len(found.tables["annotations"]) == before
    assert any(note.startswith("1 of 4 images have no label file and count as empty") for note in found.notes)
    assert "1 lines of the label files are there twice and count once" in found.notes
    shutil.rmtree(yolo / "labels/val")
    with pytest.raises(DataError, match=r"no image of val has a label file \(looked for .*labels/val/"):
        read_annotated(yolo, "yolo", "val")


def test_two_images_of_one_name_are_refused(yolo: Path) -> None:
    image = next((yolo / "images/val").iterdir())
    (yolo / "images/val/deep").mkdir()
    shutil.copyfile(image, yolo / "images/val/deep" / image.name)
    with pytest.raises(DataError, match="have the same name"):
        read_annotated(yolo, "yolo", "val")


def test_names_and_places(yolo: Path) -> None:
    (yolo / "data.yaml").rename(yolo / "fruits.yaml")
    assert find_file(yolo) == yolo / "fruits.yaml"
    folder = read_folder(yolo)
    assert folder.names == ("disc", "block", "stripe") and len(image_files(folder, "train")) == 6
    shutil.copyfile(yolo / "fruits.yaml", yolo / "more.yaml")
    assert find_file(yolo) is None and layout_of(yolo) is None
    with pytest.raises(DataError, match=r"has no data\.yaml"):
        read_folder(yolo)


def test_what_is_exported(yolo: Path) -> None:
    found = find_images(yolo)
    assert found.layout == "yolo" and all(path.parts[:2] == ("images", "val") for path in found.images)
    assert len(found.images) == 4 and len(found.labels) == 5
    assert len(find_images(yolo, split="train").images) == 6
