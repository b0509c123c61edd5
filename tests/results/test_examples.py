"""The example images that an evaluation keeps: the same for every model, with truth, predictions and original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from PIL import Image

from rtx.evaluation.pixels.corrupt import Corrupt
from rtx.files import write_whole
from rtx.metrics.coco import Detections
from rtx.reports.strips.examples import picture
from rtx.results.examples import outlines, pool, read_examples, truth_map, write_examples
from rtx.results.predictions import detections_to_bytes, encode_map, maps_to_bytes
from rtx.types import CLEAN, Condition

FOG = Condition("fog", 3)
CARD = {
    "corruption_engine": "rtx",
    "corruption_seed": 5,
    "channel_order": "rgb",
    "corruption_at": "original_resolution",
    "image_key": "file_stem",
}


class Scenes:
    """A data set of random images, as far as examples look at one."""

    metainfo: ClassVar = {"classes": ("a", "b")}

    def __init__(self, root: Path, count: int, *, maps: bool = False) -> None:
        self.infos: list[dict[str, Any]] = []
        for n in range(count):
            rng = np.random.default_rng(n)
            path = root / f"scene_{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(path)
            info: dict[str, Any] = {"img_path": str(path), "img_id": n, "height": 60, "width": 80}
            if maps:
                labels = np.zeros((60, 80), np.uint8)
                labels[:, 40:], labels[:5], labels[:, :3] = 2, 1, 255
                Image.fromarray(labels).save(root / f"label_{n}.png")
                info |= {"seg_map_path": str(root / f"label_{n}.png"), "reduce_zero_label": True, "label_map": None}
            elif n != 1:  # one image holds nothing
                box = {"bbox": [10, 10, 30, 40], "bbox_label": n % 2, "mask": [[10, 10, 30, 10, 30, 40, 10, 40]]}
                crowd = {"bbox": [0, 0, 80, 60], "bbox_label": 1, "ignore_flag": 1}
                info["instances"] = [box, crowd]
            self.infos.append(info)

    def get_data_info(self, index: int) -> dict[str, Any]:
        return self.infos[index]

    def __len__(self) -> int:
        return len(self.infos)


def keep(out: Path, count: int, *, conditions: tuple[Condition, ...] = (CLEAN, FOG)) -> None:
    for condition in conditions:
        boxes, scores = np.array([[11.0, 10, 30, 41], [0, 0, 9, 9]]), np.array([0.9, 0.2])
        found = [Detections(n, boxes, scores, np.array([n % 2, 0])) for n in range(count)]
        write_whole(out / "predictions" / f"{condition.key}.npz", detections_to_bytes(found, [3, 7]))


def test_boxes_truth_and_original(tmp_path: Path) -> None:
    dataset = Scenes(tmp_path / "data", 4)
    keep(tmp_path / "out", 4)
    write_examples(tmp_path / "out", dataset, range(4), (CLEAN, FOG, Condition("snow", 1)))
    found = read_examples(tmp_path / "out", CARD)
    assert found is not None and found.task == "detection" and found.classes == ("a", "b") and found.evaluated == 4
    assert set(found.images) == {"scene_0", "scene_2", "scene_3"}  # the empty one cannot show anything
    example = found.images["scene_3"]
    assert [box.label for box in example.truth] == [1] and example.truth[0].polygons  # crowds are no objects
    assert [box.bbox for box in example.ignored] == [(0, 0, 80, 60)]  # and what is found in them is not wrong
    assert set(example.views) == {CLEAN, FOG}
    assert [(box.label, box.score) for box in example.views[FOG].boxes] == [(1, 0.9)]


@pytest.mark.parametrize("order", ["rgb", "bgr_legacy"])
def test_the_pixels_are_those_that_the_model_saw(tmp_path: Path, order: str) -> None:
    dataset = Scenes(tmp_path / "data", 3)
    keep(tmp_path / "out", 3)
    write_examples(tmp_path / "out", dataset, range(3), (CLEAN, FOG))
    card = {**CARD, "channel_order": order}
    found = read_examples(tmp_path / "out", card)
    assert found is not None
    path = dataset.infos[2]["img_path"]
    step = Corrupt("fog", 3, seed=5, channel_order=order, engine="rtx")
    seen = step.transform({"img_path": path, "img": cv2.imread(path)})["img"][..., ::-1]
    example = found.images["scene_2"]
    assert example.original is not None and example.original.name != Path(path).name
    assert (picture(example, FOG) == seen).all()  # 80 pixels are narrower than a tile


def test_pixels_that_cannot_be_made_again_are_not_shown(tmp_path: Path) -> None:
    keep(tmp_path / "out", 3)
    write_examples(tmp_path / "out", Scenes(tmp_path / "data", 3), range(3), (CLEAN, FOG))
    for change in (
        {"corruption_engine": "unstated"},
        {"corruption_at": "network_input"},
        {"image_key": "other"},
        {"channel_order": "odd"},
    ):
        found = read_examples(tmp_path / "out", {**CARD, **change})
        assert found is not None and set(found.images["scene_0"].views) == {CLEAN}


def test_the_pool_depends_on_the_data_alone(tmp_path: Path) -> None:
    dataset = Scenes(tmp_path, 12)
    one = [info["img_id"] for info in pool(dataset, range(12), 4)]
    assert len(one) == 4 and 1 not in one
    assert {info["img_id"] for info in pool(dataset, list(range(11, -1, -1)), 4)} == set(one)
    assert len(pool(dataset, range(12), 4, most_bytes=1)) == 1


def test_label_maps(tmp_path: Path) -> None:
    dataset = Scenes(tmp_path / "data", 2, maps=True)
    for condition in (CLEAN, FOG):
        maps = [(f"scene_{n}", encode_map(np.full((60, 80), n, np.int64))) for n in range(2)]
        write_whole(tmp_path / "out" / "predictions" / f"{condition.key}.zip", maps_to_bytes(maps))
    write_examples(tmp_path / "out", dataset, range(2), (CLEAN, FOG))
    found = read_examples(tmp_path / "out", CARD)
    assert found is not None and found.task == "segmentation"
    view = found.images["scene_1"].views[FOG]
    assert view.map is not None and (np.asarray(Image.open(view.map)) == 1).all()
    truth = truth_map(dataset.infos[0])
    assert truth[30, 60] == 1 and truth[2, 60] == 0 and truth[30, 20] == 255 and truth[30, 1] == 255


def test_nothing_to_draw_writes_nothing(tmp_path: Path) -> None:
    dataset = Scenes(tmp_path / "data", 2)
    assert write_examples(tmp_path / "out", dataset, range(2), (CLEAN, FOG)) is None
    keep(tmp_path / "out", 2)
    for info in dataset.infos:
        info["gt_label"] = 0
    assert write_examples(tmp_path / "out", dataset, range(2), (CLEAN, FOG)) is None
    assert not (tmp_path / "out" / "examples").exists()


def test_outlines_hold_the_mask() -> None:
    from pycocotools import mask as codec

    pixels = np.zeros((50, 70), np.uint8)
    pixels[10:40, 20:60] = 1
    rings = outlines(dict(codec.encode(np.asfortranarray(pixels))), (50, 70))
    assert len(rings) == 1 and cv2.contourArea(np.array(rings[0]).reshape(-1, 1, 2)) == pytest.approx(29 * 39, rel=0.02)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = Scenes(tmp_path / "data", 3)
    keep(tmp_path / "out", 3)
    texts = []
    for _ in range(2):
        path = write_examples(tmp_path / "out", dataset, range(3), (CLEAN, FOG))
        assert path is not None
        texts.append(path.read_bytes())
    assert texts[0] == texts[1] and json.loads(texts[0])["format"] == "rtx.examples/1"
