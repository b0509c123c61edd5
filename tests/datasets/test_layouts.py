"""Which images of a data folder are exported: those that are evaluated, never those that models are trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.datasets.image_files import SUFFIXES, encode, read_rgb
from rtx.datasets.layouts import find_images
from rtx.errors import DataError
from rtx.evaluation.offline.voc import VocFolder
from tests.makers import make_ade, make_coco, make_voc


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)


def listed(annotations: Path) -> set[str]:
    return {row["file_name"] for row in json.loads(annotations.read_text())["images"]}


def test_the_usual_two_years_of_voc_are_one_test_set(tmp_path: Path) -> None:
    make_voc(tmp_path)
    kit = tmp_path / "VOCdevkit"
    shutil.copytree(kit / "VOC2007", kit / "VOC2012")
    lists = kit / "VOC2012" / "ImageSets" / "Main"
    (lists / "test.txt").rename(lists / "val.txt")
    for root in (tmp_path, kit, kit / "VOC2007"):
        found = find_images(root)
        assert found.layout == "voc" and all(
            "VOC2012" not in str(root / path) for path in (*found.images, *found.labels)
        )
        truth = VocFolder(root, headline="AP50_07")
        assert {path.stem for path in found.images} == set(truth.names)
    assert "VOC2012 not" in find_images(kit).notes[0]


def test_a_voc_folder_without_a_list_to_evaluate_is_not_taken_whole(tmp_path: Path) -> None:
    make_voc(tmp_path)
    lists = tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    for name in ("test", "val"):
        (lists / f"{name}.txt").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"trainval by --split.*--layout folder"):
        find_images(tmp_path)
    assert find_images(tmp_path, split="trainval").layout == "voc"
    assert find_images(tmp_path, "folder").layout == "folder"


def test_coco_images_are_those_that_the_annotations_list(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "annotations" / "captions_train2017.json").write_text("[]")
    for stray in ("panoptic_val2017/1.png", "corrupted_val/2.jpg", "val2017/stray.jpg"):
        picture(tmp_path / stray)
    found = find_images(tmp_path)
    assert {str(p) for p in found.images} == {
        f"val2017/{name}" for name in listed(tmp_path / "annotations/instances_val2017.json")
    }
    assert [str(p) for p in found.labels] == ["annotations/instances_val2017.json"] and not found.notes
    train = find_images(tmp_path, split="train2017")
    assert {str(p.parent) for p in train.images} == {"train2017"}
    assert Path("annotations/instances_train2017.json") in train.labels


def test_coco_images_are_found_in_the_places_of_the_data_adapter(tmp_path: Path) -> None:
    make_coco(tmp_path, splits={"train": 2, "val": 3})
    (tmp_path / "images").mkdir()
    for split in ("train", "val"):
        (tmp_path / split).rename(tmp_path / "images" / f"{split}2017")
    assert {str(p.parent) for p in find_images(tmp_path).images} == {"images/val2017"}
    for split in ("train", "val"):
        for image in (tmp_path / "images" / f"{split}2017").iterdir():
            image.rename(tmp_path / "images" / image.name)
    found = find_images(tmp_path)
    assert {p.name for p in found.images} == listed(tmp_path / "annotations/instances_val.json")
    (tmp_path / found.images[0]).unlink()
    again = find_images(tmp_path)
    assert again.images == found.images, "an export fails on it by name"
    assert f"are not in {tmp_path}/images: {found.images[0].name}" in again.notes[0]


def test_coco_without_val_is_not_taken_whole(tmp_path: Path) -> None:
    make_coco(tmp_path, splits={"train2014": 2, "minival2014": 2})
    with pytest.raises(DataError, match=r"one of minival2014, train2014 by --split.*--layout folder"):
        find_images(tmp_path)
    assert {str(p.parent) for p in find_images(tmp_path, split="minival2014").images} == {"minival2014"}
    picture(tmp_path / "test2017" / "9.jpg")
    found = find_images(tmp_path, split="test2017")
    assert [str(p) for p in found.images] == ["test2017/9.jpg"] and "no annotation file" in found.notes[0]


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    make_coco(tmp_path)
    file = tmp_path / "annotations" / "instances_val2017.json"
    file.write_text(file.read_text().replace('"file_name": "', '"file_name": "../', 1))
    with pytest.raises(DataError, match="leads out"):
        find_images(tmp_path)


def test_ade_without_validation_is_not_taken_whole(tmp_path: Path) -> None:
    make_ade(tmp_path)
    for part in ("images", "annotations"):
        shutil.rmtree(tmp_path / part / "validation")
    with pytest.raises(DataError, match="training by --split"):
        find_images(tmp_path)
    assert find_images(tmp_path, split="training").layout == "ade"


def test_an_exported_ade_folder_says_what_its_numbers_mean(tmp_path: Path) -> None:
    make_ade(tmp_path)
    assert Path("classes.json") in find_images(tmp_path).labels


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in (".jpg", ".jpeg", ".webp")])
def test_every_kind_of_image_is_found_and_written_without_loss(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(pixels, suffix, quality=95))
    assert find_images(tmp_path).images == (Path(path.name),)
    assert (read_rgb(path) == pixels).all()
