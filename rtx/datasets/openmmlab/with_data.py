"""`with_data`: a config pointed at another data folder, adapted to what lies there."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.layouts import layout_of
from rtx.datasets.openmmlab import ade, annotated, cityscapes, coco, target, voc
from rtx.datasets.openmmlab.nodes import ConfigLayout, split_data_sets, type_name
from rtx.errors import DataError

log = logging.getLogger(__name__)

ROWS: tuple[ConfigLayout, ...] = (
    coco.ROW,
    annotated.YOLO,
    annotated.CITYSCAPES,
    voc.ROW,
    ade.ROW,
    cityscapes.ROW,
    target.ROW,
)
"""One line for a new layout."""
FAMILIES = {kind: row for row in ROWS for kind in row.types}
"""Data set class -> its row."""


def row_of(node: Any) -> ConfigLayout | None:
    """The row of a data set config; None where rtx does not know it."""
    name = type_name(node)
    # mmdet has a class of the same name as mmseg's, which reads converted annotation files.
    return None if name == "CityscapesDataset" and "ann_file" in node else FAMILIES.get(name)


def with_data(cfg: Config, data_root: str | Path) -> Config:
    """Point every data set and evaluator of a config at another folder and fit the config to what lies there.

    Class names, the heads' numbers of classes, split and folder names follow the data; each adaptation is logged and
    kept in `rtx_data.notes` of the new config. No file outside `data_root` is read.

    Args:
        cfg: a loaded config with data sets in the layout of COCO, YOLO, Cityscapes, VOC or ADE20K; it is not changed.
        data_root: absolute, or relative to the current directory.

    Returns:
        A new config with `rtx_data = dict(root=..., layout=..., notes=[...])`.

    Raises:
        DataError: no such folder, no data set that rtx knows in the config, a layout of another task, or data that
            contradict themselves.
    """
    root = Path(data_root).expanduser()
    if not root.is_dir():
        raise DataError(f"data folder {str(root)!r} does not exist (looked for {root.absolute()}); give --data-root")
    nodes = split_data_sets(cfg, "val") + split_data_sets(cfg, "train")
    if not nodes:
        raise DataError("the config has no train, val or test data set; there is nothing to point at a data folder")
    row = row_of(nodes[0])
    if row is None:
        raise DataError(
            f"the config reads a {type_name(nodes[0]) or 'data set without a type'}; "
            f"rtx/datasets/openmmlab/with_data.py knows {', '.join(FAMILIES)}"
        )
    there = layout_of(root)
    if there is not None and there != row.layout.name:
        other = next((each for each in ROWS if each.layout.name == there and each.task == row.task), None)
        if other is None:
            form = next(each.layout.form for each in ROWS if each.layout.name == there)
            raise DataError(
                f"data folder {str(root)!r} has the layout {form}, but the config reads {row.layout.form}; "
                "choose a config of the same kind as the data, or another --data-root"
            )
        row = other
    out: Config = copy.deepcopy(cfg)
    notes = row.adapt(out, root)
    for note in notes:
        log.info("data %s: %s", root, note)
    out.data_root = str(root)
    if "data" in out.get("labels", {}) and any("classes from" in note for note in notes):
        del out.labels["data"]  # other classes than the leaf's: not the data set that it names
    out.rtx_data = dict(root=str(root), layout=row.layout.name, notes=notes)
    return out
