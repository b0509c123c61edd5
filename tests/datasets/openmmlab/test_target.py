"""A target as a data set: its subset, its pixels, and what is checked before a training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

pytest.importorskip("mmpretrain")

import mmpretrain.datasets.transforms  # noqa: F401
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from rtx.datasets.label_subset import choose
from rtx.datasets.openmmlab.checks import check_sets
from rtx.datasets.openmmlab.target import TargetDataset, classes_hash
from rtx.datasets.openmmlab.with_data import with_data
from rtx.datasets.target_data import open_target
from rtx.errors import BadValue, DataError
from tests.datasets.target_worlds import cifar, picture

PIPELINE = [
    dict(type="LoadTargetImage"),
    dict(type="ResizeEdge", scale=32),
    dict(type="CenterCrop", crop_size=32),
    dict(type="PackInputs"),
]


def folder(root: Path, *sizes: int) -> Path:
    for split in ("train", "test"):
        for label, size in enumerate(sizes):
            for n in range(size if split == "train" else 1):
                picture(root / split / f"c{label}" / f"{n}.png", 100 * label + n)
    return root


def built(root: Path, target: str = "folder", **options: Any) -> TargetDataset:
    init_default_scope("mmpretrain")
    node = dict(type="TargetDataset", target=target, data_root=str(root), split="train", pipeline=PIPELINE)
    dataset: TargetDataset = DATASETS.build({**node, **options})
    return dataset


def test_the_subset_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    root = folder(tmp_path, 9, 2, 5)
    labels = open_target("folder", root, "train").labels
    expected = Counter(labels[choose(labels, 7, 3)].tolist())
    seen = []
    for workers in (0, 1, 2):
        dataset = built(root, images=7, images_seed=3)
        loader = DataLoader(dataset, batch_size=2, num_workers=workers, collate_fn=list)
        samples = [row["data_samples"] for batch in loader for row in batch]
        assert Counter(int(sample.gt_label) for sample in samples) == expected
        seen.append([sample.img_path for sample in samples])
    assert seen[0] == seen[1] == seen[2] and len(set(seen[0])) == 7
    assert set(expected) == {0, 1, 2}
    with pytest.raises(BadValue, match="17 images of a training set of 16"):
        built(root, images=17)
    with pytest.raises(BadValue, match="2 images for 3 classes"):
        built(root, images=2)


def test_files_and_archives_give_the_targets_pixels(tmp_path: Path) -> None:
    root = folder(tmp_path / "files", 2, 2)
    archive = cifar(tmp_path / "colour", list(range(10)))
    for target, place in (("folder", root), ("cifar10", archive)):
        data = open_target(target, place, "train", subset=True)
        dataset = built(place, target, subset=True, pipeline=[PIPELINE[0], PIPELINE[-1]])
        assert len(dataset) == len(data) and dataset.metainfo["classes"] == data.classes
        found = dataset[1]["inputs"].numpy()[::-1].transpose(1, 2, 0)  # mmpretrain's preprocessor turns BGR to RGB
        assert np.array_equal(found, data.image(1))
        assert dataset.get_data_info(1)["gt_label"] == data.labels[1]


def test_a_damaged_image_that_is_used_is_found_before_training(tmp_path: Path) -> None:
    root = folder(tmp_path, 9, 2, 5)
    node = dict(type="TargetDataset", target="folder", data_root=str(root), split="train", images=6)
    dataset = built(root, images=6)
    chosen = [Path(dataset.get_data_info(n)["img_path"]) for n in range(6)]
    unused = next(path for path in sorted(root.glob("train/c0/*.png")) if path not in chosen)
    unused.write_bytes(unused.read_bytes()[:-40])
    check_sets([("train", node)])
    chosen[0].write_bytes(chosen[0].read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"1 images are damaged: {chosen[0]} \(the file is truncated"):
        check_sets([("train", node)])


def test_images_of_an_archive_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cifar(tmp_path, range(10))
    for images, said in ((None, 50), (11, 11)):
        node = dict(type="TargetDataset", target="cifar10", data_root=str(tmp_path), split="train", subset=True)
        caplog.clear()
        with caplog.at_level("INFO"):
            check_sets([("train", {**node, "images": images})])
        assert f"train data: {said} images in {tmp_path}" in caplog.text


def test_images_under_32_pixels_are_accepted_since_they_are_enlarged(tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(tmp_path / split / "a" / "1.png", size=(20, 24))
    check_sets([("val", dict(type="TargetDataset", target="folder", data_root=str(tmp_path), split="test"))])


def test_a_config_moves_to_another_folder_with_its_head(tmp_path: Path) -> None:
    sets = [dict(type="TargetDataset", target="folder", data_root="nowhere", split=s) for s in ("train", "test")]
    loaders = {f"{key}_dataloader": dict(dataset=sets[key != "train"]) for key in ("train", "val", "test")}
    model = dict(head=dict(type="LinearClsHead", num_classes=9))
    cfg = Config(dict(default_scope="mmpretrain", model=model, data_preprocessor=dict(num_classes=9), **loaders))
    new = with_data(cfg, folder(tmp_path, 2, 1, 1))
    assert new.model.head.num_classes == new.data_preprocessor.num_classes == 3
    assert new.test_dataloader.dataset.data_root == new.train_dataloader.dataset.data_root == str(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        with_data(cfg, tmp_path / "other")


def test_a_folder_of_other_classes_than_the_config_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path, 2, 1)
    assert len(built(root, classes_sha256=classes_hash(["c0", "c1"]))) == 3
    for other in (["c1", "c0"], ["c0", "c1", "c2"]):
        with pytest.raises(DataError, match=r"holds 2 classes \(c0, c1\), which are not those that the config"):
            built(root, classes_sha256=classes_hash(other))
