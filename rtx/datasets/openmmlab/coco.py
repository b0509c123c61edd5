"""COCO layout: annotation files by split, image folders, and category names that become the heads' classes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.openmmlab.nodes import evaluators, palette, put_data_sets, set_num_classes
from rtx.errors import DataError

SPLIT_NAMES = {"train": ("train2017", "train"), "val": ("val2017", "val")}
FILE_NAME = re.compile(r'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


def adapt_coco(cfg: Config, root: Path) -> list[str]:
    """Point a config at a COCO folder; return one note for each adaptation.

    Args:
        cfg: changed in place.
        root: has `annotations/instances_{train,val}2017.json` or `instances_{train,val}.json`.
    """
    notes: list[str] = []
    names: dict[str, tuple[str, ...]] = {}
    for split, candidates in SPLIT_NAMES.items():
        files = [f"annotations/instances_{name}.json" for name in candidates]
        found = next((n for n, file in enumerate(files) if (root / file).is_file()), None)
        if found is None:
            notes.append(f"no {' or '.join(files)}: the {split} split cannot be used")
        elif found:
            notes.append(f"{split} split from {files[found]}")
        file = files[found or 0]
        folder = candidates[found or 0]
        if found is not None:
            names[split] = category_names(root / file)
            folder = image_folder(root, file, folder)
            if folder != candidates[found]:
                notes.append(f"{split} images from {folder or '.'}")
        put_data_sets(cfg, split, [dict(data_root=str(root), ann_file=file, data_prefix=dict(img=f"{folder}/"))])
        if split == "val":
            for node in evaluators(cfg):
                if "ann_file" in node:
                    node["ann_file"] = str(root / file)
    if not names:
        looked = [f"annotations/instances_{name}.json" for pair in SPLIT_NAMES.values() for name in pair]
        raise DataError(
            f"data folder {str(root)!r} has none of {', '.join(looked)}; put the annotation files there, or give "
            "another --data-root"
        )
    if len(set(names.values())) > 1:
        differ = sorted(set(names["train"]) ^ set(names["val"])) or ["the same names in another order"]
        raise DataError(
            f"{root}: the train and val annotation files list different categories ({', '.join(differ[:5])}); "
            "labels would not mean the same in both"
        )
    return notes + fit_classes(cfg, next(iter(names.values())))


def fit_classes(cfg: Config, classes: tuple[str, ...]) -> list[str]:
    """Give the data sets and heads of a detection config these classes; return what changed."""
    from mmdet.datasets import CocoDataset

    if classes == tuple(CocoDataset.METAINFO["classes"]):
        meta = None  # what the data set class has by itself
    else:
        meta = dict(classes=classes, palette=palette(len(classes)))
    for split in ("train", "val"):
        put_data_sets(cfg, split, [dict(metainfo=meta)])
    heads = set_num_classes(cfg.get("model"), len(classes))
    notes = []
    if meta is not None:
        shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        notes.append(f"{len(classes)} classes from the annotation file: {shown}")
    if heads:
        notes.append(f"num_classes={len(classes)} in {', '.join(heads)}")
    return notes


def category_names(path: Path) -> tuple[str, ...]:
    """Return the category names in the order of the file, which is the order in which mmdet numbers them.

    Raises:
        DataError: the file is no COCO annotation file, or a name occurs twice.
    """
    rows = load_part(path, "categories")
    try:
        names = tuple(str(row["name"]) for row in rows)
        ids = [int(row["id"]) for row in rows]
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: a category lacks `id` or `name`; this is no COCO annotation file") from error
    if not names:
        raise DataError(f"{path}: the list of categories is empty; there is nothing to detect")
    if len(set(names)) != len(names) or len(set(ids)) != len(ids):
        raise DataError(f"{path}: a category name or id occurs twice; give each its own")
    return names


def load_part(path: Path, key: str) -> list[Any]:
    """Return one top-level list of a JSON file, parsing no more than it if it can be found at once.

    COCO's training annotations are 450 MB; its categories are the last kilobytes.

    Raises:
        DataError: the file is no JSON object with that list.
    """
    text = read_text(path)
    start = text.rfind(f'"{key}"')
    colon = text.find(":", start)
    if start >= 0 and colon >= 0:
        try:
            value, _ = json.JSONDecoder().raw_decode(text, len(text) - len(text[colon + 1 :].lstrip()))
            if isinstance(value, list):
                return value
        except ValueError:
            pass  # the key stands elsewhere too, or the file is broken: the full parse decides
    value = load_json(path).get(key)
    if not isinstance(value, list):
        raise DataError(f"{path}: there is no list {key!r}; this is no COCO annotation file")
    return value


def read_text(path: Path) -> str:
    """Return a text file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); copy the file again") from error


def load_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        DataError: the file cannot be read or holds something else.
    """
    text = read_text(path)
    try:
        value = json.loads(text)
    except ValueError as error:
        place = "the file is empty" if not text.strip() else str(error)
        raise DataError(f"{path} is no JSON ({place}); copy the file again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__}, not a JSON object; this is no COCO annotation file")
    return value


def image_folder(root: Path, ann_file: str, split: str) -> str:
    """Return the folder, relative to `root`, that holds the first image of an annotation file.

    The folder named like the split where none does, so that the check can say what is missing.
    """
    first = FILE_NAME.search(read_text(root / ann_file))
    if first is None:
        return split
    name = json.loads(first.group(1))
    other = split.removesuffix("2017") if split.endswith("2017") else f"{split}2017"
    for folder in (split, other, f"images/{split}", f"images/{other}", "images", "."):
        if (root / folder / name).is_file():
            return folder
    return split
