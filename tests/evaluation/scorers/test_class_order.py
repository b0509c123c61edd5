"""Labels, categories and names of classes stay together, whatever the order of annotation file and config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mmdet")

from mmdet.datasets import Objects365V1Dataset
from mmdet.evaluation import CocoMetric

from rtx.errors import BadValue
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.offline.truth import CocoFile
from rtx.evaluation.scorers.build import build_scorer
from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import category_ids, read_truth
from rtx.reports.runs.runs import load_run
from rtx.results.predictions import read_detections
from rtx.types import CLEAN
from tests.evaluation.scorers.samples import scored
from tests.evaluation.stand_in import CLASSES, PixelDetector, coco_config
from tests.makers import make_coco
from tests.metrics.scores import coco_ap

ONE = {"corruptions": ["contrast"], "severities": [1], "workers": 0, "resamples": 0}


@pytest.mark.parametrize("ids", [[2, 5, 8], [8, 5, 2], [5, 8, 2]], ids=str)
@pytest.mark.parametrize("backwards", [False, True])
def test_scores_by_class_are_those_of_each_class_alone(tmp_path: Path, ids: list[int], backwards: bool) -> None:
    root = make_coco(tmp_path / "data", splits={"train2017": 1, "val2017": 12}, ids=ids)
    cfg, out = coco_config(root), tmp_path / "out"
    if backwards:
        cfg.test_dataloader.dataset.metainfo.classes = tuple(reversed(CLASSES))
    evaluate(PixelDetector(), cfg, out, keep_predictions=True, **ONE)
    truth = read_truth(root / "annotations/instances_val2017.json", quiet=True)
    found, _ = read_detections(out / "predictions/clean.npz")
    wanted = {}
    for label, category in enumerate(category_ids(truth, CLASSES)):
        alone = [d.labels == label for d in found]
        rows = [
            Detections(d.image_id, d.boxes[of], d.scores[of], np.zeros(of.sum(), int))
            for d, of in zip(found, alone, strict=True)
        ]
        wanted[truth.categories[category]] = coco_ap(truth, rows, [category])["bbox_mAP"]
    assert len({round(v, 6) for v in wanted.values()}) == 3
    table = json.loads((out / "by_class.json").read_text())
    assert dict(zip(table["classes"], table["cells"]["clean"], strict=True)) == pytest.approx(wanted)
    metrics = load_run(out).cells[CLEAN].metrics
    assert {n.split("/")[1]: v for n, v in metrics.items() if "/" in n} == pytest.approx(wanted)
    pictures = json.loads((out / "examples/index.json").read_text())
    assert pictures["classes"] == [truth.categories[category] for category in category_ids(truth, CLASSES)]


@pytest.fixture
def objects365(tmp_path: Path) -> Any:
    """Three classes whose ids do not ascend in the file, as in Objects365, which mmdet sorts."""
    categories = [{"id": 3, "name": "c"}, {"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    images = [{"id": i, "file_name": f"p/{i}.jpg", "width": 100, "height": 100} for i in (1, 2, 3)]
    box = {"area": 900, "iscrowd": 0, "segmentation": []}
    rows = [
        {"id": 10 * i + c, "image_id": i, "category_id": c, "bbox": [10 * c, 10 * c, 30, 30], **box}
        for i in (1, 2, 3)
        for c in (1, 2, 3)
    ]
    file = tmp_path / "o.json"
    file.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    prefix, meta = {"img": ""}, {"classes": ["a", "b", "c"]}
    return Objects365V1Dataset(ann_file=str(file), data_prefix=prefix, metainfo=meta, pipeline=[], test_mode=True)


def perfect(dataset: Any) -> list[Any]:
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for info in map(dataset.get_data_info, range(len(dataset))):
        rows = info["instances"]
        sample = DetDataSample(metainfo={"img_id": info["img_id"], "ori_shape": (100, 100)})
        boxes = torch.tensor([row["bbox"] for row in rows]).float()
        labels = torch.tensor([row["bbox_label"] for row in rows])
        sample.pred_instances = InstanceData(bboxes=boxes, scores=torch.full((len(rows),), 0.9), labels=labels)
        samples.append(sample)
    return samples


def test_sorted_categories_are_mmdets(objects365: Any, tmp_path: Path) -> None:
    entry = {"type": "CocoMetric", "ann_file": objects365.ann_file, "metric": "bbox", "sort_categories": True}
    scorer, samples = build_scorer(entry, objects365), perfect(objects365)
    theirs = CocoMetric(ann_file=objects365.ann_file, metric="bbox", sort_categories=True)
    theirs.dataset_meta = objects365.metainfo
    theirs.process({}, [{**s.to_dict(), "img_id": s.img_id, "ori_shape": (100, 100)} for s in samples])
    assert scored(scorer, samples)["bbox_mAP"] == theirs.evaluate(3)["coco/bbox_mAP"] == 1
    (tmp_path / "clean.npz").write_bytes(scorer.predictions()[1])
    again = CocoFile(Path(objects365.ann_file), kinds=["bbox"]).score(tmp_path / "clean.npz")
    assert again.compute()["bbox_mAP"] == pytest.approx(1)
    assert "labels" in scorer.card()
    with pytest.raises(BadValue, match=r"stand for categories 1, 2, 3, CocoMetric's for 3, 1, 2; set sort_categories"):
        build_scorer({**entry, "sort_categories": False}, objects365)
