"""Cells of two data sets never lie under one key: what was read is held against what was hashed."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("mmdet")

from rtx.errors import DataError
from rtx.evaluation.evaluate import evaluate
from rtx.results.cell import Cell
from rtx.results.folder import stored_conditions
from rtx.types import CLEAN
from tests.evaluation.stand_in import PixelDetector, coco_config


def replaced(path: Path) -> None:
    """Another picture of the same size in bytes, with the same times: what `rsync -t` and a careless script leave."""
    facts = path.stat()
    image = cv2.imread(str(path))
    content = path.read_bytes()
    for quality in range(100, 5, -1):
        other = cv2.imencode(".jpg", 255 - image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(other) <= len(content):
            break
    path.write_bytes(other + bytes(len(content) - len(other)))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size and path.stat().st_mtime_ns == facts.st_mtime_ns


def copied(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def sweep(root: Path, out: Path, change: Callable[[Path], None], **options: Any) -> dict[str, Any]:
    """An evaluation; when its first cell is there, something happens to an image."""
    image = sorted((root / "val2017").glob("*.jpg"))[0]

    def on_cell(cell: Cell, done: int, total: int) -> None:
        if done == 1:
            change(image)

    options = {"workers": 0, "resamples": 0, "on_cell": on_cell, **options}
    return evaluate(PixelDetector(), coco_config(root), out, corruptions=["fog"], severities=[1], **options)


@pytest.fixture
def data(made_coco: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_coco, tmp_path / "coco"))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("change", [replaced, Path.unlink], ids=["replaced", "removed"])
def test_a_cell_of_other_images_is_not_written(
    data: Path, tmp_path: Path, change: Callable[[Path], None], workers: int
) -> None:
    with pytest.raises(DataError, match=r"(replaced|removed) while fog_1 was evaluated.*it is not written|image .*jpg"):
        sweep(data, tmp_path / "out", change, workers=workers, cache=1.0)
    assert stored_conditions(tmp_path / "out") == [CLEAN]


def test_the_same_content_goes_on(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        summary = sweep(data, tmp_path / "out", copied)
    assert set(summary["cells"]) == {"clean", "fog_1"} and "1 files were touched" in caplog.text
