"""`import rtx`: five names, imported when they are first used."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import rtx


def test_a_fresh_import_loads_no_framework_and_a_name_loads_its_own() -> None:
    code = (
        "import sys, rtx; "
        "assert not {'torch', 'numpy', 'mmengine'} & set(sys.modules); "
        "rtx.load_source; "
        "assert 'torch' in sys.modules and 'mmengine' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(rtx.__file__).parents[1])


@pytest.mark.parametrize("name", rtx.__all__)
def test_every_name_is_offered_documented_and_typed(name: str) -> None:
    pytest.importorskip("mmengine")
    assert name in dir(rtx)
    assert inspect.getdoc(getattr(rtx, name))


def test_editors_and_mypy_are_told_the_homes_that_are_used() -> None:
    tree = ast.parse(Path(rtx.__file__).read_text("utf-8"))
    guarded = [node for block in tree.body if isinstance(block, ast.If) for node in block.body]
    told = {alias.name: node.module for node in guarded if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == rtx._HOMES
    assert set(told) == set(rtx.__all__)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"'evaluat'; it offers .*evaluate"):
        rtx.evaluat  # noqa: B018


@pytest.mark.parametrize(("version", "spared"), [("5.23.0", True), ("4.57.1", False), ("", False)])
def test_openmmlab_is_spared_what_transformers_5_breaks(version: str, spared: bool, tmp_path: Path) -> None:
    if version:
        (tmp_path / "transformers").mkdir()
        (tmp_path / "transformers/__init__.py").write_text("raise RuntimeError('was imported')")
        (tmp_path / f"transformers-{version}.dist-info").mkdir()
        text = f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n"
        (tmp_path / f"transformers-{version}.dist-info/METADATA").write_text(text)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}) if {version!r} else None; import rtx; "
        "print('mmpretrain.models.multimodal' in sys.modules)"
    )
    project = Path(rtx.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=project, capture_output=True, text=True)
    if version or importlib.util.find_spec("transformers") is None:
        assert done.stdout.strip() == str(spared)


@pytest.mark.slow
def test_openmmlab_is_importable_beside_transformers() -> None:
    pytest.importorskip("transformers", reason="needs the extra transformers")
    pytest.importorskip("mmpretrain")
    code = "import rtx, mmdet.models, mmseg.models, mmpretrain.models"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(rtx.__file__).parents[1])
