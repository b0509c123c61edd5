"""What a slim test pipeline leaves out, and that the network is given the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from rtx.evaluation.pixels import made
from rtx.evaluation.pixels.corrupt import find_corrupt, insert_corrupt
from rtx.evaluation.pixels.random_steps import step_name
from rtx.evaluation.pixels.slim import slim
from rtx.types import Condition
from tests.evaluation.class_folders import class_config, make_folders
from tests.evaluation.stand_in import coco_config
from tests.evaluation.sweep.small_sweep import evaluate
from tests.evaluation.worlds import table

LOAD, PAD = dict(type="LoadImageChecked"), dict(type="Pad", size=(160, 160))
BEYOND = dict(type="CenterCrop", crop_size=160, auto_pad=True, pad_cfg=dict(type="Pad", pad_val=dict(img=(9, 99, 199))))
FILLS = {
    "padded in grey": [dict(PAD, pad_val=dict(img=(9, 9, 9)))],
    "padded in a number": [dict(PAD, pad_val=9)],
    "padded in colour": [dict(PAD, pad_val=dict(img=(9, 99, 199)))],
    "padded in a fraction": [dict(PAD, pad_val=dict(img=114.0))],
}
CONDITIONS = (Condition("clean", 0), Condition("frost", 3))


@TRANSFORMS.register_module(force=True)
class LooksAtBoxes(BaseTransform):
    """A step of a user's own that needs ground truth."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        assert len(results["gt_bboxes"]) >= 0
        return results


def of_coco(root: Path, *more: dict[str, Any], load: dict[str, Any] = LOAD) -> dict[str, Any]:
    dataset = coco_config(root).test_dataloader.dataset.to_dict()
    _, resize, annotations, pack = dataset["pipeline"]
    return {**dataset, "pipeline": [load, resize, {**annotations, "with_mask": True}, *more, pack]}


def of_ade(root: Path) -> dict[str, Any]:
    steps = [LOAD, dict(type="Resize", scale=(150, 90), keep_ratio=True)]
    steps += [dict(type="LoadAnnotations", reduce_zero_label=True), dict(type="PackSegInputs")]
    prefix = dict(img_path="images/validation", seg_map_path="annotations/validation")
    return dict(type="ADE20KDataset", data_root=str(root), data_prefix=prefix, pipeline=steps)


def samples(scope: str, cfg: dict[str, Any], condition: Condition) -> list[Any]:
    init_default_scope(scope)
    dataset = DATASETS.build(cfg)
    for step in find_corrupt(dataset):
        step.condition = condition
    return [dataset[n] for n in range(len(dataset))]


@pytest.mark.parametrize("order", ["rgb", "bgr_legacy"])
@pytest.mark.parametrize("case", ["coco", "stock loader", *FILLS, "classes", "cropped beyond", "ade"])
def test_the_network_is_given_the_same_bits(
    case: str, order: str, made_coco: Path, made_ade: Path, tmp_path: Path
) -> None:
    at, scope = "original_resolution", "mmdet"
    if case == "ade":
        cfg, scope = of_ade(made_ade), "mmseg"
    elif case in ("classes", "cropped beyond"):
        cfg, scope, at = (
            class_config(make_folders(tmp_path)).test_dataloader.dataset.to_dict(),
            "mmpretrain",
            "network_input",
        )
        resize, crop, pack = cfg["pipeline"][1:]
        cfg = {**cfg, "pipeline": [LOAD, resize, crop if case == "classes" else BEYOND, pack]}
    elif case == "stock loader":
        cfg = of_coco(made_coco, load=dict(type="LoadImageFromFile"))
    else:
        cfg = of_coco(made_coco, *FILLS.get(case, []))
    cfg = insert_corrupt(cfg, dict(type="Corrupt", channel_order=order), at)
    thin = slim(cfg, annotations=case in ("ade", "classes", "cropped beyond"))
    decoded_rgb = any(step.get("rgb") for step in thin["pipeline"])
    either = case in ("coco", "padded in grey", "padded in a number", "classes", "ade")
    assert decoded_rgb is (either and order == "rgb")
    for condition in CONDITIONS:
        stock, slimmed = samples(scope, cfg, condition), samples(scope, thin, condition)
        for one, two in zip(stock, slimmed, strict=True):
            assert torch.equal(one["inputs"], two["inputs"]) and two["inputs"].is_contiguous()
            assert one["data_samples"].metainfo == two["data_samples"].metainfo
            if case == "ade":
                labels = two["data_samples"].gt_sem_seg.data
                assert labels.dtype == torch.uint8 and torch.equal(one["data_samples"].gt_sem_seg.data, labels.long())
            if case == "classes":
                assert torch.equal(one["data_samples"].gt_label, two["data_samples"].gt_label)


def test_ground_truth_stays_out_where_the_scorer_has_its_own_and_only_there(made_coco: Path) -> None:
    cfg = insert_corrupt(of_coco(made_coco), dict(type="Corrupt"))
    with_it, without = (samples("mmdet", slim(cfg, annotations=a), CONDITIONS[0]) for a in (True, False))
    assert any(len(sample["data_samples"].gt_instances) for sample in with_it)
    assert not any(len(sample["data_samples"].gt_instances) for sample in without)
    own = insert_corrupt(of_coco(made_coco, dict(type="LooksAtBoxes")), dict(type="Corrupt"))
    kept = slim(own, annotations=False)["pipeline"]
    assert "LoadAnnotations" in map(step_name, kept), "a step that is not known may need it"
    assert samples("mmdet", slim(own, annotations=False), CONDITIONS[0])
    assert cfg["pipeline"][-1]["type"] == "PackDetInputs", "the config that was given stays as it was"


def test_pipelines_are_found_in_wrappers_and_odd_ones_stay() -> None:
    pack = dict(type="mmdet.PackDetInputs")
    inner = dict(type="VOCDataset", pipeline=[LOAD, dict(type="LoadAnnotations"), pack])
    out = slim(dict(type="ConcatDataset", datasets=[inner, dict(pipeline=[LOAD, dict(type="Odd")])]), annotations=False)
    thin, odd = out["datasets"]
    assert thin["pipeline"] == [dict(LOAD, rgb=True), dict(type="PackPlanes", pack=pack)]
    assert odd["pipeline"] == [LOAD, dict(type="Odd")]


@pytest.mark.parametrize(("value", "kind"), [(-1, torch.int64), (300, torch.uint16), (70000, torch.int64)])
def test_labels_that_8_bits_do_not_hold_keep_their_value(value: int, kind: torch.dtype) -> None:
    init_default_scope("mmseg")
    pack = TRANSFORMS.build(dict(type="PackPlanes", pack=dict(type="PackSegInputs")))
    labels = np.full((4, 5), value, np.int64)
    packed = pack({"img": np.zeros((4, 5, 3), np.uint8), "gt_seg_map": labels})
    found = packed["data_samples"].gt_sem_seg.data
    assert found.dtype == kind and (found.numpy()[0] == labels).all()


def test_every_file_of_a_sweep_is_the_same_with_stock_samples(
    made_coco: Path, tmp_path: Path, whole: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "slim", lambda cfg, annotations: cfg)
    evaluate(made_coco, tmp_path)
    assert table(tmp_path) == whole
