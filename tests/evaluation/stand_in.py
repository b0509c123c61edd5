"""A model that needs no weights: its predictions are a function of the pixels it is given, so a changed pixel shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from tests.makers import COCO_NAMES

CLASSES = COCO_NAMES


class PixelDetector(nn.Module):
    """Boxes around what stands out from the median colour; the strongest channel is the label. `silent`: none."""

    def __init__(self, silent: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.silent = silent
        self.sizes: list[set[tuple[int, int]]] = []

    def test_step(self, batch: dict[str, Any]) -> list[DetDataSample]:
        self.sizes.append({tuple(image.shape[-2:]) for image in batch["inputs"]})
        return [self._predict(i, s) for i, s in zip(batch["inputs"], batch["data_samples"], strict=True)]

    def _predict(self, image: Tensor, sample: DetDataSample) -> DetDataSample:
        pixels = image.numpy().transpose(1, 2, 0).astype(np.float64)
        away = np.abs(pixels - np.median(pixels, (0, 1))).sum(2)
        _, regions, stats, _ = cv2.connectedComponentsWithStats((away > 90).astype(np.uint8))
        found = [] if self.silent else [r for r in range(1, len(stats)) if stats[r][4] >= 20]
        colours = [pixels[regions == r].mean(0) for r in found]
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[*stats[r][:2], *(stats[r][:2] + stats[r][2:4])] for r in found])
            .reshape(-1, 4)
            .float(),
            scores=torch.tensor([away[regions == r].mean() / 765 for r in found]).float(),
            labels=torch.tensor([2 - int(c.argmax()) for c in colours], dtype=torch.long),
        )
        return sample


def coco_config(root: Path, *, metric: Any = "bbox") -> Config:
    """A test set over a made COCO folder, images as they are."""
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale_factor=1.0),
        dict(type="LoadAnnotations", with_bbox=True),
        dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
    ]
    ann = "annotations/instances_val2017.json"
    dataset = dict(
        type="CocoDataset",
        data_root=str(root),
        ann_file=ann,
        data_prefix=dict(img="val2017/"),
        metainfo=dict(classes=CLASSES),
        test_mode=True,
        pipeline=pipeline,
    )
    return Config(
        dict(
            default_scope="mmdet",
            model=dict(type="stand-in"),
            test_dataloader=dict(dataset=dataset),
            test_evaluator=dict(type="CocoMetric", ann_file=str(root / ann), metric=metric),
        )
    )
