"""YOLO and Cityscapes layouts in a detection config: data sets and evaluators that read the folder itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets import cityscapes, yolo
from rtx.datasets.annotated import read_annotated
from rtx.datasets.openmmlab.coco import check_rows, fit_classes, loads_masks, set_truth
from rtx.datasets.openmmlab.nodes import ConfigLayout, Findings, add_import, put_data_sets, root_of, type_name
from rtx.errors import DataError, some

DATASETS = {"yolo": "YoloDataset", "cityscapes": "CityscapesInstances"}
"""Layout -> the data set class of `rtx.datasets.openmmlab.folder_coco` that reads it."""
_PLACES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "yolo": (lambda root: list(yolo.read_folder(root).splits), "data.yaml"),
    "cityscapes": (cityscapes.splits_of, "Cityscapes' instances"),
}


def _adapter(layout: str) -> Callable[[Config, Path], list[str]]:
    def adapt(cfg: Config, root: Path) -> list[str]:
        """Point a config at a folder; return one note for each adaptation."""
        splits, place = _PLACES[layout]
        there = splits(root)
        absent = [split for split in ("train", "val") if split not in there]
        notes = [f"no {split} split: it cannot be used" for split in absent]
        if len(absent) == 2:
            raise DataError(f"data folder {str(root)!r} has neither a train nor a val split; it has {some(there)}")
        add_import(cfg, "rtx.datasets.openmmlab.folder_coco")
        for split in ("train", "val"):
            where = dict(type=DATASETS[layout], data_root=str(root), ann_file="", data_prefix=dict(img=""), split=split)
            put_data_sets(cfg, split, [where])
        set_truth(cfg, layout=layout, data_root=str(root), split="val")
        names = yolo.read_folder(root).names if layout == "yolo" else cityscapes.INSTANCE_CLASSES
        return notes + fit_classes(cfg, names, place)

    return adapt


def check(node: Any, split: str, found: Findings) -> None:
    """Look for what cannot be read, or would be left out without a word, as for COCO."""
    layout = next(layout for layout, name in DATASETS.items() if name == type_name(node))
    root = root_of(node)
    if not root.is_dir():
        found.absent.append(str(root))
        return
    annotated = read_annotated(root, layout, node.get("split", "val"))
    found.warnings += annotated.notes
    tables = annotated.tables
    check_rows(tables, annotated.place, root, node, split, found)
    if loads_masks(node) and (bare := [row for row in tables["annotations"] if not row.get("segmentation")]):
        files = {row["id"]: row["file_name"] for row in tables["images"]}
        raise DataError(
            f"{annotated.place}: {len(bare)} objects have a box and no outline, which a model with masks needs: "
            f"{some(files[row['image_id']] for row in bare)}; label outlines, or choose a config without masks"
        )


YOLO, CITYSCAPES = (
    ConfigLayout(
        layout,
        types=(DATASETS[layout.name],),
        task="detection",
        adapt=_adapter(layout.name),
        check=check,
        wanted=wanted,
    )
    for layout, wanted in (
        (yolo.LAYOUT, "a folder with data.yaml"),
        (cityscapes.LAYOUT, "Cityscapes (https://www.cityscapes-dataset.com)"),
    )
)
