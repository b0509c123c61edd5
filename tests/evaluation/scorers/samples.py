"""Made predictions in OpenMMLab's form, and the evaluator entries that score them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset, VOCDataset
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from tests.makers import ADE_NAMES, COCO_NAMES, VOC_NAMES

COCO = {"type": "CocoMetric", "metric": ["bbox", "segm"]}


VOC = {"type": "VOCMetric", "metric": "mAP", "eval_mode": "11points"}


IOU = {"type": "IoUMetric", "iou_metrics": ["mIoU"]}


PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations", "with_bbox": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape")},
]


def guesses(info: dict[str, Any], n_classes: int, seed: int, *, masks: bool = False) -> InstanceData:
    """Every object found about right, two thirds under its name, and one box from nowhere."""
    rng = np.random.default_rng(seed)
    rows = [(row["bbox"], row["bbox_label"]) for row in info["instances"]] + [([5, 5, 30, 30], 0)]
    boxes = np.array([box for box, _ in rows], np.float32) + rng.normal(size=(len(rows), 4)).astype(np.float32)
    labels = [label if rng.random() < 0.67 else int(rng.integers(n_classes)) for _, label in rows]
    pred = InstanceData(
        bboxes=torch.from_numpy(boxes),
        labels=torch.tensor(labels),
        scores=torch.from_numpy(rng.random(len(rows)).astype(np.float32)),
    )
    if masks:
        pred.masks = torch.zeros(len(rows), info["height"], info["width"], dtype=torch.bool)
        for n, (left, top, right, bottom) in enumerate(boxes.round().astype(int).clip(0)):
            pred.masks[n, top:bottom, left:right] = True
    return pred


def coco_samples(dataset: CocoDataset, seed: int = 0) -> list[DetDataSample]:
    samples = []
    for n in range(len(dataset)):
        info = dataset.get_data_info(n)
        shape = (info["height"], info["width"])
        sample = DetDataSample(metainfo={"img_id": info["img_id"], "img_path": info["img_path"], "ori_shape": shape})
        sample.pred_instances = guesses(info, len(COCO_NAMES), 10 * seed + n, masks=True)
        samples.append(sample)
    return samples


def without_predictions(samples: list[Any]) -> list[Any]:
    emptied = [sample.clone() for sample in samples]
    for sample in emptied:
        sample.pred_instances = sample.pred_instances[:0]
    return emptied


def scored(scorer: Any, samples: list[Any]) -> dict[str, float]:
    scorer.reset()
    for sample in samples:
        scorer.process([sample])
    return scorer.compute()


def voc_samples(dataset: VOCDataset, seed: int = 0) -> list[DetDataSample]:
    samples = []
    for n in range(len(dataset)):
        sample = dataset[n]["data_samples"]
        sample.pred_instances = guesses(dataset.get_data_info(n), len(VOC_NAMES), 10 * seed + n)
        for name in ("gt_instances", "ignored_instances"):
            boxes = sample.get(name)
            boxes.bboxes = getattr(boxes.bboxes, "tensor", boxes.bboxes)
        samples.append(sample)
    return samples


class LabelledSet:
    """As much of a segmentation data set as a scorer asks for."""

    metainfo = {"classes": ADE_NAMES}  # noqa: RUF012


def seg_samples(n_classes: int, seed: int = 0) -> list[SegDataSample]:
    rng = np.random.default_rng(seed)
    samples = []
    for n in range(4):
        label = np.kron(rng.integers(0, n_classes - 1, (3, 4)), np.ones((8, 8), int))
        prediction = np.where(rng.random(label.shape) < 0.7, label, rng.integers(0, n_classes - 1, label.shape))
        label[:2] = 255
        sample = SegDataSample(metainfo={"img_path": f"data/{n}.jpg"})
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(prediction)[None])
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(label)[None])
        samples.append(sample)
    return samples
