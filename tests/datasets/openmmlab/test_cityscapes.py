"""Cityscapes' label maps in configs of mmseg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mmseg")

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from rtx.datasets.openmmlab.checks import check_data
from rtx.datasets.openmmlab.with_data import with_data
from rtx.errors import DataError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def leaf(name: str) -> Config:
    return Config.fromfile(CONFIGS / f"{name}.py")


def test_either_kind_of_label_maps_is_read_alike(city: Path) -> None:
    maps = with_data(leaf("upernet_r50_ade20k"), city)
    check_data(maps)
    assert maps.model.decode_head.num_classes == 19
    init_default_scope("mmseg")
    dataset = DATASETS.build(maps.test_dataloader.dataset)
    expected = dataset[0]["data_samples"].gt_sem_seg.data.numpy()
    for path in (city / "gtFine").rglob("*labelTrainIds.png"):
        path.unlink()
    maps = with_data(leaf("upernet_r50_ade20k"), city)
    check_data(maps)
    found = DATASETS.build(maps.test_dataloader.dataset)[0]["data_samples"].gt_sem_seg.data.numpy()
    np.testing.assert_array_equal(found, expected)
    assert {0, 10, 11, 13} <= set(np.unique(found)) <= {0, 10, 11, 13, 18, 255}


def test_stock_config_of_cityscapes_is_checked(city: Path) -> None:
    cfg = with_data(leaf("upernet_r50_ade20k"), city)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        node = cfg[loader].dataset
        for key in ("img_suffix", "seg_map_suffix", "metainfo", "reduce_zero_label"):
            node.pop(key)
        node.type = "CityscapesDataset"
    check_data(cfg)
    next((city / "gtFine/val").rglob("*labelTrainIds.png")).unlink()
    with pytest.raises(DataError, match="1 of 2 label maps are missing"):
        check_data(cfg, splits=("val",))
