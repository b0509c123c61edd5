"""rtx's backbones in detectron2: the recipes, strict weights, freezing, and the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("detectron2", reason="needs detectron2, which is built from source: docs/transfer.md")

import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from mmengine.registry import MODELS

from rtx.backbones.base import SourceBackbone
from rtx.bridges.detectron2 import load_config, source_features, with_source
from rtx.errors import BadValue, UnknownName, WeightsError
from rtx.transfer.guard import find_backbone, freeze_map, frozen_tensors

RECIPES = sorted(Path(__file__).resolve().parents[2].glob("configs/detectron2/*.yaml"))
WEIGHTS = {"MODEL.WEIGHTS", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "INPUT.FORMAT", "MODEL.BACKBONE.NAME", "OUTPUT_DIR"}


def flat(node: CfgNode, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else {prefix + key: value}
    return found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_detectron2s_own_but_for_the_weights(path: Path) -> None:
    cfg = load_config(path)
    mine, theirs = flat(cfg), flat(model_zoo.get_config(cfg.RTX.BASE))
    own = {key for key in mine if not key.startswith("RTX.")}
    assert own == set(theirs) and {key for key in own if mine[key] != theirs[key]} == WEIGHTS
    assert cfg.INPUT.FORMAT == "RGB" and cfg.MODEL.PIXEL_MEAN == pytest.approx([123.675, 116.28, 103.53], abs=0.01)
    assert cfg.RTX.SOURCE == "resnet50_l2_eps0" and cfg.MODEL.BACKBONE.FREEZE_AT == 2
    assert cfg.RTX.TRANSFER == "full" and path.stem in cfg.OUTPUT_DIR


def test_there_is_a_recipe_of_each_experiment() -> None:
    assert len(RECIPES) == 5
    schedules = {path.stem: (load_config(path).SOLVER.MAX_ITER, load_config(path).SOLVER.STEPS) for path in RECIPES}
    assert schedules["fasterrcnn_r50_voc"] == (18000, (12000, 16000))
    assert schedules["maskrcnn_r50_3x_coco"] == (270000, (210000, 250000)) == schedules["fasterrcnn_r50_3x_coco"]


@pytest.mark.parametrize("arch", ["resnet18", "timm:convnext_atto", "timm:vit_tiny_patch16_224"])
def test_features_are_those_of_the_backbone(arch: str, tmp_path: Path) -> None:
    if arch.startswith("timm"):
        pytest.importorskip("timm")
    from rtx.backbones.spec import spec_of

    torch.manual_seed(0)
    plain = MODELS.build({**spec_of(arch).config})
    at = "@" if arch.startswith("timm") else ":"
    state = {k.removeprefix("net."): v for k, v in plain.state_dict().items() if not k.startswith("pyramid.")}
    torch.save(state, tmp_path / "w.pth")
    found = source_features(f"{arch}{at}{tmp_path / 'w.pth'}", "fixed").eval()
    found.net.load_state_dict({k: v for k, v in plain.state_dict().items() if k.startswith("pyramid.")}, strict=False)
    x = torch.randn(1, 3, 70, 90)
    with torch.no_grad():
        maps, expected = found(x), plain.eval()(x)
    assert list(maps) == ["res2", "res3", "res4", "res5"]
    for (name, one), two, spec in zip(maps.items(), expected, spec_of(arch).channels, strict=True):
        assert torch.equal(one, two) and found.output_shape()[name].channels == spec == one.shape[1]


@pytest.mark.parametrize(("mode", "trains"), [("fixed", 0), ("full", 3), ("blocks:2", 1), ("full_strict", 5)])
def test_transfer_modes_freeze_what_they_say(mode: str, trains: int, small: Any) -> None:
    model = build_model(small("fasterrcnn_r50_1x_coco", "RTX.TRANSFER", mode))
    name, backbone = find_backbone(model)
    assert name == "backbone.bottom_up.net" and isinstance(backbone, SourceBackbone)
    stems = ("conv1", "layer1", "layer2", "layer3", "layer4")
    moving = {s for s in stems if any(p.requires_grad for n, p in backbone.named_parameters() if n.startswith(s))}
    assert len(moving) == trains and moving == set(stems[5 - trains :])
    norms = [m for m in backbone.train().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(m.training for m in norms)
    if mode in ("full", "full_strict", "blocks:2"):  # detectron2's FrozenBN
        assert not any(m.weight.requires_grad for m in norms)
    assert all(p.requires_grad for n, p in model.named_parameters() if "bottom_up" not in n)
    assert freeze_map(model)["backbone"]["arch"] == "resnet18"
    assert {n for n, _ in frozen_tensors(model)} >= {"backbone.bottom_up.net.bn1.running_mean"}


def test_weights_are_loaded_strictly(small: Any, tmp_path: Path) -> None:
    state = MODELS.build(dict(type="SourceResNet", depth=18)).state_dict()
    torch.save(state, tmp_path / "good.pth")
    state.pop("layer4.1.conv2.weight")
    torch.save(state, tmp_path / "bad.pth")
    assert build_model(small("fasterrcnn_r50_1x_coco", "RTX.SOURCE", f"resnet18:{tmp_path / 'good.pth'}")) is not None
    with pytest.raises(WeightsError, match=r"layer4\.1\.conv2\.weight"):
        build_model(small("fasterrcnn_r50_1x_coco", "RTX.SOURCE", f"resnet18:{tmp_path / 'bad.pth'}"))


def test_what_does_not_fit_is_said(small: Any, tmp_path: Path) -> None:
    voc = "fasterrcnn_r50_voc"
    for source, fault, complaint in (
        ("resnet50_l2_eps7", UnknownName, "resnet50_l2_eps7"),
        ("random", BadValue, "say the architecture too"),
        (str(tmp_path / "x.pth"), BadValue, "say the architecture too"),
    ):
        with pytest.raises(fault, match=complaint):
            small(voc, "RTX.SOURCE", source)
    with pytest.raises(UnknownName, match="transfer"):
        build_model(small(voc, "RTX.TRANSFER", "frozen"))
    with pytest.raises(BadValue, match="FREEZE_AT 5: leave it at 2"):
        build_model(small(voc, "MODEL.BACKBONE.FREEZE_AT", 5))
    cfg = small(voc)
    cfg.RTX.SOURCE = ""
    with pytest.raises(BadValue, match=r"RTX\.SOURCE is empty"):
        build_model(cfg)
    cfg.RTX.SOURCE, cfg.INPUT.FORMAT = "resnet50_l2_eps0", "BGR"
    with pytest.raises(BadValue, match=r"INPUT\.FORMAT is .*'BGR'.*trained with"):
        build_model(cfg)
    retina = load_config(RECIPES[0])
    retina.MODEL.BACKBONE.NAME = "build_retinanet_resnet_fpn_backbone"
    with pytest.raises(BadValue, match="take the place of build_resnet_fpn_backbone only"):
        with_source(retina, "resnet18:random")
    with pytest.raises(BadValue, match="not found"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "odd.yaml").write_text("RTX:\n  SORUCE: x\n")
    with pytest.raises(BadValue, match="SORUCE"):
        load_config(tmp_path / "odd.yaml")
