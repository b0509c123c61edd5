"""The data's part of the key: the same pictures under any root, and no other picture under the same name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("mmdet")

from rtx.errors import RunConflict
from rtx.evaluation.card import size_card
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.identity import images_sha256
from rtx.results.protocol import protocol_key
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.makers import make_coco


class Pictures:
    """A data set of files, or of arrays in memory."""

    def __init__(self, infos: list[dict[str, Any]]) -> None:
        self.infos = infos

    def get_data_info(self, index: int) -> dict[str, Any]:
        return self.infos[index]


def test_another_picture_of_the_same_size_in_bytes_is_other_data(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    path, label = tmp_path / "a/one.bmp", tmp_path / "a/one.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), image)
    cv2.imwrite(str(label), image[..., 0])
    data = Pictures([{"img_path": str(path)}, {"img_path": str(label)}])
    before, size = images_sha256(data, [0, 1]), path.stat().st_size
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    moved = Pictures([{"img_path": str(tmp_path / "b/one.bmp")}, data.infos[1]])
    assert images_sha256(moved, [0, 1]) == before, "a moved data set is the same one"
    assert len({before, images_sha256(data, [0]), images_sha256(data, [1]), images_sha256(data, [1, 0])}) == 4
    image[20, 20] ^= 1
    cv2.imwrite(str(path), image)
    assert path.stat().st_size == size and images_sha256(data, [0, 1]) != before


def test_pictures_in_memory_count_as_well() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    found = {images_sha256(Pictures([{"img": image + n}]), [0]) for n in range(3)}
    assert len(found) == 3


def test_cells_of_replaced_pictures_are_not_taken_for_those_of_the_new_ones(tmp_path: Path) -> None:
    few: dict[str, Any] = dict(corruptions=["contrast"], severities=[0], workers=0, resamples=0)
    root = make_coco(tmp_path / "data")
    evaluate(PixelDetector(), coco_config(root), tmp_path / "out", **few)
    path = sorted((root / "val2017").iterdir())[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunConflict, match="images_sha256"):
        evaluate(PixelDetector(), coco_config(root), tmp_path / "out", **few)


@pytest.mark.parametrize(
    ("engine", "place", "size", "stated"),
    [
        ("rtx", "original_resolution", (4000, 3000), True),
        ("rtx", "original_resolution", (1900, 1000), False),
        ("rtx", "network_input", (4000, 3000), False),
        ("rtx-cifar10c", "original_resolution", (640, 480), True),
        ("rtx-cifar10c", "original_resolution", (32, 32), False),
        ("imagecorruptions", "original_resolution", (4000, 3000), False),
        ("stored_files", "stored_files_as_is", (4000, 3000), False),
    ],
)
def test_the_key_is_another_where_an_image_is_smoothed_by_waves_and_nowhere_else(
    engine: str, place: str, size: tuple[int, int], stated: bool
) -> None:
    card = {"corruption_engine": engine, "corruption_at": place}
    images = Pictures([{"width": width, "height": height} for width, height in ((32, 32), size)])
    more = size_card(card, images, [0, 1])
    assert (more == {"elastic_smoothing": "sliding_waves"}) is stated and (more == {}) is not stated
    assert (protocol_key({**card, **more}) != protocol_key(card)) is stated
    assert size_card(card, images, [0]) == {}  # only images that are evaluated count
