"""Configs as OpenMMLab ships them, without a word of rtx in them, through the same sweep."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")

from mmengine.config import Config  # noqa: E402
from mmengine.registry import MODELS, init_default_scope  # noqa: E402

from rtx.datasets.openmmlab.image_loader import with_checked_images  # noqa: E402
from rtx.datasets.openmmlab.with_data import with_data  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.load import load_model  # noqa: E402

CONFIGS = {
    "rtmdet": "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "rtmdet-ins": "mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
    "retinanet": "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py",
    "detr": "mmdet::detr/detr_r50_8xb2-150e_coco.py",
}


def small(node: Any) -> None:
    """Test images of 96 pixels."""
    if isinstance(node, dict):
        for key in ("scale", "size"):
            if key in node and isinstance(node[key], (list, tuple)):
                node[key] = (96, 96)
        for value in node.values():
            small(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            small(value)


@pytest.mark.parametrize(
    "name", ["rtmdet", *(pytest.param(n, marks=pytest.mark.slow) for n in ("rtmdet-ins", "retinanet", "detr"))]
)
def test_a_stock_detector(name: str, made_coco: Path, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(f'_base_ = ["{CONFIGS[name]}"]\n')
    cfg = with_checked_images(with_data(Config.fromfile(str(tmp_path / "config.py")), made_coco))
    small(cfg.test_dataloader.dataset.pipeline)
    cfg.model.backbone.init_cfg = None
    if cfg.model.test_cfg.get("score_thr") is not None:
        cfg.model.test_cfg.score_thr = 0.0  # weights that nothing has trained are never sure
    init_default_scope("mmdet")
    torch.manual_seed(0)
    torch.save({"state_dict": MODELS.build(copy.deepcopy(cfg.model)).state_dict()}, tmp_path / "weights.pth")
    before = repr(cfg.to_dict())
    model = load_model(cfg, tmp_path / "weights.pth")
    assert repr(cfg.to_dict()) == before, "what the protocol card is made of"
    options: dict[str, Any] = dict(corruptions=["contrast"], severities=[5], workers=0)
    one = evaluate(model, cfg, tmp_path / "a", **options)
    assert not one["cells"]["clean"]["flags"] and set(one["cells"]) == {"clean", "contrast_5"}
    assert ("segm_mAP" in one["metrics"]) == (name == "rtmdet-ins")
    pairs = evaluate(model, cfg, tmp_path / "b", batch_size=2, **options)
    for key, cell in pairs["cells"].items():
        assert cell["metrics"] == pytest.approx(one["cells"][key]["metrics"], abs=2e-3, nan_ok=True)
