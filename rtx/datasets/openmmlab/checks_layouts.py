"""What to look for in each layout: files that must be there, and labels that would spoil a run without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rtx.datasets.openmmlab.coco import load_json
from rtx.datasets.openmmlab.nodes import type_name
from rtx.datasets.openmmlab.voc import VocObject, read_objects, read_stems, voc_names
from rtx.errors import DataError

SHOWN = 3
LABEL_MAPS_READ = 50
COUNTED = "they stay in the ground truth as objects that can hardly be found, as the stock scorers have it"


@dataclass
class Findings:
    """What a check of one data set found.

    Attributes:
        absent: files and folders that are not there, relative to the data root.
        problems: what ends the run.
        warnings: what is logged.
        images: the image files, to be looked at next.
    """

    absent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)


def root_of(node: Any) -> Path:
    """Return the data root of a data set config."""
    return Path(node.get("data_root") or ".")


def _check_coco(node: Any, split: str) -> Findings:
    found = Findings()
    root = root_of(node)
    path = root / node["ann_file"]
    folder = root / (node.get("data_prefix") or {}).get("img", "")
    found.absent = [str(p.relative_to(root)) for p in (path, folder) if not p.exists()]
    if not path.is_file():
        return found
    try:
        table = load_json(path)
    except DataError as error:
        found.problems.append(str(error))
        return found
    absent = [key for key in ("images", "annotations", "categories") if not isinstance(table.get(key), list)]
    if absent:
        found.problems.append(f"{path} has no list {', '.join(absent)}; this is no COCO annotation file")
        return found
    if not table["images"]:
        found.problems.append(f"{path} lists no image; copy the file again or choose another --data-root")
        return found
    _coco_objects(found, table, path, node, split)
    if folder.is_dir():
        found.images = [folder / str(row["file_name"]) for row in table["images"]]
    return found


def _coco_objects(found: Findings, table: dict[str, Any], path: Path, node: Any, split: str) -> None:
    objects = table["annotations"]
    if not objects:
        _nothing_labelled(found, str(path), split)
        return
    known = {row["id"] for row in table["images"]}
    lost = [row for row in objects if row.get("image_id") not in known]
    if lost:
        found.problems.append(
            f"{path}: {len(lost)} annotations belong to no image of the file, such as id {lost[0].get('id')}"
        )
    names = [str(row.get("name")) for row in table["categories"]]
    classes = (node.get("metainfo") or {}).get("classes") or _coco_names()
    if not set(names) & set(classes):
        found.problems.append(
            f"{path} has the categories {', '.join(names[:5])}, none of which the config knows ({len(classes)} classes "
            f"from {classes[0]!r}); give the folder as --data-root, which takes the classes from the file"
        )
    files = {row["id"]: str(row["file_name"]) for row in table["images"]}
    empty = [row for row in objects if min(row["bbox"][2:]) <= 0 or row.get("area", 1) <= 0]
    if empty:
        found.warnings.append(
            f"{path}: {len(empty)} boxes have no area ({listing(files.get(r['image_id'], '?') for r in empty)}); "
            + ("they are left out" if split == "train" else COUNTED)
        )


def _coco_names() -> tuple[str, ...]:
    from mmdet.datasets import CocoDataset

    return tuple(CocoDataset.METAINFO["classes"])


def _nothing_labelled(found: Findings, where: str, split: str) -> None:
    if split == "train":
        found.problems.append(f"{where} has no object; there is nothing to learn")
    else:
        found.warnings.append(f"{where} has no object; every score will be undefined")


def _check_voc(node: Any, split: str) -> Findings:
    found = Findings()
    root = root_of(node)
    home = root / (node.get("data_prefix") or {}).get("sub_data_root", "")
    split_file = root / node["ann_file"]
    if not split_file.is_file():
        found.absent.append(node["ann_file"])
        return found
    stems = read_stems(split_file)
    if not stems:
        found.problems.append(f"{split_file} lists no image; copy the file again or choose another --data-root")
        return found
    labels = [home / "Annotations" / f"{stem}.xml" for stem in stems]
    lost = [path for path in labels if not path.is_file()]
    if lost:
        found.problems.append(f"{len(lost)} of {len(labels)} annotation files are missing: {listing(lost)}")
    found.images = [home / "JPEGImages" / f"{stem}.jpg" for stem in stems]
    there = [path for path in labels if path.is_file()]
    try:
        with ThreadPoolExecutor(8) as pool:
            objects = list(zip(there, pool.map(read_objects, there), strict=True))
    except DataError as error:
        found.problems.append(str(error))
        return found
    names = {item.name for _, items in objects for item in items}
    if not names:
        _nothing_labelled(found, f"{split_file}: its images' labels", split)
    else:
        _voc_names_and_boxes(found, objects, names, node, split)
    return found


def _voc_names_and_boxes(
    found: Findings, objects: list[tuple[Path, list[VocObject]]], names: set[str], node: Any, split: str
) -> None:
    classes = (node.get("metainfo") or {}).get("classes") or voc_names()
    strange = sorted(names - set(classes))
    if len(strange) == len(names):
        found.problems.append(
            f"the labels are {', '.join(strange[:5])}, none of which the config knows ({len(classes)} classes from "
            f"{classes[0]!r}); give the folder as --data-root, which takes the classes from the files"
        )
    elif strange:
        found.warnings.append(f"objects of {', '.join(strange[:5])} are left out: the config has no such class")
    empty = [path.stem for path, items in objects for item in items if item.empty]
    if empty:
        found.warnings.append(
            f"{len(empty)} boxes have no area ({listing(empty)}); "
            + ("they are ignored, as all under bbox_min_size" if split == "train" else COUNTED)
        )


def _check_ade(node: Any, split: str) -> Findings:
    found = Findings()
    root = root_of(node)
    prefix = node.get("data_prefix") or {}
    images, labels = root / prefix.get("img_path", ""), root / prefix.get("seg_map_path", "")
    found.absent = [str(p.relative_to(root)) for p in (images, labels) if not p.is_dir()]
    if found.absent:
        return found
    suffix, label_suffix = node.get("img_suffix", ".jpg"), node.get("seg_map_suffix", ".png")
    found.images = sorted(images.rglob(f"*{suffix}"))
    if not found.images:
        found.problems.append(f"{images} has no *{suffix} image; give another --data-root")
        return found
    maps = [labels / path.relative_to(images).with_suffix(label_suffix) for path in found.images]
    lost = [path for path in maps if not path.is_file()]
    if lost:
        found.problems.append(f"{len(lost)} of {len(maps)} label maps are missing: {listing(lost)}")
    else:
        _ade_labels(found, maps, node, split)
    return found


def _ade_labels(found: Findings, maps: list[Path], node: Any, split: str) -> None:
    """Read some label maps: numbers that are no class would crash the loss or pass for another class."""
    classes = (node.get("metainfo") or {}).get("classes")
    n_classes = 150 if classes is None else len(classes)
    mapped = {int(old) for old, _ in node.get("label_map") or ()}
    highest = n_classes if node.get("reduce_zero_label", type_name(node) == "ADE20KDataset") else n_classes - 1
    used: set[int] = set()
    for path in spread(maps, LABEL_MAPS_READ):
        try:
            labels = np.asarray(Image.open(path))
        except (OSError, SyntaxError, ValueError) as error:
            found.problems.append(f"label map {path} cannot be read ({error}); copy the file again")
            return
        if labels.ndim != 2:
            found.problems.append(
                f"label map {path} has {labels.shape[-1]} channels; it should hold one class number a pixel"
            )
            return
        values = set(np.unique(labels).tolist())
        used |= values
        strange = sorted(v for v in values - mapped - {255} if v > highest)
        if strange:
            found.problems.append(
                f"label map {path} has the number {strange[0]}, but the config has {n_classes} classes (up to "
                f"{highest}); say in classes.json what it means, or choose another --data-root"
            )
            return
    if used <= ({0, 255} if highest == n_classes else {255}):
        _nothing_labelled(found, f"{maps[0].parent}: its label maps", split)


CHECKS: dict[str, Callable[[Any, str], Findings]] = {"coco": _check_coco, "voc": _check_voc, "ade": _check_ade}


def spread(items: Sequence[Path], n: int) -> list[Path]:
    """Take at most `n` items, evenly spread, the first included."""
    if len(items) <= n:
        return list(items)
    return [items[k * len(items) // n] for k in range(n)]


def listing(items: Iterable[object]) -> str:
    """Show the first few items and how many more there are."""
    rows = [str(item) for item in items]
    more = len(rows) - SHOWN
    return ", ".join(rows[:SHOWN]) + (f" and {more} more" if more > 0 else "")
