"""What is read of a folder is read once, and again when a file of it changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rtx.datasets.annotated import read_annotated
from rtx.metrics.coco_truth import read_truth


@pytest.mark.parametrize("what", ["label", "image", "yaml", "new"])
def test_a_folder_that_changed_is_read_again(what: str, yolo: Path) -> None:
    before = read_annotated(yolo, "yolo", "val")
    assert read_annotated(yolo, "yolo", "val") is before
    label = next(path for path in sorted((yolo / "labels/val").iterdir()) if path.stat().st_size)
    image = yolo / "images/val" / f"{label.stem}.jpg"
    if what == "label":
        label.write_text("0 0.5 0.5 0.1 0.1\n")
    elif what == "image":
        os.utime(image, ns=(1, 1))
    elif what == "yaml":
        (yolo / "data.yaml").write_text((yolo / "data.yaml").read_text().replace("disc", "ring"))
    else:
        (image.with_name("new.jpg")).write_bytes(image.read_bytes())
    after = read_annotated(yolo, "yolo", "val")
    assert after is not before and (what == "image") == (after.tables == before.tables)


def test_the_file_holds_the_tables_and_is_gone_afterwards(city: Path) -> None:
    found = read_annotated(city, "cityscapes", "val")
    with found.as_file() as path:
        assert json.loads(Path(path).read_text()) == found.tables
        assert read_truth(Path(path)).annotations[0]["bbox"] == read_truth(found.tables).annotations[0]["bbox"]
    assert not Path(path).exists() and len(found.classes) == 8
