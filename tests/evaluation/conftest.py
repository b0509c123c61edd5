"""The files of a sweep that nothing disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.worlds import table


@pytest.fixture(scope="session")
def whole(made_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The files of an undisturbed sweep."""
    from tests.evaluation.sweep.small_sweep import evaluate

    out = tmp_path_factory.mktemp("whole")
    evaluate(made_coco, out)
    return table(out)
