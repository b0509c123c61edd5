"""Batches of one padded shape: what the pipeline will make of an image, and that a batch changes no result."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope

from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.sweep.batches import shape_groups
from rtx.evaluation.sweep.forward import Forward, padding_divisor
from rtx.evaluation.sweep.shapes import padded, size_after
from rtx.types import CLEAN
from tests.evaluation.stand_in import PixelDetector, coco_config

STEPS = [
    [dict(type="Resize", scale=(1333, 800), keep_ratio=True)],
    [dict(type="Resize", scale=(800, 1333), keep_ratio=True)],
    [dict(type="Resize", scale=(512, 384), keep_ratio=False)],
    [dict(type="Resize", scale_factor=0.7, keep_ratio=True)],
    [dict(type="Resize", scale_factor=(0.5, 0.3), keep_ratio=False)],
    [dict(type="Resize", scale=(300, 200), keep_ratio=True), dict(type="Pad", size_divisor=32)],
    [dict(type="Pad", size=(640, 700))],
    [dict(type="Pad", pad_to_square=True, size_divisor=16)],
]


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("scope", ["mmdet", "mmseg"])
def test_the_size_is_what_the_pipeline_makes(steps: list[dict[str, Any]], scope: str) -> None:
    if scope == "mmseg" and any("pad_to_square" in step for step in steps):
        pytest.skip("mmsegmentation's Pad has no such option")
    init_default_scope(scope)
    import mmdet.datasets.transforms  # noqa: F401
    import mmseg.datasets.transforms  # noqa: F401

    built = [TRANSFORMS.build(step) for step in steps]
    for width, height in [(640, 480), (333, 500), (37, 611), (500, 375), (101, 101), (427, 640)]:
        results: Any = dict(img=np.zeros((height, width, 3), np.uint8), img_shape=(height, width))
        for step in built:
            results = step(results)
        assert size_after(built, (width, height)) == results["img"].shape[1::-1]


@pytest.mark.parametrize(("edge", "crop"), [(72, 64), (64, 64), (50, 64)])
def test_the_size_is_what_a_classifiers_pipeline_makes(edge: int, crop: int) -> None:
    import mmpretrain.datasets.transforms  # noqa: F401

    init_default_scope("mmpretrain")
    steps = [dict(type="ResizeEdge", scale=edge, edge="short"), dict(type="CenterCrop", crop_size=crop)]
    built = [TRANSFORMS.build(step) for step in steps]
    for width, height in [(640, 480), (333, 500), (37, 611), (101, 101), (427, 40)]:
        results: Any = dict(img=np.zeros((height, width, 3), np.uint8), img_shape=(height, width))
        for n, step in enumerate(built, 1):
            results = step(results)
            assert size_after(built[:n], (width, height)) == results["img"].shape[1::-1]
    assert size_after([TRANSFORMS.build(dict(type="ResizeEdge", scale=9, edge="long"))], (64, 48)) is None


def test_a_step_that_is_not_known_is_not_guessed() -> None:
    class RandomCrop:
        pass

    assert size_after([RandomCrop()], (640, 480)) is None


def test_images_share_a_group_where_they_share_a_padded_shape() -> None:
    sizes = [(640, 480), (640, 478), (480, 640), (639, 480), (640, 480)]
    dataset = SimpleNamespace(
        get_data_info=lambda i: dict(zip(("width", "height"), sizes[i], strict=True)),
        pipeline=SimpleNamespace(transforms=[]),
    )
    assert shape_groups(dataset, range(5)) == [[0, 4], [1], [2], [3]]
    assert shape_groups(dataset, range(5), 32) == [[0, 1, 3, 4], [2]]
    dataset.pipeline = None
    assert shape_groups(dataset, range(5), 32) == [[0, 4], [1], [2], [3]], "not understood: original sizes"
    assert padded((640, 478), 32) == (640, 480)


def test_annotations_with_wrong_sizes_change_no_batch(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing has refused them before."""
    monkeypatch.setattr("rtx.evaluation.evaluate.check_data", lambda *given, **options: None)
    root = tmp_path / "coco"
    shutil.copytree(made_coco, root)
    path = root / "annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    for row in content["images"]:
        row.update(width=100, height=100)
    path.write_text(json.dumps(content))
    model = PixelDetector()
    evaluate(model, coco_config(root), tmp_path / "out", severities=[0], workers=0, batch_size=4)
    assert len(model.sizes) > 1, "the batch was divided"
    assert all(len(sizes) == 1 for sizes in model.sizes)


