"""Pipelines give the papers' pixels; statistics are those of the papers' code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rtx.errors import BadValue
from rtx.transfer.preprocessing import pipelines, upstream_statistics

torch = pytest.importorskip("torch")
pytest.importorskip("mmpretrain")

import mmpretrain.datasets.transforms  # noqa: E402, F401
from mmengine.dataset import Compose  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

import rtx.datasets.openmmlab.target  # noqa: E402, F401


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 41, 3), np.uint8))
    small.resize((330, 250), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(pipeline: list[dict[str, Any]], path: Path) -> np.ndarray:
    init_default_scope("mmpretrain")
    packed = Compose(pipeline)({"img_path": str(path), "gt_label": 1})
    return packed["inputs"].numpy()[::-1].transpose(1, 2, 0)


@pytest.mark.parametrize(("name", "edge"), [("salman", 256), ("utrera", 224)])
def test_the_test_pipeline_is_torchvisions(photo: Path, name: str, edge: int) -> None:
    from torchvision import transforms

    theirs = transforms.Compose([transforms.Resize(edge), transforms.CenterCrop(224)])(Image.open(photo))
    found = run(pipelines(name, "caltech101")[1], photo)
    assert found.shape == (224, 224, 3)
    difference = abs(found.astype(int) - np.asarray(theirs).astype(int))
    assert np.median(difference) <= 1 and difference.mean() < 2, "one pixel of rounding in the crop at most"


def kinds(name: str, target: str) -> list[str]:
    return [step["type"] for step in pipelines(name, target)[0]]


def test_what_is_drawn_depends_on_paper_and_target() -> None:
    assert kinds("salman", "pets") == ["LoadTargetImage", "RandomResizedCrop", "RandomFlip", "PackInputs"]
    assert "RandomFlip" not in kinds("salman", "svhn"), "a mirrored digit is another sign"
    assert "RandomFlip" not in kinds("salman", "kmnist") and "RandomFlip" in kinds("salman", "fashion_mnist")
    assert "RandomFlip" in kinds("utrera", "svhn"), "the code flips digits"
    colour = ["LoadTargetImage", "ResizeEdge", "RandomCrop", "RandomFlip", "ColorJitter", "Rotate", "PackInputs"]
    assert kinds("utrera", "cifar10") == colour
    for grey in ("mnist", "fashion_mnist", "kmnist"):
        assert kinds("utrera", grey) == ["LoadTargetImage", "ResizeEdge", "CenterCrop", "PackInputs"]
    with pytest.raises(BadValue, match="--image-size 16"):
        pipelines("salman", "pets", 16)


@pytest.mark.parametrize("name", ["salman", "utrera"])
@pytest.mark.parametrize("size", [64, 224])
def test_the_network_sees_squares_of_that_size(photo: Path, name: str, size: int) -> None:
    for pipeline in pipelines(name, "cars", size):
        found = run(pipeline, photo)
        assert found.shape == (size, size, 3) and found.dtype == np.uint8


def test_rotation_and_jitter_stay_in_their_ranges() -> None:
    from mmengine.registry import TRANSFORMS

    init_default_scope("mmpretrain")
    steps = {step["type"]: step for step in pipelines("utrera", "cifar10")[0]}
    rotate, jitter = TRANSFORMS.build(steps["Rotate"]), TRANSFORMS.build(steps["ColorJitter"])
    angles = [rotate.random_negative(rotate.random_magnitude()) for _ in range(500)]
    assert -2 <= min(angles) < -1.9 and 1.9 < max(angles) <= 2
    assert jitter.brightness == jitter.contrast == jitter.saturation == (0.75, 1.25) and jitter.hue is None


def test_upstream_statistics_are_those_of_the_code() -> None:
    assert upstream_statistics("salman", "pets", "resnet50_l2_eps3") == ([0.0] * 3, [255.0] * 3)
    cifar = ([125.307, 122.961, 113.8575], [51.5865, 50.847, 51.255])
    assert upstream_statistics("salman", "cifar10", "random") == cifar
    # A robust checkpoint brings ImageNet's with it, the natural network has the target's.
    assert upstream_statistics("utrera", "cifar10", "resnet50_l2_eps3") is None
    assert upstream_statistics("utrera", "cifar10", "weights/own.pth") is None
    assert upstream_statistics("utrera", "cifar100", "resnet50_in1k_v1") == cifar
    assert upstream_statistics("utrera", "mnist", None) == ([33.3285] * 3, [78.5655] * 3)
    with pytest.raises(BadValue, match="no pixel statistics for pets"):
        upstream_statistics("utrera", "pets", "resnet50_in1k_v1")
