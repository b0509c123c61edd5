"""A config follows the data folder: names, classes, heads and label numbers, and refuses what contradicts itself."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.errors import DataError
from tests.makers import ADE_NAMES, COCO_NAMES, make_ade, make_coco, make_voc

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

from mmengine.config import Config

from rtx.datasets.ade import LabelTable, read_table, settle
from rtx.datasets.openmmlab.nodes import set_num_classes, split_data_sets
from rtx.datasets.openmmlab.with_data import with_data

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def leaf(name: str) -> Config:
    return Config.fromfile(CONFIGS / f"{name}.py")


def built(cfg: Config, split: str) -> list:
    """The split's data sets, built and read, pipelines included."""
    from mmengine.registry import DATASETS, init_default_scope

    init_default_scope(cfg.default_scope)
    return [DATASETS.build(node) for node in split_data_sets(cfg, split)[:1]]


def test_coco_classes_come_from_the_file_and_reach_every_head(
    made_coco: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = leaf("maskrcnn_r50_coco")
    before = cfg.pretty_text
    with caplog.at_level(logging.INFO):
        out = with_data(cfg, made_coco)
    assert cfg.pretty_text == before, "the given config is left alone"
    assert out.model.roi_head.bbox_head.num_classes == out.model.roi_head.mask_head.num_classes == len(COCO_NAMES)
    assert out.test_evaluator.ann_file == str(made_coco / "annotations/instances_val2017.json")
    assert [r.getMessage() for r in caplog.records] == [f"data {made_coco}: {note}" for note in out.rtx_data.notes]
    for split, n_images in (("train", 5), ("val", 4)):  # one training image has no object and is left out
        (data,) = built(out, split)
        assert data.metainfo["classes"] == COCO_NAMES
        assert len(data) == n_images
        table = json.loads(Path(data.ann_file).read_text())
        name = {row["id"]: row["name"] for row in table["categories"]}
        boxes = {row["id"]: [] for row in table["images"]}
        for row in table["annotations"]:
            boxes[row["image_id"]].append(name[row["category_id"]])
        seen = data.get_data_info(0)
        assert [COCO_NAMES[item["bbox_label"]] for item in seen["instances"]] == boxes[seen["img_id"]]
        assert data[0]["inputs"].dtype.is_floating_point is False


def test_coco_folders_without_the_year_are_found(tmp_path: Path) -> None:
    root = make_coco(tmp_path, splits={"train": 2, "val": 2})
    out = with_data(leaf("fasterrcnn_r50_coco"), root)
    assert out.train_dataloader.dataset.ann_file == "annotations/instances_train.json"
    assert out.test_dataloader.dataset.data_prefix.img == "val/"
    assert len(built(out, "val")[0]) == 2


def test_coco_images_in_a_common_folder_are_found(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    (root / "val2017").rename(root / "images")
    out = with_data(leaf("fasterrcnn_r50_coco"), root)
    assert out.val_dataloader.dataset.data_prefix.img == "images/"
    assert "val images from images" in out.rtx_data.notes


def test_cocos_own_classes_need_no_change(tmp_path: Path) -> None:
    from mmdet.datasets import CocoDataset

    root = make_coco(tmp_path, names=CocoDataset.METAINFO["classes"])
    out = with_data(leaf("maskrcnn_r50_coco"), root)
    assert list(out.rtx_data.notes) == []
    assert "metainfo" not in out.val_dataloader.dataset
    assert out.model == leaf("maskrcnn_r50_coco").model


def test_coco_splits_with_other_categories_are_refused(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    path = root / "annotations/instances_val2017.json"
    table = json.loads(path.read_text())
    table["categories"].reverse()
    path.write_text(json.dumps(table))
    with pytest.raises(DataError, match="the same names in another order"):
        with_data(leaf("maskrcnn_r50_coco"), root)


def test_the_classes_of_cascades_and_lists_follow_too() -> None:
    model = {
        "rpn_head": {"num_classes": 1},
        "roi_head": {"bbox_head": [{"num_classes": 80}, {"num_classes": 80}], "mask_head": {"num_classes": 80}},
    }
    assert len(set_num_classes(model, 3)) == 3
    assert model["rpn_head"]["num_classes"] == 1
    assert [head["num_classes"] for head in model["roi_head"]["bbox_head"]] == [3, 3]


@pytest.mark.parametrize("depth", ["above VOCdevkit", "VOCdevkit", "one year"])
def test_voc_is_found_at_every_level(made_voc: Path, depth: str) -> None:
    root = {
        "above VOCdevkit": made_voc,
        "VOCdevkit": made_voc / "VOCdevkit",
        "one year": made_voc / "VOCdevkit/VOC2007",
    }
    out = with_data(leaf("fasterrcnn_r50_voc"), root[depth])
    assert out.model.roi_head.bbox_head.num_classes == 20
    assert len(built(out, "train")[0]) == 5 and len(built(out, "val")[0]) == 4
    assert len(list(split_data_sets(out, "train"))) == 1, "VOC2012 is not there and not asked for"


def test_voc_with_both_years_is_as_upstream(tmp_path: Path) -> None:
    root = make_voc(tmp_path, years={"2007": {"trainval": 3, "test": 2}, "2012": {"trainval": 4}})
    out = with_data(leaf("fasterrcnn_r50_voc"), root)
    assert list(out.rtx_data.notes) == []
    ours, theirs = split_data_sets(out, "train"), split_data_sets(leaf("fasterrcnn_r50_voc"), "train")
    assert [node.ann_file for node in ours] == [node.ann_file for node in theirs]
    assert out.train_dataloader.dataset.times == 3


def test_voc_without_test_is_evaluated_on_val_and_trained_on_train(tmp_path: Path) -> None:
    root = make_voc(tmp_path, years={"2007": {"train": 3, "val": 2}})
    home = root / "VOCdevkit/VOC2007/ImageSets/Main"
    (home / "trainval.txt").write_text((home / "train.txt").read_text() + (home / "val.txt").read_text())
    out = with_data(leaf("fasterrcnn_r50_voc"), root)
    assert split_data_sets(out, "train")[0].ann_file == "VOC2007/ImageSets/Main/train.txt"
    assert out.test_dataloader.dataset.ann_file == "VOC2007/ImageSets/Main/val.txt"
    (home / "train.txt").unlink()
    with pytest.raises(DataError, match=r"2 images are both in .*trainval\.txt and in .*val\.txt"):
        with_data(leaf("fasterrcnn_r50_voc"), root)


def test_voc_trains_on_train_where_trainval_holds_test_images(tmp_path: Path) -> None:
    root = make_voc(tmp_path, years={"2007": {"train": 3, "test": 2}})
    home = root / "VOCdevkit/VOC2007/ImageSets/Main"
    (home / "trainval.txt").write_text((home / "train.txt").read_text() + (home / "test.txt").read_text())
    out = with_data(leaf("fasterrcnn_r50_voc"), root)
    assert split_data_sets(out, "train")[0].ann_file == "VOC2007/ImageSets/Main/train.txt"
    (home / "train.txt").write_text((home / "trainval.txt").read_text())
    with pytest.raises(DataError, match=r"Take them out of VOC2007/ImageSets/Main/train\.txt"):
        with_data(leaf("fasterrcnn_r50_voc"), root)


def test_other_names_than_vocs_become_the_classes(tmp_path: Path) -> None:
    root = make_voc(tmp_path, names=("yeast", "cell"))
    out = with_data(leaf("fasterrcnn_r50_voc"), root)
    assert out.model.roi_head.bbox_head.num_classes == 2
    (data,) = built(out, "val")
    assert data.metainfo["classes"] == ("cell", "yeast")
    assert sum(len(data.get_data_info(n)["instances"]) for n in range(len(data))) > 4
    from mmdet.evaluation import VOCMetric

    metric = VOCMetric()
    metric.dataset_meta = data.metainfo
    gt = dict(bboxes=np.array([[1.0, 1, 30, 30]]), labels=np.array([0]))
    metric.results = [(dict(gt, bboxes_ignore=np.zeros((0, 4)), labels_ignore=np.zeros(0)), [np.zeros((0, 5))] * 2)]
    assert metric.compute_metrics(metric.results)["mAP"] == 0


def test_names_of_which_some_are_vocs_are_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path, names=("person", "cell"))
    with pytest.raises(DataError, match=r"class 'cell' \(in .*xml\) is not one of VOC's twenty, others are.*'person'"):
        with_data(leaf("fasterrcnn_r50_voc"), root)


def test_ade_conventions_give_the_same_labels_whatever_the_numbers_on_disk(tmp_path: Path) -> None:
    one = with_data(leaf("upernet_r50_ade20k"), make_ade(tmp_path / "one"))
    zero = with_data(leaf("upernet_r50_ade20k"), make_ade(tmp_path / "zero", zero_is_unlabelled=False))
    assert one.model.decode_head.num_classes == zero.model.auxiliary_head.num_classes == len(ADE_NAMES)
    for a, b in zip(built(one, "val")[0], built(zero, "val")[0], strict=True):
        labels = a["data_samples"].gt_sem_seg.data
        assert (labels == b["data_samples"].gt_sem_seg.data).all()
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3, 255}
        assert (labels[0, :3] == 255).all() and 0 in labels
        assert (a["inputs"] == b["inputs"]).all()
    assert (
        "MappedSegDataset" in zero.pretty_text and "rtx.datasets.openmmlab.mapped_labels" in zero.custom_imports.imports
    )


def test_labels_with_gaps_are_mapped_and_the_gaps_ignored(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    table = {"classes": [{"label": 2, "name": "disc"}, {"label": 4, "name": "stripe"}]}
    (root / "classes.json").write_text(json.dumps(table))
    out = with_data(leaf("upernet_r50_ade20k"), root)
    (data,) = built(out, "val")
    for item in data:
        raw = np.asarray(Image.open(item["data_samples"].seg_map_path))
        labels = item["data_samples"].gt_sem_seg.data[0].numpy()
        assert ((labels == 0) == (raw == 2)).all() and ((labels == 1) == (raw == 4)).all()
        assert (labels[(raw != 2) & (raw != 4)] == 255).all()


@pytest.mark.parametrize(
    "value, names, labels, void",
    [
        (["a", "b"], ("a", "b"), None, ()),
        ({"0": "a", "1": "b"}, ("a", "b"), (0, 1), ()),
        ({"b": 2, "a": 1}, ("a", "b"), (1, 2), ()),
        ([{"id": 1, "name": "a"}, {"id": 0, "name": "b"}], ("b", "a"), (0, 1), ()),
        ({"classes": ["a"], "ignore_index": 7}, ("a",), None, (7,)),
        ({"classes": [{"label": 0, "name": "a"}], "ignore": "11 = void"}, ("a",), (0,), (11,)),
        ({"classes": {"1": "a"}, "void": [0, 255]}, ("a",), (1,), (0, 255)),
    ],
)
def test_class_files_of_several_shapes_are_read(tmp_path: Path, value: object, names, labels, void) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(value))
    table = read_table(path)
    assert (table.names, table.labels, table.void) == (names, labels, void)


@pytest.mark.parametrize(
    "value", [3, [], ["a", "a"], [{"id": 1}], [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], {"a": "b"}]
)
def test_class_files_that_say_nothing_are_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"classes\.json"):
        read_table(path)


