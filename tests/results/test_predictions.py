from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from rtx.errors import BadValue
from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import encode_mask, read_truth
from rtx.results.predictions import (
    detections_to_bytes,
    encode_map,
    maps_to_bytes,
    read_coco_results,
    read_detections,
    read_maps,
)
from tests.metrics.coco_worlds import CATEGORIES, FAMILIES, results, uncompressed, world
from tests.metrics.scores import coco_ap

KINDS = ("bbox", "segm")


@pytest.mark.parametrize("seed", range(len(FAMILIES)))
def test_kept_detections_score_as_before(tmp_path: Path, seed: int) -> None:
    family, content, found = world(seed, n_images=4)
    truth = read_truth(content, quiet=True)
    path = tmp_path / "fog_3.npz"
    path.write_bytes(detections_to_bytes(found, CATEGORIES))
    assert path.read_bytes() == detections_to_bytes(found, CATEGORIES)
    again, classes = read_detections(path)
    assert classes == list(CATEGORIES) and [d.image_id for d in again] == [d.image_id for d in found]
    expected = coco_ap(truth, found, CATEGORIES, kinds=KINDS)
    assert coco_ap(truth, again, CATEGORIES, kinds=KINDS) == pytest.approx(expected, abs=0, nan_ok=True), family


def test_mask_scores_and_missing_masks_are_kept(tmp_path: Path) -> None:
    boxes, ranks = np.array([[0, 0, 5, 5.5]], np.float32), np.array([0.5], np.float32)
    plain = Detections("a", boxes, ranks, np.array([1]))
    path = tmp_path / "x.npz"
    path.write_bytes(detections_to_bytes([plain], ["cat", "dog"]))
    (again,), classes = read_detections(path)
    assert again.masks is None and again.mask_scores is None and classes == ["cat", "dog"] and again.image_id == "a"
    whole = Detections("a", boxes, ranks, np.array([1]), [encode_mask(np.eye(6))], np.array([0.25], np.float32))
    path.write_bytes(detections_to_bytes([whole, Detections("b", boxes[:0], ranks[:0], np.array([], int), [])], [1, 2]))
    first, second = read_detections(path)[0]
    assert first.mask_scores == [0.25] and first.masks == [encode_mask(np.eye(6))] and second.masks == []
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BadValue, match=r"x\.npz: not an rtx file of detections"):
        read_detections(path)


def test_result_files_of_other_tools_score_as_the_detections(tmp_path: Path) -> None:
    _, content, found = world(0)
    truth = read_truth(content, quiet=True)
    expected = coco_ap(truth, found, CATEGORIES, kinds=KINDS)
    rows = results(found)
    lists = copy.deepcopy(rows)
    for row, mask in zip(lists, [m for d in found for m in d.masks or ()], strict=True):
        from pycocotools import mask as codec

        row["segmentation"] = uncompressed(codec.decode(mask))
    boxes = [{k: v for k, v in row.items() if k != "segmentation"} for row in rows]
    masks = [{k: v for k, v in row.items() if k != "bbox"} for row in rows]
    for parts in ([rows], [lists], [{"annotations": rows}], [boxes, masks]):
        paths = []
        for n, part in enumerate(parts):
            paths.append(tmp_path / f"{n}.json")
            paths[-1].write_text(json.dumps(part))
        read = read_coco_results(paths, truth, CATEGORIES)
        for kind in KINDS:
            mine = coco_ap(truth, read[kind], CATEGORIES, kinds=(kind,))
            assert mine == pytest.approx(
                {k: v for k, v in expected.items() if k.startswith(kind)}, abs=1e-9, nan_ok=True
            )


def test_an_empty_result_file_is_no_prediction(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[]")
    assert read_coco_results([path], read_truth(world(0)[1], quiet=True), CATEGORIES) == {"bbox": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 5}, r"row 0: image_id 5 is not in ground truth"),
        ({"image_id": "1000"}, r"image_id '1000' is not in"),
        ({"image_id": None}, r"image_id None"),
        ({"category_id": 2}, r"row 0: category_id 2 is not among the categories"),
        ({"score": "high"}, r"row 0: could not convert"),
        ({"score": float("nan")}, r"scores hold NaN"),
        ({"bbox": [1, 2, 3]}, r"row 0: bbox \[1, 2, 3\] must be"),
        ({"bbox": [1, 2, -3, 4]}, r"must be left, top, width, height"),
        ({"bbox": [1, 2, "x", 4]}, r"row 0: could not convert"),
        ({"bbox": None, "segmentation": None}, r"row 0: has neither bbox nor segmentation"),
        ({"segmentation": {"size": [9, 9], "counts": "x"}}, r"row 0: its mask is not of the image's size"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    _, content, found = world(0)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps([{**results(found)[0], **change}]))
    with pytest.raises(BadValue, match=message):
        read_coco_results([path], read_truth(content, quiet=True), CATEGORIES)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read"), ('{"a": 1}', "is a list of detections"), ("[1]", "is a list"), ("[{}]", "row 0: has no")],
)
def test_files_that_are_no_results_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(BadValue, match=rf"bad\.json.*{message}"):
        read_coco_results([path], read_truth(world(0)[1], quiet=True), CATEGORIES)


