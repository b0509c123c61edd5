"""A source has one spelling, whether its architecture was given or is told by its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rtx.errors import UnknownName, WeightsError
from rtx.sources.catalog.archs import build_reference
from rtx.sources.spelling import full_spec, with_stated_arch


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


@pytest.mark.parametrize(
    ("meta", "begins"),
    [
        ({"rtx_source": {"arch": "resnet18"}}, "resnet18:"),
        ({"rtx_source": {"arch": "timm:tf_efficientnet_lite0"}}, "timm:tf_efficientnet_lite0@"),
        ({"rtx_source": {"arch": "my/own"}}, ""),
        ({"rtx_source": 3}, ""),
        ({"arch": "resnet18"}, ""),  # a card of others, which may mean another layout
    ],
)
def test_a_file_of_train_source_states_its_architecture(tmp_path: Path, meta: dict[str, Any], begins: str) -> None:
    path = tmp_path / "source.pth"
    torch.save({"state_dict": {"some.weight": torch.zeros(1)}, "meta": meta}, path)
    assert with_stated_arch(str(path)) == f"{begins}{path}"
    assert with_stated_arch(f"resnet50:{path}") == f"resnet50:{path}", "what is written out stays"


def test_what_is_wrong_with_a_file_is_said_by_others(tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    for spec in (str(tmp_path / "broken.pth"), str(tmp_path / "absent.pth"), "random", "no_such_name"):
        assert with_stated_arch(spec) == spec