def test_names_without_numbers_are_decided_by_the_label_maps_or_refused(tmp_path: Path) -> None:
    names = LabelTable(ADE_NAMES, None)
    one = make_ade(tmp_path / "one")
    assert settle(names, one, ["training"]).reduce is True
    zero = make_ade(tmp_path / "zero", zero_is_unlabelled=False)
    for path in (zero / "annotations/training").glob("*.png"):
        Image.fromarray(np.minimum(np.asarray(Image.open(path)), 3)).save(path)
    with pytest.raises(DataError, match="leaves open whether classes count from 0 or 1"):
        settle(names, zero, ["training"])
    assert settle(LabelTable(ADE_NAMES, None, reduce=False), zero, ["training"]).labels == (0, 1, 2, 3)


def test_images_of_several_suffixes_are_refused(tmp_path: Path) -> None:
    root = make_ade(tmp_path)
    first = min((root / "images/training").iterdir())
    first.rename(first.with_suffix(".png"))
    with pytest.raises(DataError, match=r"different suffixes \(5 x .jpg, 1 x .png\)"):
        with_data(leaf("upernet_r50_ade20k"), root)


def test_relative_roots_count_from_the_current_folder(made_coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made_coco.parent)
    out = with_data(leaf("maskrcnn_r50_coco"), made_coco.name)
    assert out.rtx_data.root == made_coco.name
    assert len(built(out, "val")[0]) == 4


