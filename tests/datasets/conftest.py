"""Data sets in the layouts of YOLO and Cityscapes, which a test may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.layout_worlds import make_cityscapes, to_yolo


@pytest.fixture
def yolo(made_coco: Path, tmp_path: Path) -> Path:
    """The boxes of the made COCO set in YOLO's layout."""
    to_yolo(made_coco, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def outlined(made_coco: Path, tmp_path: Path) -> Path:
    """Its objects with one polygon, as outlines."""
    to_yolo(made_coco, tmp_path / "outlined", outlines=True)
    return tmp_path / "outlined"


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Three training and two validation images of Cityscapes."""
    return make_cityscapes(tmp_path / "city")
