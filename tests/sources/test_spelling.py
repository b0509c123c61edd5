"""A source has one spelling, whether its architecture was given or is told by its keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rtx.errors import UnknownName, WeightsError
from rtx.sources.catalog.archs import build_reference
from rtx.sources.spelling import full_spec


def test_a_file_alone_gets_its_architecture(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(build_reference("resnet18", num_classes=5).state_dict(), path)
    assert full_spec(str(path)) == full_spec(f"resnet18:{path}") == f"resnet18:{path}"


@pytest.mark.parametrize("spec", ["random", "resnet18:random", "resnet50_l2_eps3", "resnet18:nowhere.pth"])
def test_what_says_it_stays(spec: str) -> None:
    assert full_spec(spec) == spec


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pth"):
        full_spec("nowhere.pth")
    with pytest.raises(UnknownName, match="did you mean 'resnet50_l2_eps3'"):
        full_spec("resnet50_l2_ep3")
