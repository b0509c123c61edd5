"""ADE20K layout: images and label maps by split, and a `classes.json` that says what the numbers mean."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image

from rtx.datasets.openmmlab.nodes import add_import, palette, put_data_sets, set_num_classes
from rtx.errors import DataError

SPLIT_NAMES = {"train": ("training", "train"), "val": ("validation", "val")}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp", ".tif", ".tiff")
IGNORED = 255
VOID_KEYS = ("ignore", "ignore_index", "ignore_label", "void")
LABEL_KEYS = ("label", "id", "index", "trainId", "train_id")


@dataclass(frozen=True)
class LabelTable:
    """What the numbers in label maps mean.

    Attributes:
        names: class names.
        labels: the number of each class in the label maps, None where the file does not say.
        void: numbers that mean "no class"; 255 always does.
        reduce: whether the file says that 0 is unlabelled and classes count from 1; None where it does not say.
        colours: one RGB for each class, or None.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...] | None
    void: tuple[int, ...] = ()
    reduce: bool | None = None
    colours: tuple[tuple[int, ...], ...] | None = None


def adapt_ade(cfg: Config, root: Path) -> list[str]:
    """Point a config at an ADE20K-style folder; return one note for each adaptation.

    Args:
        cfg: changed in place.
        root: has `images/{training,validation}` and `annotations/{training,validation}`, and `classes.json` unless
            the labels are ADE20K's 150.
    """
    notes: list[str] = []
    home = root
    if not (root / "images").is_dir() and (root / "ADEChallengeData2016" / "images").is_dir():
        home = root / "ADEChallengeData2016"
        notes.append(f"data in {home}")
    folders = {split: split_folder(home, split) for split in SPLIT_NAMES}
    if not any((home / "images" / folder).is_dir() for folder in folders.values()):
        raise DataError(f"{home}: there is neither images/training nor images/validation; give another --data-root")
    for split, folder in folders.items():
        if not (home / "images" / folder).is_dir():
            notes.append(f"no images/{folder}: the {split} split cannot be used")
        elif folder != SPLIT_NAMES[split][0]:
            notes.append(f"{split} split from images/{folder} and annotations/{folder}")
    suffixes = {folder: image_suffix(home / "images" / folder) for folder in folders.values()}
    changes: dict[str, Any] = dict(type="ADE20KDataset", label_map=None, metainfo=None, reduce_zero_label=True)
    if (home / "classes.json").is_file():
        table = settle(read_table(home / "classes.json"), home, folders.values())
        changes, more = _class_changes(table)
        notes += more
        if changes["type"] == "MappedSegDataset":
            add_import(cfg, "rtx.datasets.openmmlab.mapped_labels")
        n_classes = len(table.names)
    else:
        n_classes = 150
        notes.append("no classes.json: the labels are taken as ADE20K's 150")
    for split, folder in folders.items():
        prefix = dict(img_path=f"images/{folder}", seg_map_path=f"annotations/{folder}")
        suffix = suffixes[folder]
        put_data_sets(
            cfg,
            split,
            [dict(changes, data_root=str(home), data_prefix=prefix, img_suffix=suffix, seg_map_suffix=".png")],
        )
        if suffix != ".jpg":
            notes.append(f"{split} images end with {suffix}")
    set_reduce(cfg._cfg_dict, changes["reduce_zero_label"])
    heads = set_num_classes(cfg.get("model"), n_classes)
    if heads:
        notes.append(f"num_classes={n_classes} in {', '.join(heads)}")
    return notes


def _class_changes(table: LabelTable) -> tuple[dict[str, Any], list[str]]:
    assert table.labels is not None and table.reduce is not None
    n_classes = len(table.names)
    colours = [list(c) for c in table.colours] if table.colours else palette(n_classes)
    meta = dict(classes=table.names, palette=colours)
    shown = ", ".join(table.names[:10]) + (", ..." if n_classes > 10 else "")
    notes = [f"{n_classes} classes from classes.json: {shown}"]
    first = 1 if table.reduce else 0
    plain = table.labels == tuple(range(first, n_classes + first))
    if plain and table.reduce and set(table.void) <= {0, IGNORED}:
        notes.append("label 0 is unlabelled (reduce_zero_label=True)")
        return dict(type="BaseSegDataset", metainfo=meta, label_map=None, reduce_zero_label=True), notes
    if plain and not table.reduce and set(table.void) <= {IGNORED}:
        notes.append("labels count from 0 (reduce_zero_label=False)")
        return dict(type="BaseSegDataset", metainfo=meta, label_map=None, reduce_zero_label=False), notes
    pairs = [[label, index] for index, label in enumerate(table.labels) if label != index]
    if plain:
        others = sorted(set(table.void) | ({0} if table.reduce else set()))
    else:  # with gaps, a number that is no class could pass for one after the mapping
        others = [label for label in range(IGNORED) if label not in table.labels]
    pairs += [[label, IGNORED] for label in others if label not in table.labels and label != IGNORED]
    void = ", ".join(map(str, table.void)) or "none"
    notes.append(f"labels are mapped by a table (void in the label maps: {void}; ignored from then on)")
    return dict(type="MappedSegDataset", metainfo=meta, label_map=pairs, reduce_zero_label=False), notes


def split_folder(home: Path, split: str) -> str:
    """Return the name of a split's folder under images/, the usual one where there is none."""
    names = SPLIT_NAMES[split]
    return next((name for name in names if (home / "images" / name).is_dir()), names[0])


