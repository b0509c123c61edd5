"""`--import`: a network of one's own is named by `--source` in every command that takes one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import rtx
from rtx.cli.main import COMMANDS, main
from rtx.cli.options import add_config_arguments, apply_config_arguments
from tests.backbones.users import USERS_FILE, forget
from tests.evaluation.class_folders import make_folders


@pytest.fixture
def pocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's file, where Python finds it."""
    (tmp_path / "pocket.py").write_text(USERS_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "pocket.py"
    sys.modules.pop("pocket", None)
    forget("pocket")


def test_every_command_that_takes_a_source_takes_its_module() -> None:
    both = []
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        import_module(f"rtx.cli.{name}").add_arguments(parser)
        flags = {flag for action in parser._actions for flag in action.option_strings}
        assert "--source" not in flags or "--import" in flags, name
        both += [name] if "--import" in flags else []
    assert {"train", "corrupt_eval", "attack_eval", "imagenet_c", "probe", "influence"} <= set(both)


def test_its_classifier_is_evaluated_and_its_code_counts(
    pocket: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tuple(f"n{n:02d}" for n in range(10))
    data = make_folders(tmp_path / "data", per_class=1, names=names)
    words = ["imagenet_c", "--clean", str(data), "--source", f"pocket:{tmp_path}/p.pth", "--out", str(tmp_path / "out")]
    words += ["--workers", "0", "--resamples", "0"]
    assert main(words) == 2 and "--import MODULE" in capsys.readouterr().err
    words += ["--import", "pocket"]
    torch.manual_seed(0)
    torch.save(import_module("pocket").Pocket().state_dict(), tmp_path / "p.pth")
    assert main(words) == 0 and "10 images" in capsys.readouterr().out
    cell = tmp_path / "out/cells/clean.json"
    before = cell.stat().st_mtime_ns
    assert main(words) == 0 and cell.stat().st_mtime_ns == before
    with pocket.open("a") as file:
        file.write("# changed\n")
    assert main(words) == 2 and 'model_version: "code ' in capsys.readouterr().err


def test_the_config_of_a_run_names_the_module(pocket: Path) -> None:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    args = parser.parse_args(["--import", "pocket", "--source", "pocket:random"])
    place = Path(rtx.__file__).parents[1] / "configs" / "maskrcnn_r50_coco.py"
    found = apply_config_arguments(Config.fromfile(place), args)
    assert "pocket" in found.custom_imports.imports and found.model.backbone.arch == "pocket"
