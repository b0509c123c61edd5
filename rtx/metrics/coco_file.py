"""COCO annotation files with every field checked: what is missing or of another type is one error that names it.

The format: https://cocodataset.org/#format-data. Fields that rtx does not read are left as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any

import numpy as np

from rtx.errors import DataError

Tables = dict[str, list[dict[str, Any]]]
"""`images`, `categories` and `annotations`, with what else the file holds."""

SINGULAR = {"images": "image", "categories": "category", "annotations": "annotation"}
MMDET = ("annotations", "file_name", "width", "height", "id", "area")
"""Fields that mmdet's reader needs and scoring does not."""

_LARGEST = 2**53  # whole numbers up to here are exact in every reader
_FARTHEST = 10**6  # pycocotools fills memory with the outlines of larger shapes
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def _number(value: Any) -> bool:
    kind = type(value)
    if kind is float or issubclass(kind, np.floating):
        return math.isfinite(value)
    return (kind is int or issubclass(kind, np.integer)) and abs(value) <= _LARGEST


def _id(value: Any) -> bool:
    return bool(value) if type(value) is str else _number(value) and value == int(value)


def _box(value: Any) -> bool:
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != 4:
        return False
    return all(map(_number, value)) and value[2] >= 0 and value[3] >= 0


def _outline(value: Any) -> bool:
    try:
        inside = not value or -_FARTHEST <= min(value) <= max(value) <= _FARTHEST
        return set(map(type, value)) <= {int, float} and math.isfinite(sum(value)) and inside
    except (TypeError, OverflowError):
        return False


def _mask(value: Any) -> bool:
    if isinstance(value, dict):
        size, counts = value.get("size"), value.get("counts")
        if not isinstance(size, list | tuple) or len(size) != 2 or not all(map(_side, size)):
            return False
        if isinstance(counts, list):
            return all(type(n) is int and n >= 0 for n in counts) and sum(counts) == size[0] * size[1]
        return isinstance(counts, str | bytes)
    return isinstance(value, list) and all(isinstance(part, list) and _outline(part) for part in value)


def _side(value: Any) -> bool:
    return _number(value) and 1 <= value <= _FARTHEST


def _text(value: Any) -> bool:
    return type(value) is str and bool(value) and "\0" not in value


def _file(value: Any) -> bool:
    return _text(value) and all(len(part.encode(errors="surrogatepass")) <= 255 for part in value.split("/"))


# Field -> whether a value fits, and what it must be.
_A_NUMBER, _AN_ID = "a number, 0 or more", "a whole number, or text"
FIELDS: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "images": {
        "id": (_id, _AN_ID),
        "file_name": (_file, "text, at most 255 bytes between slashes"),
        "width": (_side, "a number of pixels"),
        "height": (_side, "a number of pixels"),
    },
    "categories": {"id": (_id, _AN_ID), "name": (_text, "text")},
    "annotations": {
        "id": (_id, _AN_ID),
        "image_id": (_id, _AN_ID),
        "category_id": (_id, _AN_ID),
        "bbox": (_box, "left, top, width, height in pixels, not negative"),
        "area": (lambda value: _number(value) and value >= 0, _A_NUMBER),
        "iscrowd": (lambda value: value in (0, 1), "0 or 1"),
        "segmentation": (_mask, "outlines of x, y, x, y ..., or run lengths of the image's size"),
    },
}
_NEEDED = {"images": ("id",), "categories": ("id", "name"), "annotations": ("image_id", "category_id", "bbox")}
_MAY_BE_NULL = ("id", "area", "segmentation")


def read_tables(path: Path, *, need: Collection[str] = ()) -> Tables:
    """Read an annotation file.

    Args:
        path: the file.
        need: fields that are needed beyond the ids, names and boxes that every use needs, e.g. `MMDET`.

    Raises:
        DataError: the file cannot be read, a list or field is missing or of another type, or an id comes twice.
    """
    text = _text_of(path)
    content, digest = _load(text, path), hashlib.sha256(text.encode()).digest()
    if digest in _SOUND and _SOUND[digest].issuperset(need):
        return {**content, "annotations": content.get("annotations", [])}
    tables = check_tables(content, str(path), need=need)
    _SOUND[digest] = frozenset(need)
    return tables


_SOUND: dict[bytes, frozenset[str]] = {}
"""Sha256 of a file's text -> the fields that it was checked for. A command looks at its data first and reads them
afterwards, and the checks take four times as long as the parsing."""


def check_tables(content: Any, place: str, *, need: Collection[str] = ()) -> Tables:
    """Check ground truth in the form of an annotation file, see `read_tables`; `place` is what messages call it."""
    if not isinstance(content, Mapping):
        raise DataError(f"{place}: holds a {type(content).__name__}, not an object: not a COCO annotation file")
    tables: Tables = {**content, "annotations": content.get("annotations", None if "annotations" in need else [])}
    for kind in FIELDS:
        tables[kind] = check_rows(tables.get(kind), kind, place, need=need)
    return tables


