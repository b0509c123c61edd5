"""`import rtx`: five names, imported when they are first used."""

from __future__ import annotations

import ast
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
