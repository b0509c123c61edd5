"""A field of a COCO annotation file that is missing or of another type is one error: file, entry, field, remedy."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from rtx.errors import DataError
from rtx.metrics.coco_file import MMDET, check_tables, read_lists, read_tables, unmatched
from rtx.metrics.coco_truth import category_ids, read_truth

GOOD: dict[str, Any] = {
    "images": [{"id": n, "file_name": f"yard{n}.jpg", "width": 96, "height": 64} for n in (1, 2)],
    "categories": [{"id": 4, "name": "crate"}],
    "annotations": [
        {
            "id": n,
            "image_id": 1 + n % 2,
            "category_id": 4,
            "bbox": [5, 6, 18.5, 30],
            "area": 540,
            "iscrowd": 0,
            "segmentation": [[5, 6, 23, 6, 23, 36.5]],
        }
        for n in (1, 2, 3)
    ],
}
# Field -> values of another type, range or form than the format's.
WRONG: dict[str, dict[str, list[Any]]] = {
    "images": {
        "id": [None, [], [1], {}, True, math.nan, 1.5, "", 10**30],
        "file_name": [[], 7, "", "a\0b"],
        "width": [[], "96", 0, -1, math.inf, None],
        "height": ["tall", {}],
    },
    "categories": {"id": [None, [2], True], "name": [None, 3, [], ""]},
    "annotations": {
        "image_id": [None, [], {"a": 1}, math.nan],
        "category_id": [None, [4], 10**400],
        "bbox": [None, [], [1, 2, 3], [1, 2, 3, "4"], [1, 2, math.nan, 4], [1, 2, -3, 4], "1 2 3 4", 7, [[1, 2, 3, 4]]],
        "area": ["big", [], [540], -1, math.inf, 10**400, True],
        "iscrowd": ["0", 2, [], None],
        "segmentation": [
            "outline",
            7,
            [1, 2, 3],
            [[1, "2"]],
            [[1, math.nan]],
            [[10**400, 1]],
            [[10**8, 1, 2, 3, 4, 5]],
            {"size": [64], "counts": "a"},
            {"size": [64, 96], "counts": [3]},
            {"size": [64, 96], "counts": 7},
        ],
    },
}
ROWS = [(kind, field, value) for kind, fields in WRONG.items() for field, values in fields.items() for value in values]


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("kind", "field", "value"), ROWS, ids=lambda v: repr(v)[:20])
def test_a_field_of_another_type_is_named(kind: str, field: str, value: Any, tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content[kind][0][field] = value
    path = written(tmp_path / "instances.json", content)
    with pytest.raises(DataError) as caught:
        read_truth(path)
    text = str(caught.value)
    one = {"images": "image", "categories": "category", "annotations": "annotation"}[kind]
    what = {"bbox": "box"}.get(field, field)
    assert text.startswith(f"{path}: {one} ") and f" {what}" in text and "must be" in text
    assert len(text) < 400 and "\n" not in text


def test_good_files_are_read_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "instances.json", GOOD)
    assert read_tables(path, need=(*MMDET, "segmentation")) == GOOD
    assert read_lists(path, "images", "categories") == (GOOD["images"], GOOD["categories"])
    assert [a["bbox"] for a in read_truth(path).annotations] == [[5.0, 6.0, 18.5, 30.0]] * 3
    assert [a["area"] for a in read_truth(path).annotations] == [540.0] * 3


@pytest.mark.parametrize(
    ("kind", "field", "name"),
    [
        ("images", "file_name", "image 1 has no file_name"),
        ("images", "width", "image 1 has no width"),
        ("annotations", "area", "annotation 1 of image 2 has no area.* take the annotation out$"),
        ("annotations", "id", "annotation number 1 of image 2 has no id"),
        ("annotations", "segmentation", "annotation 1 of image 2 has no segmentation.* config without masks$"),
    ],
)
def test_what_mmdet_needs_and_scoring_does_not(kind: str, field: str, name: str, tmp_path: Path) -> None:
    for gone in ("absent", "empty"):
        content = copy.deepcopy(GOOD)
        del content[kind][0][field]
        if gone == "empty" and field == "segmentation":
            content[kind][0][field] = []
        path = written(tmp_path / "instances.json", content)
        with pytest.raises(DataError, match=name):
            read_tables(path, need=(*MMDET, "segmentation"))
        read_truth(path)


def test_a_file_is_checked_once_for_the_same_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = copy.deepcopy(GOOD)
    content["annotations"][0]["area"] = 541.5
    del content["annotations"][0]["id"]
    path, checks = written(tmp_path / "instances.json", content), []

    def check(*args: Any, **options: Any) -> Any:
        checks.append(options)
        return check_tables(*args, **options)

    monkeypatch.setattr("rtx.metrics.coco_file.check_tables", check)
    first = read_tables(path, need=("area",))
    assert first == read_tables(path) == read_tables(path, need=("area",)) and len(checks) == 1
    with pytest.raises(DataError, match="annotation number 1 of image 2 has no id"):
        read_tables(path, need=MMDET)
    content["annotations"][0]["bbox"] = "none"
    with pytest.raises(DataError, match="has the box 'none'"):
        read_tables(written(path, content))


@pytest.mark.parametrize("kind", ["images", "categories", "annotations"])
@pytest.mark.parametrize("value", [None, {}, "x", 3, [3], ["x"], [[1]], [None]])
def test_lists_that_are_none(kind: str, value: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "instances.json", {**GOOD, kind: value})
    with pytest.raises(DataError, match=rf"instances\.json.* (no list {kind}|number 1 is)"):
        read_truth(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"images"', "\x00", "[" * 100_000, '{"images": ' * 50_000])
def test_files_that_are_no_annotation_files(content: str, tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(content)
    for read in (read_truth, read_tables, lambda p: read_lists(p, "images")):
        with pytest.raises(DataError, match=r"instances\.json"):
            read(path)
    with pytest.raises(DataError, match="no regular file"):
        read_tables(tmp_path)


def test_an_id_that_comes_twice(tmp_path: Path) -> None:
    for kind, one in (("images", "image"), ("categories", "category"), ("annotations", "annotation")):
        content = copy.deepcopy(GOOD)
        content[kind].append(content[kind][0])
        path = written(tmp_path / "instances.json", content)
        with pytest.raises(DataError, match=f"{one} id {content[kind][0]['id']} is there twice"):
            read_tables(path, need=MMDET)
    read_truth(path)  # scoring numbers the annotations anew


def test_annotations_of_nothing_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "instances.json"
    for field, list_name in (("category_id", "category"), ("image_id", "image")):
        content = copy.deepcopy(GOOD)
        content["annotations"][1][field] = str(content["annotations"][1][field])
        with pytest.raises(DataError, match=rf"annotation 2 has the {field} '\d', which is text, .* {list_name} list"):
            read_truth(written(path, content))
        content["annotations"][1][field] = 77
        caplog.clear()
        read_truth(written(path, content))
        assert f"the {field} of 1 of 3 annotations is not in the file, e.g. 77" in caplog.text
        assert [row["id"] for row in unmatched(content, field, "x")] == [2]
        for row in content["annotations"]:
            row[field] = 77
        with pytest.raises(DataError, match=f"no annotation belongs to .* the first has the {field} 77"):
            read_truth(written(path, content))


@pytest.mark.parametrize("kind", ["images", "categories"])
def test_ids_of_two_types_are_refused(kind: str) -> None:
    content = copy.deepcopy(GOOD)
    content[kind].append({**content[kind][0], "id": "7", "name": "pallet", "file_name": "other.jpg"})
    with pytest.raises(DataError, match=r"ids are numbers \(\d\) and text \('7'\)"):
        check_tables(content, "made")


def test_categories_numbered_by_text_cannot_be_scored() -> None:
    content = {**GOOD, "categories": [{"id": "c4", "name": "crate"}], "annotations": []}
    with pytest.raises(DataError, match="category ids are text, such as 'c4'"):
        category_ids(read_truth(content), ["crate"])


def test_a_file_name_that_no_file_can_have() -> None:
    content = copy.deepcopy(GOOD)
    content["images"][0]["file_name"] = f"yard/{'x' * 300}"
    with pytest.raises(DataError, match="at most 255 bytes"):
        check_tables(content, "made")
