"""The examples in rtx's docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
WITH_EXAMPLES = [p for p in sorted(ROOT.glob("rtx/**/*.py")) if ">>> " in p.read_text("utf-8")]


def run(module: object) -> tuple[int, int, str]:
    """Examples run, examples failed, and what the failed ones printed."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs={"np": np}):
        runner.run(example, out=said.append)
    return runner.tries, runner.failures, "".join(said)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda p: str(p.relative_to(ROOT / "rtx").with_suffix("")))
def test_examples(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    try:
        module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rtx"):
            raise
        pytest.skip(f"needs {error.name}")
    tried, failed, said = run(module)
    assert tried and not failed, said


def test_a_wrong_example_is_seen() -> None:
    class Wrong:
        """A class.

        >>> 1 + 1
        3
        """

    assert run(Wrong)[:2] == (1, 1)