def small_mask_rcnn() -> Config:
    """Mask R-CNN on a ResNet-18 with small heads, as mmdet builds it."""
    from mmengine.hub import get_config

    cfg = get_config("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py")
    cfg.model.backbone.update(depth=18, init_cfg=None)
    cfg.model.neck.update(in_channels=[64, 128, 256, 512], out_channels=32)
    cfg.model.rpn_head.update(in_channels=32, feat_channels=32)
    cfg.model.roi_head.bbox_roi_extractor.out_channels = cfg.model.roi_head.mask_roi_extractor.out_channels = 32
    cfg.model.roi_head.bbox_head.update(in_channels=32, fc_out_channels=64, num_classes=3)
    cfg.model.roi_head.mask_head.update(in_channels=32, conv_out_channels=16, num_convs=1, num_classes=3)
    cfg.model.test_cfg.rpn.update(nms_pre=50, max_per_img=30)
    cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=20)
    return cfg


@pytest.fixture(scope="module")
def samples_of() -> Any:
    """A model, and images of five sizes that it pads to two shapes."""
    import mmdet.models  # noqa: F401

    cfg = small_mask_rcnn()
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    rng = np.random.default_rng(0)
    step = TRANSFORMS.build(dict(type="PackDetInputs", meta_keys=("img_id", "ori_shape", "img_shape", "scale_factor")))
    items = []
    for number, (height, width) in enumerate([(120, 150), (126, 160), (60, 200), (121, 130), (128, 155)]):
        image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        shape = dict(ori_shape=(height, width), img_shape=(height, width), scale_factor=(1.0, 1.0))
        items.append(step(dict(img=image, img_id=number, img_path="", **shape)))
    return model, items


@pytest.mark.parametrize("batch", [2, 5])
def test_a_real_detector_finds_the_same_in_a_batch_as_alone(samples_of: Any, batch: int) -> None:
    model, items = samples_of
    assert padding_divisor(model) == 32
    forward = Forward(model, divisor=32)
    alone = [forward(pseudo_collate([copy.deepcopy(item)]), CLEAN)[0] for item in items]
    together = []
    for start in range(0, len(items), batch):
        together += forward(pseudo_collate(copy.deepcopy(items[start : start + batch])), CLEAN)
    assert [sample.img_id for sample in together] == list(range(5))
    for one, other in zip(alone, together, strict=True):
        a, b = one.pred_instances, other.pred_instances
        assert len(a) == len(b) > 0
        assert torch.allclose(a.scores, b.scores, atol=1e-5)
        assert torch.allclose(a.bboxes, b.bboxes, atol=1e-2)
        assert torch.equal(a.labels, b.labels)
        assert (a.masks != b.masks).float().mean() < 1e-4


def test_mixed_shapes_in_one_pass_would_change_what_is_found(samples_of: Any) -> None:
    model, items = samples_of
    with torch.inference_mode():
        mixed = model.test_step(pseudo_collate(copy.deepcopy(items)))
    alone = Forward(model, divisor=32)(pseudo_collate([copy.deepcopy(items[2])]), CLEAN)[0]
    a, b = alone.pred_instances, mixed[2].pred_instances
    assert len(a) != len(b) or not torch.allclose(a.scores, b.scores, atol=1e-5)


def test_channels_last_moves_rounding_only_and_the_model_comes_back(made_coco: Path, tmp_path: Path) -> None:
    formats: list[bool] = []

    class Watched(PixelDetector):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(8, 8, 3)

        def test_step(self, batch: Any) -> Any:
            formats.append(self.conv.weight.is_contiguous(memory_format=torch.channels_last))
            return super().test_step(batch)

    model = Watched()
    options = dict(severities=[0], workers=0)
    summary = evaluate(model, coco_config(made_coco), tmp_path, channels_last=True, **options)
    assert summary["protocol"]["precision"] == "fp32, channels_last"
    assert all(formats)
    assert model.conv.weight.is_contiguous()
