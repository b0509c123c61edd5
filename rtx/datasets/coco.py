"""COCO: `annotations/instances_<split>.json`, and the images that it lists in one of a few usual places.

What an annotation file holds is read and checked by `rtx.metrics.coco_file`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtx.datasets.layout import DataFolder, Layout, files_in, unsaid
from rtx.errors import DataError, some
from rtx.metrics.coco_file import check_names, read_lists

SPLIT_NAMES = {"train": ("train2017", "train"), "val": ("val2017", "val")}


def find_file(root: Path, names: Sequence[str]) -> tuple[str, str] | None:
    """The first of the splits that has an annotation file: the split, and the file relative to the root."""
    files = ((name, f"annotations/instances_{name}.json") for name in names)
    return next(((name, file) for name, file in files if (root / file).is_file()), None)


def read_names(path: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The file names of the images of an annotation file, and its category names, see `category_names`.

    Raises:
        DataError: it is no COCO annotation file, or an image has no file name.
    """
    images, categories = read_lists(path, "images", "categories", need=("file_name",))
    return [Path(row["file_name"]) for row in images], category_names(categories, path)


def category_names(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[str, ...]:
    """The category names in the order of the file, which is the order in which mmdet numbers them.

    Raises:
        DataError: there is no category, or one name twice.
    """
    names = tuple(row["name"] for row in rows)
    if not names:
        raise DataError(f"{path}: the list of categories is empty; there is nothing to detect")
    if len(set(names)) != len(names):
        raise DataError(f"{path}: a category name occurs twice; give each its own")
    return names


def image_folder(root: Path, names: Sequence[Path], split: str) -> str | None:
    """The first usual folder, relative to the root, that holds one of the images; None where none does."""
    other = split.removesuffix("2017") if split.endswith("2017") else f"{split}2017"
    places = (split, other, f"images/{split}", f"images/{other}", "images", ".")
    there = (place for place in places if (root / place).is_dir())
    return next((place for place in there if any((root / place / name).is_file() for name in names)), None)


def _recognised(root: Path) -> bool:
    return any((root / "annotations").glob("*.json"))


def _evaluated(root: Path, split: str | None) -> DataFolder | None:
    """`annotations/*_<split>.json`, and the images that it lists; `val2017`, else `val`, by default.

    A folder without annotations (`test2017`) is taken whole when it is asked for by its name.
    """
    files = sorted((root / "annotations").glob("*.json"), key=lambda p: (not p.name.startswith("instances_"), p.name))
    labels = {p.relative_to(root) for p in files if "train" not in p.name}
    for name in (split,) if split else SPLIT_NAMES["val"]:
        for file in files:
            if file.stem == name or file.stem.endswith(f"_{name}"):
                images, notes = _listed(root, file, name)
                if images:
                    return DataFolder(root, "coco", tuple(images), tuple(labels | {file.relative_to(root)}), notes)
    if files and not split:
        raise unsaid(root, "val2017 or val with its images", (p.stem.rpartition("_")[2] for p in files))
    folder = next((p for p in (root / str(split), root / "images" / str(split)) if p.is_dir()), None)
    if not files or folder is None:
        return None
    note = f"no annotation file lists images of {split!r}: all images of {folder.relative_to(root)} are taken"
    return DataFolder(root, "coco", tuple(files_in(folder, root)), tuple(labels), (note,))


def _listed(root: Path, file: Path, split: str) -> tuple[list[Path], tuple[str, ...]]:
    """The images of an annotation file that are there, relative to the root."""
    try:
        (rows,) = read_lists(file, "images", need=("file_name",))
        check_names(rows, str(file))
        names = [Path(row["file_name"]) for row in rows]
    except DataError:
        if file.name.startswith("instances_"):
            raise
        return [], ()  # captions of another tool, a table of classes
    for name in names:
        if name.is_absolute() or ".." in name.parts:
            raise DataError(f"{file}: file_name {str(name)!r} leads out of the data folder; write relative names")
    place = image_folder(root, names, split)
    if place is None:
        return [], ()
    lost = [name for name in names if not (root / place / name).is_file()]
    what = f"{len(lost)} of the {len(names)} images that {file} lists are not in {root / place}: {some(lost)}"
    # A listed image that is missing stays in the list, so that its reader can name it.
    return [Path(place) / name for name in names], (what,) if lost else ()


LAYOUT = Layout("coco", "COCO (annotations/instances_*.json and image folders)", _recognised, _evaluated)