def image_suffix(folder: Path) -> str:
    """Return the one suffix of the images in a folder, `.jpg` for an empty or missing folder.

    Raises:
        DataError: the images have different suffixes, of which mmseg reads only one.
    """
    found = Counter(path.suffix for path in folder.glob("*") if path.suffix in IMAGE_SUFFIXES)
    if len(found) > 1:
        counts = ", ".join(f"{n} x {suffix}" for suffix, n in found.most_common())
        raise DataError(
            f"{folder}: images have different suffixes ({counts}); convert them to one, mmseg reads only one"
        )
    return next(iter(found), ".jpg")


def read_table(path: Path) -> LabelTable:
    """Read a `classes.json`.

    Accepted: a list of names; a list of objects with `name` and a number (`label`, `id`, `index` or `trainId`);
    an object {number: name} or {name: number}; or any of these under `classes`, beside `ignore` / `ignore_index` /
    `void` (a number, a list of numbers, or a text that starts with one, as "11 = void") and `reduce_zero_label`.

    Raises:
        DataError: the file has another shape, or a name or number twice.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); it should list the class names") from error
    head: dict[str, Any] = value if isinstance(value, dict) and "classes" in value else {}
    rows = head.get("classes", value)
    try:
        names, labels, colours = _rows(rows)
        void = tuple(sorted({n for key in VOID_KEYS if key in head for n in _numbers(head[key])}))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a form that rtx knows ({error}); write a list of {{label, name}} objects"
        ) from error
    if not names or len(set(names)) != len(names) or (labels is not None and len(set(labels)) != len(labels)):
        raise DataError(f"{path}: no classes, or a name or label twice; give each class its own")
    if labels is not None and not all(0 <= label < IGNORED for label in labels):
        raise DataError(f"{path}: labels must lie in 0..254 (255 is void), but one is {max(labels, key=abs)}")
    if labels is not None and (both := set(labels) & set(void)):
        raise DataError(f"{path}: label {min(both)} is both a class and void")
    reduce = head.get("reduce_zero_label")
    return LabelTable(names, labels, void, None if reduce is None else bool(reduce), colours)


def _rows(rows: Any) -> tuple[tuple[str, ...], tuple[int, ...] | None, tuple[tuple[int, ...], ...] | None]:
    if isinstance(rows, dict):
        pairs = [(int(k), str(v)) if str(k).lstrip("-").isdigit() else (int(v), str(k)) for k, v in rows.items()]
        pairs.sort()
        return tuple(name for _, name in pairs), tuple(label for label, _ in pairs), None
    if not isinstance(rows, list):
        raise TypeError(f"it holds a {type(rows).__name__}")
    if all(isinstance(row, str) for row in rows):
        return tuple(rows), None, None
    names = tuple(str(row["name"]) for row in rows)
    key = next((key for key in LABEL_KEYS if all(key in row for row in rows)), None)
    labels = None if key is None else tuple(int(row[key]) for row in rows)
    colours = None
    if all(len(row.get("color") or ()) == 3 for row in rows):
        colours = tuple(tuple(int(part) for part in row["color"]) for row in rows)
    if labels is not None:
        numbers = labels
        order = sorted(range(len(rows)), key=numbers.__getitem__)
        names, labels = tuple(names[n] for n in order), tuple(numbers[n] for n in order)
        colours = tuple(colours[n] for n in order) if colours else None
    return names, labels, colours


def _numbers(value: Any) -> list[int]:
    if isinstance(value, (list, tuple)):
        return [n for part in value for n in _numbers(part)]
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        return [value]
    found = re.match(r"\s*(\d+)", str(value))
    if found is None:
        raise ValueError(f"{value!r} does not start with a number")
    return [int(found.group(1))]


def settle(table: LabelTable, home: Path, folders: Any) -> LabelTable:
    """Fill in what `classes.json` leaves open: whether classes count from 0 or from 1.

    With numbers given, they decide. With names alone, the label maps must: a largest label of n says 1..n.

    Raises:
        DataError: the label maps leave it open, or contradict the file.
    """
    n_classes = len(table.names)
    place = home / "classes.json"
    if table.labels is not None:
        from_one = 0 not in table.labels
        if table.reduce is not None and table.reduce != from_one:
            raise DataError(f"{place}: reduce_zero_label={table.reduce} contradicts its labels, which start at "
                            f"{min(table.labels)}")  # fmt: skip
        return LabelTable(table.names, table.labels, table.void, from_one, table.colours)
    reduce = table.reduce
    if reduce is None and table.void:
        reduce = 0 in table.void
    if reduce is None:
        largest = max((n for folder in folders for n in _largest(home / "annotations" / folder)), default=-1)
        if largest != n_classes:
            raise DataError(
                f"{place} names {n_classes} classes without numbers and the largest label is {largest}: that leaves "
                'open whether classes count from 0 or 1; write {"reduce_zero_label": true or false, "classes": [...]}'
            )
        reduce = True
    first = 1 if reduce else 0
    return LabelTable(table.names, tuple(range(first, n_classes + first)), table.void, reduce, table.colours)


def _largest(folder: Path) -> list[int]:
    found = []
    for path in sorted(folder.glob("*.png")):
        labels = np.asarray(Image.open(path))
        labels = labels[labels != IGNORED]
        if labels.size:
            found.append(int(labels.max()))
    return found


def set_reduce(node: Any, value: bool) -> None:
    """Set `reduce_zero_label` of every label loader; mmseg demands that it equals the data set's."""
    if isinstance(node, dict):
        if str(node.get("type", "")).endswith("LoadAnnotations") and "reduce_zero_label" in node:
            node["reduce_zero_label"] = value
        for part in node.values():
            set_reduce(part, value)
    elif isinstance(node, (list, tuple)):
        for part in node:
            set_reduce(part, value)
