"""Tests mirror the rooms of rtx and share helpers only through modules that hold no tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted({*ROOT.glob("tests/**/*.py")} - {Path(__file__).resolve()})


def imported(source: str) -> Iterator[str]:
    """Every module and name that a file imports, also in code that it hands to another process as text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
            yield from node.value.replace(";", " ").split()


def from_tests(source: str) -> list[str]:
    return [name for name in imported(source) if name.startswith("tests.") and ".test_" in name]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_imports_a_test_module(path: Path) -> None:
    assert from_tests(path.read_text("utf-8")) == []


def test_the_check_sees() -> None:
    assert from_tests("from tests.results.test_cell import x") == ["tests.results.test_cell.x"]
    assert from_tests('code = "from tests.results.test_cell import x"') == ["tests.results.test_cell"]
    assert from_tests("from tests.makers import make_coco") == []


def test_every_folder_of_tests_is_a_room() -> None:
    folders = {p.parent.relative_to(ROOT / "tests") for p in FILES} - {Path(".")}
    assert [str(f) for f in sorted(folders) if not (ROOT / "rtx" / f).is_dir()] == []
