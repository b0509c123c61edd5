"""Autocast on the CPU: operators without bfloat16 compute in float32, and a whole Mask R-CNN goes through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv.ops import nms, roi_align
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, init_default_scope

from rtx import config as configs
from rtx.evaluation.sweep.autocast import prepare_cpu_autocast
from rtx.evaluation.sweep.forward import Forward
from rtx.types import CLEAN

LEAF = Path(__file__).resolve().parents[3] / "configs" / "maskrcnn_r50_coco.py"


@pytest.fixture(autouse=True)
def _prepared() -> None:
    prepare_cpu_autocast()


def bf16() -> Any:
    return torch.autocast("cpu", torch.bfloat16)


def test_nms_of_bfloat16_is_that_of_the_same_numbers_in_float32() -> None:
    corners = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 60
    boxes, scores = torch.cat([corners, corners + 20], 1).bfloat16(), torch.linspace(0.9, 0.1, 50).bfloat16()
    with bf16():
        _, kept = nms(boxes, scores, 0.5)
    assert torch.equal(kept, nms(boxes.float(), scores.float(), 0.5)[1]) and 1 < len(kept) < 50
    with pytest.raises(RuntimeError, match="BFloat16"):
        nms(boxes, scores, 0.5)


def test_boxes_keep_their_place_on_features_of_bfloat16() -> None:
    """700.3 is no number of bfloat16: the nearest is 700."""
    settings = dict(type="RoIAlign", output_size=4, sampling_ratio=2)
    extractor = SingleRoIExtractor(roi_layer=settings, out_channels=3, featmap_strides=[1, 2])
    generator = torch.Generator().manual_seed(0)
    features = [torch.rand(1, 3, side, side, generator=generator).bfloat16() for side in (800, 400)]
    rois = torch.tensor([[0, 700.3, 700.7, 722.9, 731.1], [0, 10.2, 20.3, 300.4, 500.5]])
    with bf16():
        found = extractor(features, rois)
        aligned = roi_align(features[0], rois, (4, 4), 1.0, 2)
    assert found.dtype == aligned.dtype == torch.float32
    assert torch.equal(found, extractor([feature.float() for feature in features], rois))
    assert torch.equal(aligned, roi_align(features[0].float(), rois, (4, 4), 1.0, 2))


def test_mask_rcnn_predicts_under_autocast() -> None:
    cfg = configs.with_source(configs.load(LEAF), "random")
    cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=3)
    cfg.model.test_cfg.rpn.update(nms_pre=50, max_per_img=10)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    shape = (96, 128)
    sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), img_id=1))
    batch = dict(inputs=[torch.randint(0, 255, (3, *shape), dtype=torch.uint8)], data_samples=[sample])
    (found,) = Forward(model, amp=True)(batch, CLEAN)
    assert found.pred_instances.masks.shape == (3, *shape)
    assert found.pred_instances.bboxes.dtype == torch.float32, "boxes would stand on a grid of whole pixels"
