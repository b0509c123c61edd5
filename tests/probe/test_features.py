"""A pass sees the pixels that a test of training sees, in order, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn
from torchvision.transforms.functional import center_crop, resize, to_pil_image

from rtx.datasets.target_data import open_target
from rtx.datasets.views import View
from rtx.errors import DataError
from rtx.probe.features import cached_features
from rtx.probe.source import load_frozen
from tests.probe.worlds import colours


@pytest.mark.parametrize(("preprocessing", "edge"), [("salman", 37), ("utrera", 32)])
def test_as_torchvision_prepares_them(tmp_path: Path, preprocessing: str, edge: int) -> None:
    data = open_target("folder", colours(tmp_path / "data"), "test")
    source = load_frozen("resnet18:random")
    found, cached = cached_features(
        source, data, tmp_path / "f", preprocessing=preprocessing, image_size=32, batch_size=5, workers=2
    )
    images = [center_crop(resize(to_pil_image(data.image(n)), edge), 32) for n in range(len(data))]
    wanted = source(torch.from_numpy(np.stack([np.asarray(image) for image in images])))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert cached.card["weights"] == source.weights and cached.card["data"] == data.identity(tmp_path)


def test_an_evaluation_of_a_detector_before_it_changes_nothing(tmp_path: Path) -> None:
    data = open_target("folder", colours(tmp_path / "data"), "test")
    with DefaultScope.overwrite_default_scope("mmdet"):
        found, _ = cached_features(load_frozen("resnet18:random"), data, tmp_path / "a", image_size=32)
    again, _ = cached_features(load_frozen("resnet18:random"), data, tmp_path / "b", image_size=32)
    assert np.array_equal(found, again)


def test_the_second_time_takes_no_pass_and_other_pixels_do(tmp_path: Path) -> None:
    data = open_target("folder", colours(tmp_path / "data"), "test")
    source = load_frozen("resnet18:random")
    first, cached = cached_features(source, data, tmp_path / "f", image_size=32)

    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("a pass")

    broken = replace(source, network=Broken())
    again, _ = cached_features(broken, data, tmp_path / "f", image_size=32)
    assert np.array_equal(first, again)
    keys = {cached.key}
    for other in (
        replace(source, weights="x"),
        replace(source, mean=(0.0, 0.0, 0.0)),
        replace(source, bgr=True),
        replace(source, forward={"rtx": "0"}),
    ):
        keys.add(cached_features(other, data, tmp_path / "f", image_size=32)[1].key)
    keys.add(cached_features(source, data, tmp_path / "f", image_size=40)[1].key)
    keys.add(cached_features(source, data, tmp_path / "f", image_size=32, preprocessing="utrera")[1].key)
    keys.add(
        cached_features(source, open_target("folder", tmp_path / "data", "train"), tmp_path / "f", image_size=32)[1].key
    )
    assert len(keys) == 8
    small = View.parse("downscale:8")
    seen, key = cached_features(source, data, tmp_path / "f", image_size=32, view=small)
    assert key.key not in keys and key.card["view"] == "downscale:8" and "view" not in cached.card
    edge = [center_crop(resize(to_pil_image(small(data.image(n))), 37), 32) for n in range(len(data))]
    wanted = source(torch.from_numpy(np.stack([np.asarray(image) for image in edge])))
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4)


def test_a_damaged_image_is_named_and_leaves_no_cache(tmp_path: Path) -> None:
    root = colours(tmp_path / "data")
    bad = root / "test" / "c1" / "2.png"
    bad.write_bytes(bad.read_bytes()[:200])
    data = open_target("folder", root, "test")
    with pytest.raises(DataError, match=r"c1/2\.png"):
        cached_features(load_frozen("resnet18:random"), data, tmp_path / "f", image_size=32)
    assert not list((tmp_path / "f").glob("*.npy"))
