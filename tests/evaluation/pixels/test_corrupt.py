"""The Corrupt transform: where it goes, what it sees, and that nothing but its key decides the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from rtx.corruptions import corrupt
from rtx.errors import BadValue, UnknownName
from rtx.evaluation.pixels.corrupt import Corrupt, find_corrupt, insert_corrupt, usual_place
from rtx.rng import image_rng
from rtx.types import Condition

STEP = dict(type="Corrupt", corruption="fog", severity=3)
LOAD = dict(type="LoadImageFromFile")
PACK = dict(type="PackDetInputs")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    base[..., 0] //= 3  # a colour cast, so that RGB and BGR differ
    return base


def apply(photo: np.ndarray, path: str = "a/b/0001.jpg", **options: Any) -> np.ndarray:
    out = Corrupt(**options).transform({"img": photo.copy(), "img_path": path})
    return out["img"]


@pytest.mark.parametrize("scope", ["mmdet", "mmseg", "mmpretrain"])
def test_it_is_found_by_name_from_every_library(scope: str) -> None:
    with TRANSFORMS.switch_scope_and_registry(scope) as registry:
        assert isinstance(registry.build(dict(STEP)), Corrupt)


def test_it_goes_right_after_the_loader_wherever_that_stands() -> None:
    inner = dict(type="VOCDataset", pipeline=[dict(type="Noop"), LOAD, PACK])
    tta = dict(type="TestTimeAug", transforms=[[LOAD, dict(type="Resize")], [PACK]])
    cfg = dict(
        type="RepeatDataset", dataset=dict(type="ConcatDataset", datasets=[inner, dict(pipeline=[LOAD, tta, PACK])])
    )
    nested = insert_corrupt(dict(pipeline=[tta]), STEP)["pipeline"][0]["transforms"]
    assert [[s["type"] for s in branch] for branch in nested] == [
        ["LoadImageFromFile", "Corrupt", "Resize"],
        ["PackDetInputs"],
    ]
    del tta["transforms"]
    out = insert_corrupt(cfg, STEP)
    one, two = out["dataset"]["datasets"]
    assert [s["type"] for s in one["pipeline"]] == ["Noop", "LoadImageFromFile", "Corrupt", "PackDetInputs"]
    assert [s["type"] for s in two["pipeline"]] == ["LoadImageFromFile", "Corrupt", "TestTimeAug", "PackDetInputs"]
    assert "Corrupt" not in str(cfg), "the config that was given stays as it was"


def test_scoped_loader_names_count() -> None:
    out = insert_corrupt(dict(pipeline=[dict(type="mmdet.LoadImageFromFile"), PACK]), STEP)
    assert [s["type"] for s in out["pipeline"]] == ["mmdet.LoadImageFromFile", "Corrupt", "PackDetInputs"]


def test_annotations_are_not_images() -> None:
    out = insert_corrupt(dict(pipeline=[LOAD, dict(type="LoadAnnotations"), PACK]), STEP)
    assert [s["type"] for s in out["pipeline"]] == ["LoadImageFromFile", "Corrupt", "LoadAnnotations", "PackDetInputs"]


def test_no_loader_and_two_corruptions_are_errors() -> None:
    with pytest.raises(BadValue, match="no pipeline with an image loader"):
        insert_corrupt(dict(pipeline=[PACK]), STEP)
    with pytest.raises(BadValue, match="already holds a Corrupt"):
        insert_corrupt(insert_corrupt(dict(pipeline=[LOAD]), STEP), STEP)


def test_at_the_network_input_it_stands_behind_resizing_and_cropping() -> None:
    steps = [LOAD, dict(type="ResizeEdge", scale=256), dict(type="CenterCrop", crop_size=224), PACK]
    out = insert_corrupt(dict(dataset=dict(pipeline=steps)), STEP, at="network_input")["dataset"]["pipeline"]
    assert [step["type"] for step in out] == [LOAD["type"], "ResizeEdge", "CenterCrop", "Corrupt", PACK["type"]]
    steps = [LOAD, dict(type="mmcls.Normalize"), dict(type="mmcls.PackInputs")]
    early = insert_corrupt(steps, STEP, at="network_input")
    assert [step["type"] for step in early][1] == "Corrupt", "before normalising"
    with pytest.raises(BadValue, match="no step that packs"):
        insert_corrupt(dict(pipeline=[LOAD]), STEP, at="network_input")
    with pytest.raises(UnknownName, match="did you mean 'network_input'"):
        insert_corrupt(dict(pipeline=[LOAD, PACK]), STEP, at="network-input")
    assert (usual_place("mmpretrain"), usual_place("mmseg")) == ("network_input", "original_resolution")


def test_the_corruption_sees_rgb_and_the_pipeline_gets_bgr_back(photo: np.ndarray) -> None:
    condition = Condition("frost", 3)
    out = apply(photo, corruption="frost", severity=3, seed=7)
    wanted = corrupt(np.ascontiguousarray(photo[..., ::-1]), condition, image_rng(7, "0001", condition))
    assert np.array_equal(out, wanted[..., ::-1])
    legacy = apply(photo, corruption="frost", severity=3, seed=7, channel_order="bgr_legacy")
    assert np.array_equal(legacy, corrupt(photo, condition, image_rng(7, "0001", condition)))
    assert np.abs(out.astype(int) - legacy).mean() > 1, "frost is not grey, the order must matter"


@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise", "glass_blur", "frost", "motion_blur"])
def test_pixels_depend_on_the_key_alone(photo: np.ndarray, name: str) -> None:
    base = apply(photo, corruption=name, severity=2, seed=1)
    np.random.seed(99)
    assert np.array_equal(base, apply(photo, "elsewhere/0001.png", corruption=name, severity=2, seed=1))
    assert not np.array_equal(base, apply(photo, corruption=name, severity=2, seed=2))
    assert not np.array_equal(base, apply(photo, "a/b/0002.jpg", corruption=name, severity=2, seed=1))


def test_clean_changes_nothing(photo: np.ndarray) -> None:
    assert np.array_equal(apply(photo), photo)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.astype(np.float32), "0001.jpg.*remove to_float32"),
        (lambda p: p[:31], "0001.jpg.*80x31 pixels"),
        (lambda p: p[..., 0], "0001.jpg.*RGB"),
        (lambda p: np.dstack([p, p[..., :1]]), "0001.jpg.*RGB"),
    ],
)
def test_a_bad_image_is_named(photo: np.ndarray, change: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        apply(change(photo), corruption="fog", severity=1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (dict(corruption="fogg", severity=1), UnknownName),
        (dict(corruption="fog", severity=0), BadValue),
        (dict(corruption="fog", severity=6), BadValue),
        (dict(corruption="fog", severity=1, channel_order="rbg"), UnknownName),
        (dict(corruption="fog", severity=1, engine="magick"), UnknownName),
    ],
)
def test_bad_options_fail_when_built(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Corrupt(**options)


def test_every_corrupt_in_a_built_data_set_is_found_once() -> None:
    class Pipeline:
        def __init__(self, transforms: list[Any]) -> None:
            self.transforms = transforms

    class Data:
        def __init__(self, **parts: Any) -> None:
            self.__dict__.update(parts)

    one, two = Corrupt(), Corrupt()
    shared = Data(pipeline=Pipeline([one, Pipeline([two])]))
    assert find_corrupt(Data(dataset=Data(datasets=[shared, shared]))) == [one, two]