def check_rows(rows: Any, kind: str, place: str, *, need: Collection[str] = ()) -> list[dict[str, Any]]:
    """Check one of the three lists of an annotation file, see `read_tables`."""
    if not isinstance(rows, list):
        raise DataError(f"{place} has no list {kind}: not a COCO annotation file; copy the file again")
    one, needed = SINGULAR[kind], {*_NEEDED[kind], *need}
    for n, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{place}: {one} number {n + 1} is {_SHORT.repr(row)}; it must be an object with an id")
        for field, (fits, wanted) in FIELDS[kind].items():
            value = row.get(field)
            absent = value is None or (field in ("bbox", "segmentation") and value == [])
            if absent and field not in needed and (field not in row or field in _MAY_BE_NULL):
                continue
            if not absent and fits(value):
                continue
            name = f"{place}: {one} {f'number {n + 1}' if row.get('id') is None else _SHORT.repr(row['id'])}"
            name += f" of image {_SHORT.repr(row.get('image_id'))}" if kind == "annotations" else ""
            what = "box" if field == "bbox" else field
            if absent and field in needed:
                other = "choose a config without masks" if field == "segmentation" else f"take the {one} out"
                raise DataError(f"{name} has no {what}, which must be {wanted}; add it, or {other}")
            raise DataError(f"{name} has the {what} {_SHORT.repr(value)}; it must be {wanted}")
    ids = [row["id"] for row in rows] if "id" in needed else []  # scoring numbers the annotations anew
    if kind != "annotations" and len({isinstance(i, str) for i in ids}) > 1:
        text, number = (next(i for i in ids if isinstance(i, str) is wanted) for wanted in (True, False))
        raise DataError(
            f"{place}: {one} ids are numbers ({number!r}) and text ({text!r}), which have no order; write all alike"
        )
    if len(set(ids)) != len(ids):
        twice = next(i for i, count in Counter(ids).items() if count > 1)
        raise DataError(f"{place}: {one} id {twice!r} is there twice, and only one would count; number them anew")
    return rows


def unmatched(tables: Tables, field: str, place: str) -> list[dict[str, Any]]:
    """Annotations whose `image_id` or `category_id` (`field`) is not in the file.

    Raises:
        DataError: the id is there, but as a number instead of text or the other way round; or no annotation has an id
            that is there.
    """
    one = field.removesuffix("_id")
    known = {row["id"] for row in tables["images" if one == "image" else "categories"]}
    unknown = [row for row in tables["annotations"] if row[field] not in known]
    if unknown:
        first, as_text = unknown[0], {str(i) for i in known}
        twin = next((row for row in unknown if str(row[field]) in as_text), None)
        if twin is not None:
            mine, theirs = ("text", "numbers") if isinstance(twin[field], str) else ("a number", "text")
            raise DataError(
                f"{place}: annotation {twin.get('id')!r} has the {field} {twin[field]!r}, which is {mine}, but the ids "
                f"of the {one} list are {theirs}, and it would not count; write both alike"
            )
        if len(unknown) == len(tables["annotations"]):
            raise DataError(
                f"{place}: no annotation belongs to {'an image' if one == 'image' else 'a category'} of the file, the "
                f"first has the {field} {first[field]!r}; take the ids from its list"
            )
    return unknown


def check_names(images: Iterable[Mapping[str, Any]], place: str) -> None:
    """Refuse a file that lists one picture under two ids: it would count twice, with a part of its objects each time.

    Raises:
        DataError: two images have one `file_name`.
    """
    seen: dict[str, Any] = {}
    for row in images:
        name = row.get("file_name")
        if name is not None and seen.setdefault(name, row["id"]) != row["id"]:
            raise DataError(
                f"{place}: images {seen[name]!r} and {row['id']!r} are both {name!r}, which would count twice; give "
                "all annotations to one of them"
            )


def repeated(tables: Tables) -> str | None:
    """A warning about annotations that are there twice, None where there is none."""
    keys = ((row["image_id"], row["category_id"], *row["bbox"]) for row in tables["annotations"])
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if not twice:
        return None
    image, category, *box = twice[0]
    return (
        f"{len(twice)} objects are there more than once, such as the box {box} of category {category!r} in image "
        f"{image!r}; each counts, and only one can be found"
    )


def read_lists(path: Path, *keys: str, need: Collection[str] = ()) -> tuple[list[dict[str, Any]], ...]:
    """Some of the lists of an annotation file, checked; no more than they are parsed where they are found at once.

    COCO's training annotations are 450 MB; its images and categories are a small part of them.

    Raises:
        DataError: as `read_tables`.
    """
    text = _text_of(path)
    found: dict[str, Any] = {}
    for key in keys:
        _, key_there, rest = text.rpartition(f'"{key}"')
        try:
            found[key] = (
                json.JSONDecoder().raw_decode(rest.lstrip().removeprefix(":").lstrip())[0] if key_there else None
            )
        except (ValueError, RecursionError):
            break  # the key stands elsewhere too, or the file is broken: the full parse decides
    if not all(isinstance(found.get(key), list) for key in keys):
        found = _load(text, path)
        if not isinstance(found, dict):
            raise DataError(f"{path}: holds a {type(found).__name__}, not an object: not a COCO annotation file")
    return tuple(check_rows(found.get(key), key, str(path), need=need) for key in keys)


def _text_of(path: Path) -> str:
    try:
        if not path.is_file() and path.exists():
            raise OSError("it is no regular file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a COCO annotation file ({error}); copy the file again") from error


def _load(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason, remedy = "the file is empty" if not text.strip() else error, "copy the file again"
        if text.startswith("\ufeff"):
            reason, remedy = "it starts with a byte order mark", "save it as UTF-8 without one"
        raise DataError(f"{path}: cannot be read as a COCO annotation file ({reason}); {remedy}") from error
