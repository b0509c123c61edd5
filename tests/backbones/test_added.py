"""A backbone and source weights of another package: one file with its row, one record."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from rtx.backbones import BACKBONES, Backbone, Part, SourceBackbone, add_backbone
from rtx.backbones.spec import arch_of, kept_arguments, spec_of
from rtx.config import with_source, with_transfer
from rtx.errors import BadValue
from rtx.sources import Source, add_source
from rtx.sources.catalog.archs import ARCHS
from rtx.sources.catalog.rows import CATALOG


class FourConvs(SourceBackbone):
    """Four strided convolutions with batch norms."""

    def __init__(self, width: int = 8, *, bias: bool = False, **common: Any) -> None:
        super().__init__(arch=f"four_convs_{width}", **common)
        sizes = [3, *(width * 2**i for i in range(4))]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4 if i == 0 else 2, 4 if i == 0 else 2, bias=bias), nn.BatchNorm2d(b))
            for i, (a, b) in enumerate(pairwise(sizes))
        )
        self.finish([Part(f"stages.{i}", i + 1, True) for i in range(4)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        for i in range(max(self.out_indices) + 1):
            x = self.run_block(self.stages[i], x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)


@pytest.fixture
def four_convs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The backbone at two widths and a source for one of them, for one test."""
    MODELS.register_module(module=FourConvs)
    for width in (8, 16):
        channels = (width, 2 * width, 4 * width, 8 * width)
        row = Backbone(channels, {"type": "FourConvs"} | ({"width": 16} if width == 16 else {}))
        add_backbone(f"four_convs_{width}", row, classifier=("head.",))
    add_source(
        Source(
            name="four_convs_16_mine", arch="four_convs_16", recipe="mine", filename="mine.pth", layout="torchvision",
            licence="MIT", paper="none", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
        )
    )  # fmt: skip
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path))
    state = {key: value + 1 for key, value in FourConvs(16).state_dict().items()}
    torch.save({**state, "head.weight": torch.ones(10, 128), "head.bias": torch.ones(10)}, tmp_path / "mine.pth")
    yield tmp_path / "mine.pth"
    del MODELS.module_dict["FourConvs"], CATALOG["four_convs_16_mine"]
    for width in (8, 16):
        del BACKBONES[f"four_convs_{width}"], ARCHS[f"four_convs_{width}"]


def detector() -> Config:
    return Config(
        {
            "default_scope": "mmdet",
            "model": {
                "backbone": {"type": "SourceResNet", "depth": 50, "norm_cfg": {"type": "BN"}, "with_cp": True},
                "neck": {"in_channels": [256, 512, 1024, 2048]},
                "data_preprocessor": {"mean": [0, 0, 0], "std": [1, 1, 1], "bgr_to_rgb": False},
            },
        }
    )


def test_a_config_takes_its_source_and_transfer(four_convs: Path) -> None:
    cfg = with_transfer(with_source(detector(), "four_convs_16_mine"), "blocks:1")
    assert cfg.model.neck.in_channels == [16, 32, 64, 128]
    assert cfg.model.data_preprocessor.mean == [127.5] * 3
    assert "norm_cfg" not in cfg.model.backbone and cfg.model.backbone.with_cp
    backbone = MODELS.build(cfg.model.backbone)
    backbone.init_weights()
    saved = torch.load(four_convs, weights_only=True)
    assert all(torch.equal(value, saved[key]) for key, value in backbone.state_dict().items())
    assert backbone.plan.trainable == ("stages.3",)
    assert [f.shape[1] for f in backbone(torch.zeros(1, 3, 64, 64))] == [16, 32, 64, 128]


def test_its_architecture_is_told_from_its_arguments_and_their_defaults(four_convs: Path) -> None:
    assert arch_of({"type": "FourConvs"}) == arch_of({"type": "FourConvs", "width": 8}) == "four_convs_8"
    assert arch_of({"type": "FourConvs", "width": 16, "bias": True}) == "four_convs_16"
    with pytest.raises(BadValue, match=r"FourConvs with width=9 does not exist; there are four_convs_8, four_convs_16"):
        arch_of({"type": "FourConvs", "width": 9})


def test_arguments_of_its_own_stay_with_it(four_convs: Path) -> None:
    config = {"type": "FourConvs", "width": 16, "bias": True, "with_cp": True, "no_such": 1}
    assert kept_arguments(config, spec_of("resnet18")) == {"with_cp": True, "no_such": 1}
    assert kept_arguments(config, spec_of("four_convs_8")) == {"bias": True, "with_cp": True, "no_such": 1}


def test_names_are_taken_once(four_convs: Path) -> None:
    with pytest.raises(BadValue, match="'resnet50' is there already"):
        add_backbone("resnet50", Backbone((1, 2, 3, 4), {"type": "FourConvs"}))
    with pytest.raises(BadValue, match=r"'Nothing' is no SourceBackbone in mmengine's MODELS"):
        add_backbone("new", Backbone((1, 2, 3, 4), {"type": "Nothing"}))
    with pytest.raises(BadValue, match="'resnet50_ant' is there already"):
        add_source(CATALOG["resnet50_ant"])
