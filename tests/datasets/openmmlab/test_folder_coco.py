"""mmdet's own COCO classes on folders without a COCO file."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mmdet")

from mmengine.registry import DATASETS, METRICS

import rtx.datasets.openmmlab.folder_coco  # noqa: F401 (registers the classes)
from rtx.datasets.annotated import read_annotated


@pytest.mark.parametrize("split", ["train", "val"])
def test_data_set_and_metric_see_what_the_reader_sees(outlined: Path, split: str) -> None:
    expected = read_annotated(outlined, "yolo", split).tables
    metric = METRICS.build(dict(type="FolderCocoMetric", layout="yolo", data_root=str(outlined), split=split))
    assert len(metric._coco_api.getAnnIds()) == len(expected["annotations"])
    classes = [row["name"] for row in expected["categories"]]
    data = dict(type="YoloDataset", data_root=str(outlined), split=split, metainfo=dict(classes=classes), pipeline=[])
    dataset = DATASETS.build(data | dict(data_prefix=dict(img=""), test_mode=True))
    assert [dataset.get_data_info(n)["img_id"] for n in range(len(dataset))] == [
        row["id"] for row in expected["images"]
    ]
    assert all(Path(dataset.get_data_info(n)["img_path"]).is_file() for n in range(len(dataset)))