def test_a_fitted_config_survives_being_written_and_read(tmp_path: Path) -> None:
    out = with_data(leaf("upernet_r50_ade20k"), make_ade(tmp_path / "zero", zero_is_unlabelled=False))
    out.dump(tmp_path / "dumped.py")
    again = Config.fromfile(tmp_path / "dumped.py")
    assert len(built(again, "val")[0]) == 4
    assert again.model.decode_head.num_classes == 4


def test_a_folder_that_does_not_exist_or_has_another_layout_is_named(tmp_path: Path, made_voc: Path) -> None:
    with pytest.raises(DataError, match=r"'.*nowhere' does not exist"):
        with_data(leaf("maskrcnn_r50_coco"), tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has the layout VOC.*but the config reads COCO"):
        with_data(leaf("maskrcnn_r50_coco"), made_voc)
    with pytest.raises(DataError, match=r"none of annotations/instances_train2017\.json"):
        with_data(leaf("maskrcnn_r50_coco"), tmp_path)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name, folder, n_classes, n_train, n_val",
    [
        ("maskrcnn_r50_coco", "coco_subset", 80, 47, 26),
        ("maskrcnn_r50_coco", "coco_fruits_nuts", 3, 7, 3),
        ("fasterrcnn_r50_voc", "voc_bccd", 3, 120, 55),
        ("fasterrcnn_r50_voc", "voc20_from_coco", 20, 10, 8),
        ("upernet_r50_ade20k", "seg_coco_panoptic", 133, 14, 15),
        ("upernet_r50_ade20k", "seg_camvid", 11, 26, 12),
    ],
)
def test_the_real_sets_are_read_whole(real_data: Path, name: str, folder: str, n_classes, n_train, n_val) -> None:
    out = with_data(leaf(name), real_data / folder)
    for node in split_data_sets(out, "train"):
        node.filter_cfg = None
    (train,), (val,) = built(out, "train"), built(out, "val")
    assert (len(train), len(val), len(val.metainfo["classes"])) == (n_train, n_val, n_classes)
    if name.startswith("upernet"):
        values = {int(v) for n in range(3) for v in val[n]["data_samples"].gt_sem_seg.data.unique()}
        assert values <= {*range(n_classes), 255} and len(values) > 3


def test_made_data_are_the_same_every_time(tmp_path: Path, made_coco: Path) -> None:
    again = make_coco(tmp_path / "coco")
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(made_coco) for path in made_coco.rglob("*") if path.is_file())
    assert all((again / path).read_bytes() == (made_coco / path).read_bytes() for path in files)
    shutil.rmtree(again)
