"""The files of a sweep that nothing disturbed, and data of one size."""

from __future__ import annotations

import json
import shutil
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


@pytest.fixture
def equal_sizes(made_coco: Path, tmp_path: Path) -> Path:
    """The made data set with every image and annotation of one size, so that all of it is one batch."""
    from PIL import Image

    root = tmp_path / "equal"
    shutil.copytree(made_coco, root)
    path = root / "annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    for row in content["images"]:
        file = root / "val2017" / row["file_name"]
        Image.open(file).resize((120, 120)).save(file)
        row.update(width=120, height=120)
    path.write_text(json.dumps(content))
    return root
