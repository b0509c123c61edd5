"""A config that imports code of its own means something else once that code is edited."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmengine")

from mmengine.config import Config

from rtx.evaluation.card import config_sha256
from rtx.evaluation.identity import own_code


@pytest.fixture()
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module and a package that no framework brings."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_steps.py").write_text("FACTOR = 1.0\n")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package/__init__.py").write_text("")
    (tmp_path / "own_package/steps.py").write_text("FACTOR = 1.0\n")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def config(*imports: str) -> Config:
    part: dict[str, Any] = dict(model=dict(type="M"), test_dataloader=dict(dataset=dict(type="D", pipeline=[])))
    return Config(dict(part, custom_imports=dict(imports=list(imports), allow_failed_imports=False)))


@pytest.mark.parametrize(
    ("name", "edited"), [("own_steps", "own_steps.py"), ("own_package", "own_package/steps.py")], ids=["file", "folder"]
)
def test_an_edit_makes_another_key_and_the_order_does_not(modules: Path, name: str, edited: str) -> None:
    before = config_sha256(config(name, "rtx.backbones"))
    assert config_sha256(config("rtx.backbones", name)) == before
    (modules / edited).write_text("FACTOR = 0.3\n")
    assert config_sha256(config(name, "rtx.backbones")) != before


def test_frameworks_and_what_is_not_there_change_nothing(modules: Path) -> None:
    plain = config_sha256(config())
    assert config_sha256(config("rtx.backbones", "mmdet.models", "torch", "absent_module", "math")) == plain
    one = config("own_steps")
    one.custom_imports.imports = "own_steps"
    assert own_code(one) == own_code(config("own_steps")) != {}
