"""A test pipeline that draws is refused before anything runs; one that only looks like it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmcv")

from rtx.errors import BadValue
from rtx.evaluation.pixels.random_steps import check_not_random

LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackDetInputs")


def dataset(*steps: dict[str, Any]) -> dict[str, Any]:
    return dict(type="RepeatDataset", dataset=dict(type="CocoDataset", pipeline=[LOAD, *steps, PACK]))


DRAWS = [
    dict(type="RandomFlip", prob=0.5),
    dict(type="mmdet.RandomFlip", prob=1, direction=["horizontal", "vertical"]),
    dict(type="torchvision/RandomHorizontalFlip"),
    dict(type="torchvision/ColorJitter", brightness=0.1),
    dict(type="RandomResize", scale=(400, 300), ratio_range=(0.5, 2)),
    dict(type="RandomResize", scale=[(400, 300), (800, 600)]),
    dict(type="RandomChoiceResize", scales=[(400, 300), (800, 600)]),
    dict(type="RandomCrop", crop_size=(30, 30)),
    dict(type="PhotoMetricDistortion"),
    dict(type="RandomSomethingOfTheUsers"),
    dict(type="TestTimeAug", transforms=[[dict(type="RandomFlip", prob=0.2)]]),
    dict(type="LoadStored", clean=[dict(type="RandomCrop", crop_size=8)]),
    dict(type="RandomApply", prob=1, transforms=[dict(type="CutOut", n_holes=1)]),
]
FIXED = [
    dict(type="Resize", scale=(400, 300)),
    dict(type="RandomFlip", prob=0.0),
    dict(type="RandomFlip", prob=1.0),
    dict(type="RandomCenterCropPad", test_mode=True),
    dict(type="RandomResize", scale=(400, 300), ratio_range=(1.0, 1.0)),
    dict(type="RandomChoiceResize", scales=[(400, 300)]),
    dict(type="TestTimeAug", transforms=[[dict(type="RandomFlip", prob=1.0)], [PACK]]),
]


@pytest.mark.parametrize("step", DRAWS, ids=lambda step: str(step["type"]))
def test_a_step_that_draws_is_named_with_the_remedy(step: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match=r"test pipeline draws: \w+.*remove it"):
        check_not_random(dataset(step))


@pytest.mark.parametrize("step", FIXED, ids=lambda step: str(step["type"]))
def test_a_step_with_nothing_to_draw_passes(step: dict[str, Any]) -> None:
    check_not_random(dataset(step))


def test_no_test_pipeline_of_ours_draws() -> None:
    from mmengine.config import Config

    ours = sorted((Path(__file__).parents[3] / "configs").glob("*.py"))
    assert ours
    for path in ours:
        check_not_random(Config.fromfile(path).test_dataloader.dataset)


def test_an_evaluation_is_refused_before_anything_is_written(made_coco: Path, tmp_path: Path) -> None:
    pytest.importorskip("mmdet")
    from rtx.evaluation.evaluate import prepare
    from tests.evaluation.stand_in import PixelDetector, coco_config

    cfg = coco_config(made_coco)
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type="RandomFlip", prob=0.5))
    with pytest.raises(BadValue, match=r"RandomFlip, prob=0\.5"):
        prepare(PixelDetector(), cfg, tmp_path / "out")
    assert not (tmp_path / "out").exists()
