"""The made data sets as OpenMMLab builds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.makers import COCO_NAMES, VOC_NAMES


@pytest.fixture(scope="session")
def coco_set(made_coco: Path) -> Any:
    """The validation images of the made COCO data set."""
    from mmdet.datasets import CocoDataset
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    names = {"classes": COCO_NAMES}
    where = {"ann_file": "annotations/instances_val2017.json", "data_prefix": {"img": "val2017/"}}
    return CocoDataset(data_root=str(made_coco), metainfo=names, test_mode=True, pipeline=[], **where)


@pytest.fixture(scope="session")
def voc_set(made_voc: Path) -> Any:
    """The test images of the made VOC data set."""
    from mmdet.datasets import VOCDataset
    from mmengine.registry import init_default_scope

    from tests.evaluation.scorers.samples import PIPELINE

    init_default_scope("mmdet")
    where = {"ann_file": "VOC2007/ImageSets/Main/test.txt", "data_prefix": {"sub_data_root": "VOC2007/"}}
    names = {"classes": (*VOC_NAMES, "cat")}  # one class without objects
    root = str(made_voc / "VOCdevkit")
    return VOCDataset(data_root=root, metainfo=names, test_mode=True, pipeline=PIPELINE, **where)
