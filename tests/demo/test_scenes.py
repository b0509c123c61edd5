"""Laws of the rendered scenes: reproducible, exact, and read back as they were drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtx.demo.scenes import (
    CLASSES,
    MIN_VISIBLE,
    SOURCE_CLASSES,
    Scene,
    render_crop,
    render_scene,
    tight_box,
)
from rtx.demo.scenes_coco import write_scenes
from rtx.errors import BadValue, UnknownName

COUNTS = {"train": 4, "val": 3}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(7, "train", index) for index in range(30)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(path, COUNTS, seed=5, size=(128, 160))
    return path


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_and_another_seed_other_bytes(root: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "again", COUNTS, seed=5, size=(128, 160))
    write_scenes(tmp_path / "other", COUNTS, seed=6, size=(128, 160))
    first = digests(root)
    assert first == digests(tmp_path / "again")
    changed = {name for name, digest in digests(tmp_path / "other").items() if first.get(name) != digest}
    assert {name for name in first if name.endswith(".jpg")} <= changed


def test_a_scene_does_not_depend_on_how_many_there_are(scenes: list[Scene]) -> None:
    np.testing.assert_array_equal(render_scene(7, "train", 17).image, scenes[17].image)


def test_splits_and_indices_differ(scenes: list[Scene]) -> None:
    others = [render_scene(7, "val", index) for index in range(5)]
    assert len({scene.image.tobytes() for scene in [*scenes, *others]}) == 35


def test_boxes_are_tight_bounds_of_visible_masks(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.things:
            x, y, width, height = thing.box
            inside = thing.mask[y : y + height, x : x + width]
            assert inside.sum() == thing.mask.sum() > 0
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_every_pixel_has_one_owner_at_most(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert np.sum([thing.mask for thing in scene.things], axis=0).max() == 1


def test_all_classes_occur(scenes: list[Scene]) -> None:
    assert {thing.label for scene in scenes for thing in scene.things} == set(range(len(CLASSES)))
    assert {render_crop(7, index)[1] for index in range(200)} == set(range(len(SOURCE_CLASSES)))


def test_every_target_class_is_a_kind_the_source_knows() -> None:
    assert set(CLASSES.values()) <= set(SOURCE_CLASSES)
    assert 0.5 < MIN_VISIBLE < 1


def test_objects_stand_out_from_the_ground(scenes: list[Scene]) -> None:
    """Texture is far coarser on the objects than on the ground, or corruptions would have nothing to break."""
    on, off = [], []
    for scene in scenes:
        strokes = np.abs(cv2.Laplacian(cv2.GaussianBlur(scene.image, (3, 3), 0), cv2.CV_64F))
        on += [float(strokes[thing.mask].mean()) for thing in scene.things]
        off.append(float(strokes[~np.any([thing.mask for thing in scene.things], axis=0)].mean()))
    assert np.mean(on) > 2 * np.mean(off)


@pytest.mark.parametrize("size", [(96, 96), (97, 131), (240, 160)])
def test_any_size(size: tuple[int, int]) -> None:
    scene = render_scene(0, "val", 0, size=size)
    assert scene.image.shape == (*size, 3) and scene.image.dtype == np.uint8


def test_bad_input() -> None:
    with pytest.raises(BadValue, match=r"64x200.*96"):
        render_scene(0, "val", 0, size=(64, 200))
    with pytest.raises(BadValue, match="-1"):
        render_scene(-1, "val", 0)
    with pytest.raises(UnknownName, match="val"):
        write_scenes(Path("nowhere"), {"vall": 1})


def test_tight_box_of_one_pixel() -> None:
    mask = np.zeros((5, 9), bool)
    mask[3, 8] = True
    assert tight_box(mask) == (8, 3, 1, 1)


def test_coco_reads_back_exactly(root: Path) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    for split, count in COUNTS.items():
        coco = coco_module.COCO(str(root / "annotations" / f"instances_{split}2017.json"))
        assert len(coco.imgs) == count and [c["name"] for c in coco.cats.values()] == list(CLASSES)
        for index, info in enumerate(coco.imgs.values()):
            scene = render_scene(5, split, index, size=(128, 160))
            entries = coco.loadAnns(coco.getAnnIds(info["id"]))
            assert len(entries) == len(scene.things)
            for entry, thing in zip(entries, scene.things, strict=True):
                np.testing.assert_array_equal(coco.annToMask(entry).astype(bool), thing.mask)
                assert entry["area"] == thing.mask.sum() and tuple(entry["bbox"]) == thing.box
                assert list(CLASSES)[thing.label] == coco.cats[entry["category_id"]]["name"]
            photo = cv2.imread(str(root / f"{split}2017" / info["file_name"]))
            assert np.abs(photo[..., ::-1].astype(int) - scene.image).mean() < 4  # JPEG, and RGB as written


def test_mmdet_reads_them(root: Path) -> None:
    datasets = pytest.importorskip("mmdet.datasets")
    coco = datasets.CocoDataset(
        ann_file="annotations/instances_val2017.json", data_prefix={"img": "val2017/"}, data_root=str(root),
        metainfo={"classes": tuple(CLASSES)}, pipeline=[], test_mode=True,
    )  # fmt: skip
    assert len(coco) == COUNTS["val"]
    for index in range(len(coco)):
        things = render_scene(5, "val", index, size=(128, 160)).things
        instances = coco.get_data_info(index)["instances"]
        assert [i["bbox_label"] for i in instances] == [thing.label for thing in things]
        for (x, y, width, height), instance in zip((thing.box for thing in things), instances, strict=True):
            np.testing.assert_array_equal(instance["bbox"], [x, y, x + width, y + height])
