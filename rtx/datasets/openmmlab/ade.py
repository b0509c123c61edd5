"""ADE20K layout in a config: splits, classes, and label maps that are numbered in their own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.ade import (
    IGNORED,
    LAYOUT,
    MAPS_READ,
    SPLIT_NAMES,
    LabelTable,
    find_home,
    image_suffix,
    label_rule,
    labels_in,
    map_name,
    read_table,
    settle,
    split_folder,
    void_for_class,
)
from rtx.datasets.openmmlab.nodes import (
    ConfigLayout,
    Findings,
    add_import,
    fit_heads,
    palette,
    put_data_sets,
    root_of,
    type_name,
    walk,
)
from rtx.errors import DataError, some


def adapt_ade(cfg: Config, root: Path) -> list[str]:
    """Point a config at an ADE20K-style folder; return one note for each adaptation.

    Args:
        cfg: changed in place.
        root: has `images/{training,validation}` and `annotations/{training,validation}`, and `classes.json` unless
            the labels are ADE20K's 150.
    """
    home = find_home(root)
    notes = [] if home == root else [f"data in {home}"]
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
    set_reduce_zero_label(cfg, value=changes["reduce_zero_label"])
    return notes + fit_heads(cfg, n_classes)


def set_reduce_zero_label(cfg: Config, *, value: bool) -> None:
    """Have the label loaders of a config say what its data set says, which mmseg demands."""
    for node in walk(cfg._cfg_dict):
        if str(node.get("type", "")).endswith("LoadAnnotations") and "reduce_zero_label" in node:
            node["reduce_zero_label"] = value


def _class_changes(table: LabelTable) -> tuple[dict[str, Any], list[str]]:
    n_classes = len(table.names)
    colours = [list(c) for c in table.colours] if table.colours else palette(n_classes)
    meta = dict(classes=table.names, palette=colours)
    shown = ", ".join(table.names[:10]) + (", ..." if n_classes > 10 else "")
    notes = [f"{n_classes} classes from classes.json: {shown}"]
    rule = label_rule(table)
    if not rule.pairs:
        what = "label 0 is unlabelled" if rule.reduce else "labels count from 0"
        notes.append(f"{what} (reduce_zero_label={rule.reduce})")
        return dict(type="BaseSegDataset", metainfo=meta, label_map=None, reduce_zero_label=rule.reduce), notes
    void = ", ".join(map(str, table.void)) or "none"
    notes.append(f"labels are mapped by a table (void in the label maps: {void}; ignored from then on)")
    pairs = [list(pair) for pair in rule.pairs]
    return dict(type="MappedSegDataset", metainfo=meta, label_map=pairs, reduce_zero_label=False), notes


def check_ade(node: Any, split: str, found: Findings) -> None:
    """Look for images without label maps, and numbers that are no class: they would crash the loss or pass for one."""
    root = root_of(node)
    prefix = node.get("data_prefix") or {}
    images, labels = root / prefix.get("img_path", ""), root / prefix.get("seg_map_path", "")
    found.absent = [str(p.relative_to(root)) for p in (images, labels) if not p.is_dir()]
    if found.absent:
        return
    suffix, label_suffix = node.get("img_suffix", ".jpg"), node.get("seg_map_suffix", ".png")
    found.images = sorted(images.rglob(f"*{suffix}"))
    if not found.images:
        raise DataError(f"{images} has no *{suffix} image; give another --data-root")
    maps = [labels / map_name(path.relative_to(images), suffix, label_suffix) for path in found.images]
    lost = [path for path in maps if not path.is_file()]
    if lost:
        raise DataError(f"{len(lost)} of {len(maps)} label maps are missing: {some(lost)}")
    found.classes = (node.get("metainfo") or {}).get("classes") or ()
    n_classes = len(found.classes) or 150
    found.sizes = dict(zip(found.images, maps, strict=True))
    mapped = {int(old) for old, _ in node.get("label_map") or ()}
    reduce = node.get("reduce_zero_label", type_name(node) == "ADE20KDataset")
    highest = n_classes if reduce else n_classes - 1
    used = labels_in(maps)
    for value in sorted(set(used) - mapped - {IGNORED}):
        if value > highest:
            raise DataError(
                f"label map {used[value][1]} has the number {value}, but the config has {n_classes} classes (up to "
                f"{highest}); say in classes.json what it means, or choose another --data-root"
            )
    no_class = {0} if reduce else {int(old) for old, new in node.get("label_map") or () if new == IGNORED}
    if set(used) <= {IGNORED, *no_class}:
        found.nothing_labelled(f"{labels}: its label maps", split)
    if warning := void_for_class(used, n_classes, no_class):
        found.warnings.append(warning)
    elif len(maps) <= MAPS_READ and found.classes:  # of more, some were read, and a class may be in another
        index = {int(old): int(new) for old, new in node.get("label_map") or ()}
        there = {index.get(value, value - reduce) for value in used}
        found.no_object_of([n for k, n in enumerate(found.classes) if k not in there], n_classes, split)


ROW = ConfigLayout(
    LAYOUT,
    types=("ADE20KDataset", "BaseSegDataset", "MappedSegDataset"),
    task="segmentation",
    adapt=adapt_ade,
    check=check_ade,
    wanted="ADEChallengeData2016 (http://sceneparsing.csail.mit.edu)",
)
