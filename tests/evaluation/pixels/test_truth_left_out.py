"""Evidence is the same to the byte with ground truth in the samples and without, of detectors that find objects.

A score of nearly 0 would agree with any other, so objects are what an untrained network predicts, a little displaced.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from rtx import config as configs
from rtx.datasets.openmmlab.image_loader import with_checked_images
from rtx.datasets.openmmlab.with_data import with_data
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.models import adapter_data
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.pixels import made
from rtx.results.predictions import read_detections
from tests.evaluation.models.own_truth import made_sure
from tests.evaluation.models.plain_functions import by_colour
from tests.evaluation.stand_in import CLASSES
from tests.evaluation.worlds import table
from tests.makers import scene, voc_xml

LEAVES = Path(__file__).resolve().parents[3] / "configs"
FEW: dict[str, Any] = dict(corruptions=["contrast", "glass_blur"], severities=[2], workers=0, resamples=20)
SPREADS = {"rpn_cls": 1.0, "rpn_reg": 0.05, "fc_cls": 1.0, "fc_reg": 0.1, "conv_logits": 2.0}
MOST = 8


def config_of(leaf: str, root: Path) -> Config:
    """A config of rtx's own on a made data set, images of 128 pixels, every object it is not sure of too."""
    cfg = configs.with_source(with_checked_images(with_data(configs.load(LEAVES / leaf), root)), "random")
    for step in cfg.test_dataloader.dataset.pipeline:
        if step["type"] == "Resize":
            step["scale"] = (128, 128)
    cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=8)
    cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=30)
    return cfg


def sure(cfg: Config) -> Any:
    """The model, with random weights and something to say."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    model.cfg = cfg
    shape = (96, 128)
    sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), img_id=1))
    image = torch.from_numpy(scene(1, shape, 3, 3)[0]).permute(2, 0, 1)
    return made_sure(model, lambda: model.test_step(dict(inputs=[image], data_samples=[sample])), SPREADS)


def label_coco(root: Path, predictions: Path) -> None:
    found, categories = read_detections(predictions)
    path = root / "annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"] = []
    for detections in found:
        for n in np.argsort(-detections.scores)[:MOST]:
            left, top, right, bottom = map(float, detections.boxes[n])
            if min(right - left, bottom - top) < 1:
                continue
            row = dict(id=len(content["annotations"]) + 1, image_id=detections.image_id, iscrowd=0)
            row |= dict(
                category_id=categories[detections.labels[n]],
                bbox=[left + 0.1 * (right - left), top, right - left, bottom - top],
            )
            size, counts = detections.masks[n]["size"], detections.masks[n]["counts"]
            row["segmentation"] = dict(size=size, counts=counts if isinstance(counts, str) else counts.decode())
            content["annotations"].append(row | dict(area=(right - left) * (bottom - top)))
    path.write_text(json.dumps(content))


def label_voc(root: Path, predictions: Path) -> None:
    found, names = read_detections(predictions)
    home = root / "VOCdevkit/VOC2007/Annotations"
    for detections in found:
        rows = []
        for n in np.argsort(-detections.scores)[:MOST]:
            left, top, right, bottom = (round(float(v)) for v in detections.boxes[n])
            if min(right - left, bottom - top) >= 4:
                rows.append((names[detections.labels[n]], (left + 2, top + 1, right + 1, bottom), False))
        (path,) = home.glob(f"{Path(str(detections.image_id)).stem}.xml")
        size = tuple(int(v) for v in (path.read_text().split(f"<{k}>")[1].split("<")[0] for k in ("height", "width")))
        path.write_text(voc_xml(f"{path.stem}.jpg", size, rows))


@pytest.mark.parametrize(
    ("leaf", "world", "label", "kinds"),
    [
        ("maskrcnn_r50_coco.py", "made_coco", label_coco, ("bbox_mAP", "segm_mAP")),
        ("fasterrcnn_r50_voc.py", "made_voc", label_voc, ("AP50_07",)),
    ],
)
def test_detectors_of_openmmlab(
    leaf: str,
    world: str,
    label: Callable[[Path, Path], None],
    kinds: tuple[str, ...],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = shutil.copytree(request.getfixturevalue(world), tmp_path / "data")
    model = sure(config_of(leaf, root))
    evaluate(model, config_of(leaf, root), tmp_path / "before", **FEW, keep_predictions=True)
    label(root, tmp_path / "before/predictions/clean.npz")

    without = evaluate(model, config_of(leaf, root), tmp_path / "without", **FEW)
    monkeypatch.setattr(made, "slim", lambda cfg, annotations: cfg)
    evaluate(model, config_of(leaf, root), tmp_path / "with", **FEW)
    clean = without["cells"]["clean"]["metrics"]
    assert all(0.3 < clean[kind] <= 1 for kind in kinds), clean
    files = table(tmp_path / "without")
    assert {f"cells/{key}.npz" for key in ("clean", "contrast_2", "glass_blur_2")} <= set(files)
    assert table(tmp_path / "with") == files


def test_adapters(made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, seen = Detector(by_colour, CLASSES, name="by colour"), []
    load = adapter_data.AdapterImages.__getitem__
    found = evaluate(detector, made_coco, tmp_path / "with", **FEW)

    def bare(images: Any, index: int) -> dict[str, Any]:
        loaded = load(images, index)
        seen.append(len(loaded["data_samples"].gt_instances))
        del loaded["data_samples"].gt_instances
        return loaded

    monkeypatch.setattr(adapter_data.AdapterImages, "__getitem__", bare)
    evaluate(detector, made_coco, tmp_path / "without", **FEW)
    assert sum(seen) > 0 and found["P"] > 0.2
    assert table(tmp_path / "without") == table(tmp_path / "with")
