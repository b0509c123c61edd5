"""The step that shows a view of every image: where it stands, and that the view is seen in score and card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, init_default_scope

from rtx.config import load
from rtx.datasets.openmmlab.view_step import ApplyView, view_of, with_view
from rtx.errors import BadValue
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.pixels.corrupt import insert_corrupt
from rtx.results.protocol import differing, pixels
from rtx.transfer.classify import TargetOptions, with_target
from tests.datasets.target_worlds import mnist
from tests.evaluation.class_folders import class_config, make_folders

LEAF = Path(__file__).resolve().parents[3] / "configs/classify_r50.py"
LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackInputs")


def names(pipeline: list[dict[str, object]]) -> list[object]:
    return [step["type"] for step in pipeline]


@pytest.mark.parametrize("scope", ["mmdet", "mmseg", "mmpretrain"])
def test_it_is_found_by_name_from_every_library(scope: str) -> None:
    with TRANSFORMS.switch_scope_and_registry(scope) as registry:
        assert isinstance(registry.build(dict(type="ApplyView", view="downscale:8")), ApplyView)


def test_it_stands_behind_every_loader_once_and_goes_again() -> None:
    inner = dict(type="RepeatDataset", dataset=dict(pipeline=[LOAD, dict(type="Resize"), PACK]))
    cfg = Config(dict(train_dataloader=dict(dataset=inner), test_dataloader=dict(dataset=dict(pipeline=[LOAD, PACK]))))
    seen = with_view(with_view(cfg, "lowpass:keep32"), "downscale:32")
    step = dict(type="ApplyView", view="downscale:32")
    assert seen.test_dataloader.dataset.pipeline == [LOAD, step, PACK]
    assert seen.train_dataloader.dataset.dataset.pipeline == [LOAD, step, dict(type="Resize"), PACK]
    assert view_of(seen) == "downscale:32" and view_of(cfg) is None
    again = with_view(seen, "none")
    assert again.test_dataloader == cfg.test_dataloader and again.train_dataloader == cfg.train_dataloader
    with pytest.raises(BadValue, match="no pipeline with an image loader"):
        with_view(Config(dict(test_dataloader=dict(dataset=dict(pipeline=[PACK])))), "downscale:32")


def test_the_view_is_corrupted_and_not_seen_through_a_corruption() -> None:
    out = insert_corrupt(dict(pipeline=[LOAD, dict(type="ApplyView", view="downscale:8"), PACK]), dict(type="Corrupt"))
    assert names(out["pipeline"]) == ["LoadImageFromFile", "ApplyView", "Corrupt", "PackInputs"]


def test_an_image_that_does_not_fit_is_named() -> None:
    with pytest.raises(BadValue, match=r"image 'a/b\.png': view lowpass:drop32"):
        ApplyView("lowpass:drop32").transform({"img": np.zeros((8, 8, 3), np.uint8), "img_path": "a/b.png"})


def test_a_classifier_sees_the_view_and_its_card_says_so(tmp_path: Path) -> None:
    cfg = class_config(make_folders(tmp_path / "data"))
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor}).eval()
    job = {view: prepare(model, cfg, tmp_path / "out", view=view) for view in (None, "none", "downscale:8")}
    assert job[None].card == job["none"].card and "view" not in pixels(job[None].card)
    assert differing(job[None].card, job["downscale:8"].card) == ["view"]
    plain, seen = (job[view].dataset[0]["inputs"].numpy().transpose(1, 2, 0) for view in (None, "downscale:8"))
    assert plain.shape == seen.shape and (plain != seen).mean() > 0.5
    # What a model was trained on is what it is tested on, and said; another word on the command line counts.
    own = with_view(cfg, "downscale:8")
    assert prepare(model, own, tmp_path / "out").card == job["downscale:8"].card
    assert prepare(model, own, tmp_path / "out", view="none").card == job[None].card


def test_images_of_a_target_are_seen_through_it(tmp_path: Path) -> None:
    options = TargetOptions("mnist", str(mnist(tmp_path, [*range(10), *range(10)])), subset=True, image_size=32)
    cfg = with_target(load(LEAF), options)
    init_default_scope("mmpretrain")
    seen: dict[Any, Any] = {}
    for view in ("none", "downscale:8"):
        for split in ("train", "test"):
            dataset = DATASETS.build(with_view(cfg, view)[f"{split}_dataloader"].dataset)
            steps = [type(step).__name__ for step in dataset.pipeline.transforms]
            seen[view, split] = steps
            if split == "test":
                seen[view] = dataset[0]["inputs"].numpy().astype(int)
    for split in ("train", "test"):
        plain = seen["none", split]
        assert seen["downscale:8", split] == [plain[0], "ApplyView", *plain[1:]]
    rough = [np.abs(np.diff(seen[view], axis=2)).mean() for view in ("none", "downscale:8")]
    assert rough[1] < rough[0] / 2, "noise of 8 pixels is smoother than noise of 28"