def test_label_maps_survive_a_zip_and_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = {f"img_{n}": rng.integers(0, 5 if n else 700, (7, 9)) for n in range(3)}
    content = maps_to_bytes((name, encode_map(labels)) for name, labels in reversed(maps.items()))
    (tmp_path / "fog_3.zip").write_bytes(content)
    assert content == maps_to_bytes((name, encode_map(labels)) for name, labels in maps.items())
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name, labels in maps.items():
        (tmp_path / "deep" / "er" / f"{name}.png").write_bytes(encode_map(labels))
    for place in (tmp_path / "fog_3.zip", tmp_path / "deep"):
        again = dict(read_maps(place))
        assert list(again) == list(maps) and all((again[name] == labels).all() for name, labels in maps.items())


def test_label_maps_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="holds no label map"):
        list(read_maps(tmp_path))
    with pytest.raises(BadValue, match="neither a folder nor a zip"):
        list(read_maps(tmp_path / "absent.zip"))
    PILImage.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(BadValue, match=r"colour\.png.*one channel of class numbers, this one is RGB"):
        list(read_maps(tmp_path))
    (tmp_path / "colour.png").write_bytes(b"no image")
    with pytest.raises(BadValue, match="cannot be read as an image"):
        list(read_maps(tmp_path))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "colour.png").write_bytes(b"")
    with pytest.raises(BadValue, match="two label maps are named 'colour'"):
        list(read_maps(tmp_path))


def rows_of_one(segmentation: Any) -> list[dict[str, Any]]:
    return [dict(image_id=1, category_id=1, score=0.5, segmentation=segmentation)]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        # pycocotools compares the first two without end.
        (dict(size=[4, 5], counts=[3, 4]), "run lengths of the image's size"),
        (dict(size=[4, 5], counts="24"), "not of the image's size"),
        (dict(size=[4, 5], counts="\u00e9"), "not of the image's size"),
        (dict(size=[4, 5], counts=[30, -10]), "run lengths"),
        (dict(size=[5, 4], counts=[20]), "not of the image's size"),
        ([[0.0, 0.0, 1e8, 0.0, 1e8, 1e8]], "outlines"),
        ([[0, 0, float("nan"), 1, 1, 1]], "outlines"),
        ("cow", "outlines"),
    ],
)
def test_masks_that_are_none_are_refused(tmp_path: Path, segmentation: Any, message: str) -> None:
    images = [dict(id=1, width=5, height=4)]
    truth = read_truth(dict(images=images, categories=[dict(id=1, name="a")], annotations=[]))
    path = tmp_path / "found.json"
    path.write_text(json.dumps(rows_of_one(segmentation)))
    with pytest.raises(BadValue, match=message):
        read_coco_results([path], truth, [1])
    path.write_text(json.dumps(rows_of_one(dict(size=[4, 5], counts=[3, 4, 13]))))
    assert read_coco_results([path], truth, [1])["segm"][0].masks


@pytest.mark.parametrize("text", ["[" * 100_000, json.dumps([{"image_id": 1, "category_id": 1, "score": 10**400}])])
def test_results_nested_or_numbered_without_end_are_refused(tmp_path: Path, text: str) -> None:
    truth = read_truth(dict(images=[dict(id=1)], categories=[dict(id=1, name="a")], annotations=[]))
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(BadValue, match=re.escape(str(path))):
        read_coco_results([path], truth, [1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", [2**62, 1]),
        ("counts", [1, 1]),
        ("counts", [4, -1]),
        ("labels", [0, 1, 2]),
        ("labels", [-1, 0, 0]),
        ("labels", [0.0, 1.0, 1.0]),
        ("scores", [0.5, 0.5j, 0.5]),
        ("scores", [True, False, True]),
        ("mask_lengths", [1, 1, 1]),
        ("mask_codes", [0]),
    ],
)
def test_kept_detections_that_do_not_belong_together_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    boxes, masks = np.array([[0, 0, 5, 5.5]] * 3, np.float32), [encode_mask(np.eye(6))] * 3
    ranks, labels = np.full(3, 0.5, np.float32), np.array([0, 1, 1])
    found = [
        Detections("a", boxes[:2], ranks[:2], labels[:2], masks[:2]),
        Detections("b", boxes[2:], ranks[2:], labels[2:], masks[2:]),
    ]
    path = tmp_path / "x.npz"
    path.write_bytes(detections_to_bytes(found, ["cat", "dog"]))
    assert read_detections(path)[0]
    with np.load(path) as there:
        arrays = {**there, name: np.array(value, there[name].dtype if name not in ("labels", "scores") else None)}
    np.savez(path, **arrays)
    with pytest.raises(BadValue, match="not an rtx file of detections"):
        read_detections(path)
