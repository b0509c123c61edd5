"""YOLO and Cityscapes folders in configs: what mmdet and mmseg build from them, and what the check says of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, init_default_scope
from PIL import Image

from rtx.datasets.openmmlab.checks import check_data
from rtx.datasets.openmmlab.with_data import with_data
from rtx.errors import DataError
from rtx.evaluation.scorers.build import build_scorer
from tests.datasets.layout_worlds import to_yolo

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def leaf(name: str) -> Config:
    return Config.fromfile(CONFIGS / f"{name}.py")


def instances(cfg: Config, loader: str) -> list[list[Any]]:
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg[loader].dataset)
    return [dataset.get_data_info(n)["instances"] for n in range(len(dataset))]


def test_a_yolo_folder_trains_as_its_coco_file(made_coco: Path, outlined: Path, tmp_path: Path) -> None:
    """The same boxes, labels and masks, image by image, where COCO has the same objects."""
    tables = to_yolo(made_coco, tmp_path / "again", outlines=True)
    for split, rows in tables.items():
        path = tmp_path / "coco" / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
        (tmp_path / "coco" / f"{split}2017").symlink_to(made_coco / f"{split}2017")
    base = leaf("maskrcnn_r50_coco")
    mine, theirs = with_data(base, outlined), with_data(base, tmp_path / "coco")
    assert mine.rtx_data.layout == "yolo" and mine.model == theirs.model
    for loader in ("train_dataloader", "test_dataloader"):
        one, two = instances(mine, loader), instances(theirs, loader)
        assert len(one) == len(two) and sum(map(len, one)) == sum(map(len, two)) > 3
        for found, expected in zip(one, two, strict=True):
            for a, b in zip(found, expected, strict=True):
                assert a["bbox_label"] == b["bbox_label"] and a["bbox"] == pytest.approx(b["bbox"], abs=1e-9)
                np.testing.assert_allclose(a["mask"], b["mask"], atol=1e-9)


def test_evaluators_follow_the_folder_and_back(made_coco: Path, outlined: Path) -> None:
    base = leaf("maskrcnn_r50_coco")
    there = with_data(base, outlined)
    assert there.test_evaluator.type == "FolderCocoMetric" and "ann_file" not in there.test_evaluator
    metric = METRICS.build(there.val_evaluator)
    assert len(metric._coco_api.getImgIds()) == 4
    other = dict(custom_imports=None, rtx_data=None)
    assert with_data(there, made_coco).to_dict() | other == with_data(base, made_coco).to_dict() | other
    init_default_scope("mmdet")
    scorer = build_scorer(there.test_evaluator, DATASETS.build(there.test_dataloader.dataset))
    assert scorer.kinds == ("bbox", "segm") and len(scorer.truth.images) == 4


def test_the_check_reads_a_yolo_folder(made_coco: Path, outlined: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = with_data(leaf("maskrcnn_r50_coco"), outlined)
    with caplog.at_level(logging.INFO):
        check_data(cfg)
    assert "6 images" in caplog.text and "4 images" in caplog.text
    next(p for p in sorted((outlined / "labels/val").iterdir()) if not p.stat().st_size).unlink()
    with caplog.at_level(logging.WARNING):
        check_data(cfg, splits=("val",))
    assert "val data: 1 of 4 images have no label file" in caplog.text
    picture = next(iter((outlined / "images/val").iterdir()))
    whole = picture.read_bytes()
    picture.write_bytes(whole[:-200])
    with pytest.raises(DataError, match="1 images are damaged"):
        check_data(cfg, splits=("val",))
    Image.new("RGB", (20, 20)).save(picture)
    with pytest.raises(DataError, match="smaller than 32 pixels"):
        check_data(cfg, splits=("val",))
    picture.write_bytes(whole)
    label = next(p for p in sorted((outlined / "labels/train").iterdir()) if p.stat().st_size)
    label.write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match="1 objects have a box and no outline"):
        check_data(cfg, splits=("train",))
    label.write_text("9 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"line 1 .*class 9; data\.yaml has the classes 0 to 2"):
        check_data(cfg, splits=("train",))


def test_an_unlabelled_training_split_is_refused(outlined: Path) -> None:
    cfg = with_data(leaf("fasterrcnn_r50_coco"), outlined)
    for path in (outlined / "labels/train").iterdir():
        path.write_text("")
    with pytest.raises(DataError, match="has no object; there is nothing to learn"):
        check_data(cfg, splits=("train",))


def test_a_layout_of_another_task_is_refused(outlined: Path, city: Path, made_ade: Path) -> None:
    for name, root in (("upernet_r50_ade20k", outlined), ("fasterrcnn_r50_voc", city), ("maskrcnn_r50_coco", made_ade)):
        with pytest.raises(DataError, match=r"has the layout .*, but the config reads"):
            with_data(leaf(name), root)


def test_a_split_that_is_not_there_is_said(outlined: Path) -> None:
    (outlined / "data.yaml").write_text("val: images/val\nnames: [disc, block, stripe]\n")
    cfg = with_data(leaf("maskrcnn_r50_coco"), outlined)
    assert "no train split: it cannot be used" in cfg.rtx_data.notes
    check_data(cfg, splits=("val",))
    with pytest.raises(DataError, match="has no split 'train'"):
        check_data(cfg)
    (outlined / "data.yaml").write_text("test: images/val\nnames: [disc, block, stripe]\n")
    with pytest.raises(DataError, match="neither a train nor a val split; it has test"):
        with_data(leaf("maskrcnn_r50_coco"), outlined)


def test_cityscapes_instances_in_mmdet(city: Path) -> None:
    cfg = with_data(leaf("maskrcnn_r50_coco"), city)
    check_data(cfg)
    assert cfg.model.roi_head.bbox_head.num_classes == 8 == cfg.model.roi_head.mask_head.num_classes
    labels = [[row["bbox_label"] for row in rows] for rows in instances(cfg, "train_dataloader")]
    assert labels == [[7, 0, 2, 2]] * 3
    assert [row["ignore_flag"] for row in instances(cfg, "train_dataloader")[0]] == [1, 0, 0, 0]
