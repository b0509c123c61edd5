"""A source of one's own is tested on images of the size that it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmpretrain.registry import TRANSFORMS
from torchvision.models import resnet18

from rtx.evaluation.models.source_classifier import source_classifier
from rtx.transfer.preprocessing import pipelines


@pytest.mark.parametrize(("height", "width"), [(90, 61), (36, 200)])
@pytest.mark.parametrize("stated", [None, 32, 48, "48", 7])
def test_images_are_those_of_the_training(tmp_path: Path, height: int, width: int, stated: object) -> None:
    place = tmp_path / "source.pth"
    meta = {"rtx_source": {}, "mean": [0.5] * 3, "std": [0.2] * 3, **({} if stated is None else {"image_size": stated})}
    torch.save({"meta": meta, "state_dict": resnet18(num_classes=2).state_dict()}, place)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    seen = Compose(source_classifier(f"resnet18:{place}", ["a", "b"]).preparation())({"img": image})["img"]
    if stated not in (32, 48):
        assert seen.shape == (224, 224, 3)
        return
    steps = [TRANSFORMS.build(step) for step in pipelines("salman", "folder", stated)[1][1:-1]]
    np.testing.assert_array_equal(seen, Compose(steps)({"img": image})["img"])
