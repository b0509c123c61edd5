"""Cityscapes' layout: what its files mean, by both ways to write them, and what is wrong with them is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as codec

from rtx.datasets import cityscapes
from rtx.datasets.annotated import read_annotated
from rtx.datasets.cityscapes import CLASSES, IDS, INSTANCE_CLASSES, draw_polygons, frames, label_maps
from rtx.datasets.layouts import find_images, layout_of
from rtx.errors import DataError
from rtx.metrics.coco_truth import read_truth, rle
from tests.datasets.layout_worlds import TRAIN_IDS


def files(root: Path, end: str, split: str = "val") -> list[Path]:
    return sorted((root / "gtFine" / split).rglob(f"*_{end}"))


def test_names_and_ids_are_those_of_cityscapes() -> None:
    assert dict(zip(IDS, range(19), strict=True)) == TRAIN_IDS
    assert CLASSES[:3] == ("road", "sidewalk", "building") and CLASSES[10:12] == ("sky", "person")
    assert INSTANCE_CLASSES == ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")


def test_names_and_ids_are_those_of_mmseg() -> None:
    pytest.importorskip("mmseg")
    from mmseg.datasets import CityscapesDataset

    assert CLASSES == CityscapesDataset.METAINFO["classes"]


def test_instances_are_those_of_the_files(city: Path) -> None:
    found = read_annotated(city, "cityscapes", "val")
    truth = read_truth(found.tables)
    names = truth.categories
    assert layout_of(city) == "cityscapes" and list(truth.images) == ["aachen_000000_000019", "ulm_000001_000019"]
    for key, path in zip(truth.images, files(city, "instanceIds.png"), strict=True):
        numbers = np.asarray(Image.open(path)).astype(int)
        rows = [row for row in truth.annotations if row["image_id"] == key]
        assert [(names[row["category_id"]], row["iscrowd"]) for row in rows] == [
            ("bicycle", 1),
            ("person", 0),
            ("car", 0),
            ("car", 0),
        ]
        for row, number in zip(rows, (33, 24000, 26000, 26001), strict=True):
            mask = numbers == number
            np.testing.assert_array_equal(codec.decode(rle(row, truth)).astype(bool), mask)
            lines, columns = np.nonzero(mask)
            left, top = columns.min(), lines.min()
            assert row["bbox"] == [left, top, columns.max() + 1 - left, lines.max() + 1 - top]
            assert row["area"] == mask.sum() > 0


def test_masks_at_the_edges_of_the_image() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (5, 3), (4, 9)):
        for _ in range(30):
            mask = rng.random(shape) < rng.random()
            mask.flat[rng.integers(mask.size)] = True
            row = cityscapes._outline(mask)
            np.testing.assert_array_equal(codec.decode(codec.frPyObjects(row["segmentation"], *shape)), mask)


def test_polygons_say_the_same(city: Path) -> None:
    before = read_annotated(city, "cityscapes", "val")
    for path in files(city, "instanceIds.png"):
        np.testing.assert_array_equal(
            draw_polygons(path.with_name(path.name.replace("instanceIds.png", "polygons.json"))),
            np.asarray(Image.open(path)),
        )
        path.unlink()
    after = read_annotated(city, "cityscapes", "val")
    assert after.tables == before.tables and not before.notes
    assert after.notes == ("2 of 2 images have no instanceIds.png: drawn from polygons.json",)


def test_both_kinds_of_label_maps_mean_the_same(city: Path) -> None:
    end, rule = label_maps(city, "val")
    assert end == "_gtFine_labelTrainIds.png" and not rule.pairs
    expected = [rule.apply(np.asarray(Image.open(path))) for path in files(city, "labelTrainIds.png")]
    for path in files(city, "labelTrainIds.png"):
        path.unlink()
    end, rule = label_maps(city, "val")
    assert end == "_gtFine_labelIds.png"
    found = [rule.apply(np.asarray(Image.open(path))) for path in files(city, "labelIds.png")]
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == {0, 10, 11, 13, 18, 255}
    files(city, "labelIds.png")[0].unlink()
    with pytest.raises(DataError, match=r"1 of 2 images of val have none: aachen_.*csCreateTrainIdLabelImgs"):
        label_maps(city, "val")


def test_what_is_missing_or_wrong_is_named(city: Path) -> None:
    with pytest.raises(DataError, match=r"has no leftImg8bit/test; name one of val, train"):
        frames(city, "test")
    first = files(city, "instanceIds.png")[0]
    numbers = np.array(Image.open(first))
    for wrong, complaint in ((34, "holds 34, which is no class"), (11000, "holds 11000, which is no class and no")):
        Image.fromarray(np.where(numbers == 26000, wrong, numbers).astype(np.uint16)).save(first)
        with pytest.raises(DataError, match=complaint):
            read_annotated(city, "cityscapes", "val")
    Image.fromarray(numbers[:-1]).save(first)
    with pytest.raises(DataError, match=r"is of \(63, 96\) pixels \(H, W\), its image of \(64, 96\)"):
        read_annotated(city, "cityscapes", "val")
    Image.new("RGB", (96, 64)).save(first)
    with pytest.raises(DataError, match="one channel"):
        read_annotated(city, "cityscapes", "val")
    first.unlink()
    polygons = files(city, "polygons.json")[0]
    content = json.loads(polygons.read_text())
    content["objects"][0]["label"] = "dragon"
    polygons.write_text(json.dumps(content))
    with pytest.raises(DataError, match="label 'dragon' is none of Cityscapes'"):
        read_annotated(city, "cityscapes", "val")
    polygons.write_text("[]")
    with pytest.raises(DataError, match="no polygon file of Cityscapes"):
        read_annotated(city, "cityscapes", "val")
    polygons.unlink()
    with pytest.raises(DataError, match=r"have neither instanceIds\.png nor polygons\.json"):
        read_annotated(city, "cityscapes", "val")
    for image in (city / "leftImg8bit/val").rglob("*.png"):
        image.unlink()
    with pytest.raises(DataError, match=r"has no \*_leftImg8bit.png image"):
        frames(city, "val")


def test_what_is_exported(city: Path) -> None:
    found = find_images(city)
    assert found.layout == "cityscapes" and len(found.images) == 2 and len(found.labels) == 8
    assert all(path.parts[:2] == ("leftImg8bit", "val") for path in found.images)
    assert len(find_images(city, split="train").images) == 3
