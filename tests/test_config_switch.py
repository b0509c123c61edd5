"""Another family of backbone in a config: what is frozen and what batch norm does keep the meaning of their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from rtx.config import framework_of, load, with_source, with_transfer
from rtx.errors import BadValue
from rtx.transfer.modes import transfer_name

CONFIGS = Path(__file__).parents[1] / "configs"
STOCK = {
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": ("full", "eval"),
    "mmdet::faster_rcnn/faster-rcnn_r50-caffe_fpn_1x_coco.py": ("full", "eval"),
    "mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py": ("full", "eval"),
    "mmpretrain::resnet/resnet50_8xb32_in1k.py": ("full", "train"),
}


@pytest.mark.parametrize("source", ["resnet50_l2_eps3", "swin_t_in1k", "vgg16_bn_l2_eps3"])
@pytest.mark.parametrize("base", STOCK)
def test_a_stock_config_takes_a_source(base: str, source: str, tmp_path: Path) -> None:
    (tmp_path / "stock.py").write_text(f"_base_ = {base!r}\n")
    cfg = load(tmp_path / "stock.py")
    outputs = tuple(cfg.model.backbone.out_indices)
    new = with_source(cfg, source)
    new.model.backbone.source = "random"
    init_default_scope(framework_of(new))
    backbone = MODELS.build(new.model.backbone)
    mode, policy = STOCK[base]
    assert transfer_name(new.model.backbone, framework_of(new)) == mode
    assert backbone.norm_policy == policy and tuple(backbone.out_indices) == outputs


@pytest.mark.parametrize(
    ("key", "value"), [("dilations", (1, 1, 2, 4)), ("num_stages", 3), ("dcn", {"type": "DCNv2"}), ("strides", [1, 2])]
)
def test_a_stock_backbone_with_other_stages_is_refused(key: str, value: object) -> None:
    backbone = {"type": "ResNet", "depth": 50, "num_stages": 4, key: value}
    cfg = Config({"default_scope": "mmdet", "model": {"backbone": backbone, "data_preprocessor": {}}})
    with pytest.raises(BadValue, match=rf"model\.backbone\.{key} is"):
        with_source(cfg, "resnet50_l2_eps3")


@pytest.mark.parametrize("name", ["upernet_swin_t_160k_ade20k.py", "maskrcnn_swin_t_3x_coco.py"])
def test_a_resnet_in_a_leaf_of_swin_trains_as_full_says(name: str) -> None:
    alone = with_source(load(CONFIGS / name), "resnet50_l2_eps3")
    asked = with_transfer(alone, "full")
    assert transfer_name(alone.model.backbone, framework_of(alone)) == "full"
    for key in ("frozen_stages", "norm_policy"):
        assert alone.model.backbone[key] == asked.model.backbone[key]


def test_full_freezes_nothing_of_swin_in_a_detector_as_in_its_own_configs() -> None:
    leaf = load(CONFIGS / "maskrcnn_swin_t_3x_coco.py")
    assert with_transfer(leaf, "full").model.backbone.frozen_stages == leaf.model.backbone.frozen_stages == -1
    r50 = load(CONFIGS / "maskrcnn_r50_coco.py")
    assert with_source(r50, "swin_t_in1k").model.backbone.frozen_stages == -1
    assert r50.model.backbone.frozen_stages == with_transfer(r50, "full").model.backbone.frozen_stages == 1
    fixed = with_source(with_transfer(r50, "fixed"), "swin_t_in1k")
    assert fixed.model.backbone.frozen_stages == 4  # what was asked for stays
