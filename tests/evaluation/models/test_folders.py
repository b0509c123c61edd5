"""What a data folder holds for an adapter is what OpenMMLab's data sets read in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mmdet")

from mmdet.datasets import CocoDataset
from PIL import Image

from rtx.evaluation.models.folders import read_coco

FILE = "annotations/instances_val2017.json"


def odd_coco(root: Path) -> Path:
    """Boxes without area, outside of the image, thinner than a pixel, crowds, and such as say "ignore"."""
    rng = np.random.default_rng(3)
    images, boxes = [], []
    for key in (7, 3, 12, 5):
        width, height = (int(side) for side in rng.integers(40, 90, 2))
        images.append(dict(id=key, file_name=f"{key}.png", width=width, height=height))
        (root / "val2017").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height)).save(root / "val2017" / f"{key}.png")
    for n in range(120):
        box = [*rng.uniform(-30, 90, 2).tolist(), *rng.choice([0, 0.9, 1, 30], 2, p=[0.1, 0.1, 0.2, 0.6]).tolist()]
        area = float(rng.choice([0, box[2] * box[3]], p=[0.1, 0.9]))
        row = dict(id=n, image_id=images[n % 4]["id"], category_id=(9, 2, 5)[n % 3], bbox=box, area=area)
        boxes.append(row | dict(iscrowd=int(n % 7 == 0)) | (dict(ignore=n % 2) if n % 5 == 0 else {}))
    categories = [dict(id=key, name=name) for key, name in ((9, "pear"), (2, "fig"), (5, "nut"))]
    (root / FILE).parent.mkdir()
    (root / FILE).write_text(json.dumps(dict(images=images, annotations=boxes, categories=categories)))
    return root


@pytest.mark.parametrize("wanted", [None, ("nut", "pear")])
def test_rows_of_coco_are_those_of_mmdet(wanted: tuple[str, ...] | None, tmp_path: Path) -> None:
    root = odd_coco(tmp_path / "data")
    held = read_coco(root, annotations=None, wanted=wanted, known=())
    where = dict(data_root=str(root), ann_file=FILE, data_prefix=dict(img="val2017/"))
    theirs = CocoDataset(**where, metainfo=dict(classes=held.classes), test_mode=True, pipeline=[])
    for n, row in enumerate(held.rows):
        info = theirs.get_data_info(n)
        mine = [{key: value for key, value in found.items() if key != "mask"} for found in row["instances"]]
        assert mine == info["instances"], row["img_path"]
        assert all(row[key] == info[key] for key in ("img_id", "img_path", "width", "height"))
    assert len(held.rows) == len(theirs) and sum(len(row["instances"]) for row in held.rows) > 20
