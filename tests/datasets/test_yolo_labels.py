"""Lines of YOLO's label files: what they say, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.datasets.annotated import read_annotated
from rtx.datasets.yolo_labels import label_file, read_labels
from rtx.errors import DataError


def test_where_labels_lie() -> None:
    home = Path("set")
    assert label_file(home / "images/a/images/b/1.jpg", home) == home / "images/a/labels/b/1.txt"
    assert label_file(home / "pictures/1.jpg", home) == home / "pictures/1.txt"
    assert label_file(Path("images/set/1.jpg"), Path("images/set")) == Path("images/set/1.txt")


def test_lines_become_boxes_and_outlines(tmp_path: Path) -> None:
    path = tmp_path / "1.txt"
    path.write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.2 0.4\r\n\r\n1.0 0 0 1 0 1 1\n")
    assert read_labels(path, 2) == [(0, 0.5, 0.5, 0.2, 0.4), (1, 0, 0, 1, 0, 1, 1)]
    assert read_labels(tmp_path / "none.txt", 2) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("2 0.5 0.5 0.2 0.2", "class 2; data.yaml has the classes 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "class -1"),
        ("0.5 0.5 0.5 0.2 0.2", "class 0.5"),
        ("0 0.5 0.5 0.2 0.2 0.9", "6 are those of a prediction"),
        ("0 0.5 0.5 0.2", "4 numbers"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 numbers"),
        ("0 320 240 64 64", "320 lies outside of the image"),
        ("0 0.5 -0.2 0.2 0.2", "-0.2 lies outside"),
        ("0 0.5 0.5 -0.001 0.2", "must not be negative"),
        ("0 0.5 nan 0.2 0.2", "not finite"),
        ("car 0.5 0.5 0.2 0.2", "numbers only"),
    ],
)
def test_a_line_that_is_no_object_is_named(line: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "7.txt"
    path.write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(DataError, match=rf"7\.txt: line 2 is .*{re.escape(complaint)}"):
        read_labels(path, 2)


def test_sizes_are_those_of_the_turned_image(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "images/a.jpg", exif=exif)
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 1 0.5\n")
    (tmp_path / "data.yaml").write_text("val: images\nnames: [a]\n")
    tables = read_annotated(tmp_path, "yolo", "val").tables
    assert tables["images"] == [dict(id="a", file_name="images/a.jpg", width=40, height=60)]
    assert tables["annotations"][0]["bbox"] == [0, 15, 40, 30]
