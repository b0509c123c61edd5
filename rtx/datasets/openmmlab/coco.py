"""COCO layout in a config: annotation files by split, image folders, and category names that become the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.coco import LAYOUT, SPLIT_NAMES, find_file, image_folder, read_names
from rtx.datasets.openmmlab.nodes import (
    ConfigLayout,
    Findings,
    evaluators,
    fit_heads,
    palette,
    put_data_sets,
    root_of,
    type_name,
)
from rtx.errors import DataError, some
from rtx.metrics.coco_file import MMDET, Tables, check_names, read_tables, repeated, unmatched
from rtx.metrics.coco_truth import label_ids

METRICS = ("CocoMetric", "FolderCocoMetric")
"""Evaluators of annotation files, and of folders without one: see `rtx.datasets.openmmlab.annotated`."""


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
        found = find_file(root, candidates)
        name, file = found or (candidates[0], files[0])
        folder = name
        if found is None:
            notes.append(f"no {' or '.join(files)}: the {split} split cannot be used")
        else:
            if name != candidates[0]:
                notes.append(f"{split} split from {file}")
            listed, names[split] = read_names(root / file)
            folder = image_folder(root, listed, name) or name
            if folder != name:
                notes.append(f"{split} images from {folder}")
        where = dict(data_root=str(root), ann_file=file, data_prefix=dict(img=f"{folder}/"))
        put_data_sets(cfg, split, [dict(where, type="CocoDataset", split=None)])
        if split == "val":
            set_truth(cfg, ann_file=str(root / file))
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
    return notes + fit_classes(cfg, next(iter(names.values())), "the annotation file")


def set_truth(cfg: Config, **where: Any) -> None:
    """Have the COCO evaluators of a config read their ground truth there: an `ann_file`, or a folder of a layout."""
    for node in evaluators(cfg):
        if type_name(node) == METRICS[1]:
            for key in ("layout", "data_root", "split"):
                node.pop(key, None)
            node.update(type=METRICS[0], ann_file="")
        if "ann_file" in where:
            node.update(where if "ann_file" in node else {})
        elif type_name(node) == METRICS[0]:
            node.pop("ann_file", None)
            node.update(type=METRICS[1], **where)


def fit_classes(cfg: Config, classes: tuple[str, ...], place: str) -> list[str]:
    """Give the data sets and heads of a detection config these classes; return what changed."""
    # What the data set class has by itself needs no metainfo.
    meta = None if classes == _coco_names() else dict(classes=classes, palette=palette(len(classes)))
    for split in ("train", "val"):
        put_data_sets(cfg, split, [dict(metainfo=meta)])
    notes = []
    if meta is not None:
        shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
        notes.append(f"{len(classes)} classes from {place}: {shown}")
    return notes + fit_heads(cfg, len(classes))


def _coco_names() -> tuple[str, ...]:
    from mmdet.datasets import CocoDataset

    return tuple(CocoDataset.METAINFO["classes"])


def check_coco(node: Any, split: str, found: Findings) -> None:
    """Look for what mmdet's reader cannot use, or would leave out without a word.

    `tables` of the node is what was read of the file already.
    """
    root = root_of(node)
    path = root / node["ann_file"]
    folder = root / (node.get("data_prefix") or {}).get("img", "")
    found.absent = [str(p.relative_to(root)) for p in (path, folder) if not p.exists()]
    if not path.exists():
        return
    tables = node.get("tables") or read_tables(path, need=(*MMDET, "segmentation") if loads_masks(node) else MMDET)
    check_rows(tables, str(path), folder, node, split, found)


def loads_masks(node: Any) -> bool:
    """Whether the pipeline of a data set asks for masks."""
    return any(isinstance(step, dict) and step.get("with_mask") for step in node.get("pipeline") or ())


def check_rows(tables: Tables, path: str, folder: Path, node: Any, split: str, found: Findings) -> None:
    """The same for what was read: `path` is what messages call it, `folder` is where the file names start."""
    files = {row["id"]: row["file_name"] for row in tables["images"]}
    if not files:
        raise DataError(f"{path} lists no image; copy the file again or choose another --data-root")
    if folder.is_dir():
        found.images = [folder / name for name in files.values()]
        found.sizes = {folder / row["file_name"]: (row["height"], row["width"]) for row in tables["images"]}
    check_names(tables["images"], path)
    if not tables["annotations"]:
        found.nothing_labelled(path, split)
        return
    categories = {row["id"]: row["name"] for row in tables["categories"]}
    stated = (node.get("metainfo") or {}).get("classes")
    classes = stated or _coco_names()
    found.classes = [name for name in categories.values() if name in classes]  # as mmdet numbers them
    if not set(categories.values()) & set(classes):
        raise DataError(
            f"{path} has the categories {', '.join(list(categories.values())[:5])}, none of which the config knows "
            f"({len(classes)} classes from {classes[0]!r}); give the folder as --data-root, which takes the classes "
            "from the file"
        )
    empty = [row for row in tables["annotations"] if min(row["bbox"][2:]) <= 0 or row["area"] <= 0]
    found.no_area([files.get(row["image_id"], "?") for row in empty], split, "they are left out")
    for field in ("image_id", "category_id"):
        if lost := unmatched(tables, field, path):
            ids = some(f"id {row['id']} ({row[field]!r})" for row in lost)
            found.warnings.append(
                f"{path}: the {field} of {len(lost)} annotations is not in the file, such as {ids}; they do not count"
            )
    used = {categories.get(row["category_id"]) for row in tables["annotations"]}
    found.no_object_of([name for name in stated or () if name not in used], len(classes), split)
    if twice := repeated(tables):
        found.warnings.append(twice)
    # mmdet numbers the labels through the classes that it finds: all after a missing one would be wrong.
    label_ids(categories, classes, path)


ROW = ConfigLayout(
    LAYOUT,
    types=("CocoDataset",),
    task="detection",
    adapt=adapt_coco,
    check=check_coco,
    wanted="COCO 2017 (https://cocodataset.org/#download)",
)
