"""detectron2's trainer with the guard and the corruption evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("detectron2", reason="needs detectron2, which is built from source: docs/transfer.md")

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator, inference_on_dataset
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch import nn

from rtx.bridges.detectron2_model import detector_of
from rtx.bridges.detectron2_train import CorruptionEval, FrozenGuard, Trainer, run, test_set
from rtx.datasets.voc import NAMES
from rtx.errors import DataError, FrozenChanged
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.models.presets import open_model
from tests.evaluation.models.plain_functions import by_colour
from tests.makers import COCO_NAMES

test_set.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


@pytest.mark.parametrize("mode", ["fixed", "full", "blocks:1"])
def test_training_moves_what_may_move_and_ends_with_scores(mode: str, small: Any, made_coco: Path) -> None:
    cfg = small("maskrcnn_r50_1x_coco", "RTX.TRANSFER", mode)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    before = {n: t.clone() for n, t in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    frozen = {n for n, p in trainer.model.named_parameters() if not p.requires_grad}
    assert not moved & frozen and any("roi_heads" in n for n in moved)
    assert any("bottom_up" in n for n in moved) == (mode != "fixed")
    out = Path(cfg.OUTPUT_DIR) / "corruption_eval"
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["cells"]) == {"clean", "fog_3"} and set(summary["cells"]["clean"]["metrics"]) > {"segm_mAP"}
    assert summary["protocol"]["freeze_map"]["backbone"]["arch"] == "resnet18"
    assert summary["protocol"]["transfer"] == mode and summary["protocol"]["source"] == "random"
    assert (Path(cfg.OUTPUT_DIR) / "model_final.pth").is_file() and trainer.model.training


class ByColour(nn.Module):
    """A model in detectron2's form whose boxes are those of what stands out, with their lower halves as masks."""

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for row in batch:
            pixels = np.ascontiguousarray(row["image"].numpy().transpose(1, 2, 0).astype(np.uint8))
            pred = by_colour([pixels])[0]
            size = row["height"], row["width"]
            boxes = Boxes(pred["boxes"].clone())
            boxes.scale(size[1] / pixels.shape[1], size[0] / pixels.shape[0])
            masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
            for mask, (left, top, right, bottom) in zip(masks, boxes.tensor.round().int().tolist(), strict=True):
                mask[(top + bottom) // 2 : bottom, left:right] = True
            fields = dict(pred_boxes=boxes, scores=pred["scores"], pred_classes=pred["labels"], pred_masks=masks)
            found.append(dict(instances=Instances(size, **fields)))
        return found


def test_scores_are_those_of_detectron2s_own_evaluation(small: Any, made_coco: Path, tmp_path: Path) -> None:
    """The same model on the same pixels, evaluated by detectron2 and by rtx."""
    file = tmp_path / "val.json"
    tables = json.loads((made_coco / "annotations/instances_val2017.json").read_text())
    for row in tables["images"]:  # detectron2 decodes JPEG by another library
        with Image.open(made_coco / "val2017" / row["file_name"]) as image:
            row["file_name"] = row["file_name"].replace(".jpg", ".png")
            image.save(tmp_path / row["file_name"])
    file.write_text(json.dumps(tables | dict(info={}, licenses=[])))
    register_coco_instances("made_png", {}, str(file), str(tmp_path))
    cfg = small("maskrcnn_r50_1x_coco", "DATASETS.TEST", "('made_png',)")
    data, classes = test_set("made_png")
    detector = detector_of(ByColour(), cfg, classes)
    clean: dict[str, Any] = dict(corruptions=[], severities=[0], resamples=0)
    mine = evaluate(detector, data["data"], tmp_path / "mine", annotations=data["annotations"], **clean)
    evaluator = COCOEvaluator("made_png", tasks=("bbox", "segm"), output_dir=str(tmp_path), use_fast_impl=False)
    theirs = inference_on_dataset(ByColour(), Trainer.build_test_loader(cfg, "made_png"), evaluator)
    found = mine["cells"]["clean"]["metrics"]
    assert 0.2 < found["bbox_mAP"] < 1 and found["segm_mAP"] < found["bbox_mAP"]
    for kind in ("bbox", "segm"):
        for name, key in (("AP", ""), ("AP50", "_50"), ("AP75", "_75")):
            assert found[f"{kind}_mAP{key}"] == pytest.approx(theirs[kind][name] / 100, abs=1e-6), (kind, name)


def test_voc_and_periods(small: Any) -> None:
    cfg = small("fasterrcnn_r50_voc", "RTX.EVAL_PERIOD", 2, "RTX.LIMIT", 2)
    trainer = Trainer(cfg)
    trainer.train()
    out = Path(cfg.OUTPUT_DIR) / "corruption_eval"
    assert sorted(path.name for path in out.iterdir()) == ["iter_2", "iter_3"]
    summary = json.loads((out / "iter_3/summary.json").read_text())
    assert summary["metric"] == "AP50_07" and summary["preview"] and "AP_d2" in summary["cells"]["clean"]["metrics"]


def test_the_guard_ends_a_training_that_moves_frozen_tensors(small: Any) -> None:
    cfg = small(
        "fasterrcnn_r50_1x_coco", "RTX.TRANSFER", "fixed", "RTX.CORRUPTIONS", "[]", "SOLVER.CHECKPOINT_PERIOD", 2
    )
    trainer = Trainer(cfg)
    assert not any(isinstance(hook, CorruptionEval) for hook in trainer._hooks)
    names = [type(hook).__name__ for hook in trainer._hooks]
    assert names.index("FrozenGuard") + 1 == names.index("PeriodicCheckpointer")
    step = trainer.run_step

    def broken() -> None:
        step()
        with torch.no_grad():
            trainer.model.backbone.bottom_up.net.bn1.running_mean.add_(1)

    trainer.run_step = broken
    with pytest.raises(FrozenChanged, match=r"backbone\.bottom_up\.net\.bn1\.running_mean"):
        trainer.train()
    assert not list(Path(cfg.OUTPUT_DIR).glob("model_*.pth"))


def test_test_sets(d2_sets: None, made_coco: Path, d2_voc: Path) -> None:
    data, classes = test_set("made_val")
    assert data["data"] == str(made_coco / "val2017") and classes == list(COCO_NAMES)
    data, classes = test_set("made_voc_2007_test")
    assert data == dict(data=str(d2_voc)) and classes == list(NAMES)
    DatasetCatalog.register("made_other", list)
    MetadataCatalog.get("made_other").thing_classes = ["a"]
    with pytest.raises(DataError, match="rtx evaluates those of COCO and VOC"):
        test_set("made_other")


def test_the_command(small: Any, tmp_path: Path) -> None:
    cfg = small("fasterrcnn_r50_1x_coco")
    (tmp_path / "small.yaml").write_text(cfg.dump())
    args = SimpleNamespace(config_file=str(tmp_path / "small.yaml"), opts=[], eval_only=False, resume=False)
    run(args)
    assert (Path(cfg.OUTPUT_DIR) / "corruption_eval/summary.json").is_file()
    args.eval_only, args.opts = True, ["MODEL.WEIGHTS", str(Path(cfg.OUTPUT_DIR) / "model_final.pth")]
    assert "AP" in run(args)["bbox"]


def test_what_was_trained_is_evaluated_again_by_its_folder(small: Any, made_coco: Path, tmp_path: Path) -> None:
    cfg = small("fasterrcnn_r50_1x_coco", "RTX.TRANSFER", "blocks:1")
    (tmp_path / "small.yaml").write_text(cfg.dump())
    run(SimpleNamespace(config_file=str(tmp_path / "small.yaml"), opts=[], eval_only=False, resume=False))
    folder = Path(cfg.OUTPUT_DIR)
    first = json.loads((folder / "corruption_eval/summary.json").read_text())
    model = open_model(f"detectron2:{folder / 'config.yaml'}", made_coco, weights=folder / "model_final.pth")
    again = evaluate(model, made_coco, tmp_path / "again", corruptions=["fog"], severities=[3], resamples=0)
    for key in ("source", "transfer", "model_version", "freeze_map"):
        assert again["protocol"][key] == first["protocol"][key]
    assert again["protocol"]["transfer"] == "blocks:1"
    for cell in ("clean", "fog_3"):
        assert again["cells"][cell]["metrics"] == first["cells"][cell]["metrics"]


def test_the_guard_with_no_period_compares_at_the_end(small: Any) -> None:
    model = build_model(small("fasterrcnn_r50_1x_coco", "RTX.TRANSFER", "fixed"))
    guard = FrozenGuard(0)
    guard.trainer = SimpleNamespace(model=model, iter=0)
    guard.before_train()
    with torch.no_grad():
        model.backbone.bottom_up.net.conv1.weight.add_(1)
    guard.after_step()
    with pytest.raises(FrozenChanged, match=r"conv1\.weight"):
        guard.after_train()
