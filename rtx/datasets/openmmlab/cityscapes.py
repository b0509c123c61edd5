"""Cityscapes in a segmentation config: its 19 classes, whichever of the two kinds of label maps is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.cityscapes import CLASSES, IMAGE_END, IMAGES, LAYOUT, TRUTH, label_maps, splits_of
from rtx.datasets.openmmlab.ade import check_ade, set_reduce_zero_label
from rtx.datasets.openmmlab.nodes import ConfigLayout, Findings, add_import, fit_heads, palette, put_data_sets
from rtx.errors import DataError


def map_set(root: Path, split: str) -> dict[str, Any]:
    """The data set config of a split.

    Raises:
        DataError: it is not there, or images have no label map.
    """
    end, rule = label_maps(root, split)
    pairs = [list(pair) for pair in rule.pairs]
    return dict(
        type="MappedSegDataset" if pairs else "BaseSegDataset",
        data_root=str(root),
        data_prefix=dict(img_path=f"{IMAGES}/{split}", seg_map_path=f"{TRUTH}/{split}"),
        img_suffix=IMAGE_END,
        seg_map_suffix=end,
        metainfo=dict(classes=CLASSES, palette=palette(len(CLASSES))),
        label_map=pairs or None,
        reduce_zero_label=False,
    )


def adapt_maps(cfg: Config, root: Path) -> list[str]:
    """Point a config at a Cityscapes folder; return one note for each adaptation."""
    there = [split for split in ("train", "val") if split in splits_of(root)]
    if not there:
        raise DataError(f"{root}: there is neither {IMAGES}/train nor {IMAGES}/val; give another --data-root")
    notes = [f"no {split} split: it cannot be used" for split in ("train", "val") if split not in there]
    for split in ("train", "val"):
        made = map_set(root, split) if split in there else dict(map_set(root, there[0]), data_prefix=_absent(split))
        put_data_sets(cfg, split, [made])
        if made["label_map"]:
            add_import(cfg, "rtx.datasets.openmmlab.mapped_labels")
            notes += [f"{split}: labelIds are mapped to the 19 train ids"] if split in there else []
    set_reduce_zero_label(cfg, value=False)
    return [*notes, f"{len(CLASSES)} classes from Cityscapes", *fit_heads(cfg, len(CLASSES))]


def _absent(split: str) -> dict[str, str]:
    return dict(img_path=f"{IMAGES}/{split}", seg_map_path=f"{TRUTH}/{split}")


def check_maps(node: Any, split: str, found: Findings) -> None:
    """As for ADE20K; mmseg's own class has its suffixes and classes by itself."""
    fixed = dict(img_suffix=IMAGE_END, seg_map_suffix=f"_{TRUTH}_labelTrainIds.png", metainfo=dict(classes=CLASSES))
    check_ade({**fixed, "reduce_zero_label": False, **node}, split, found)


ROW = ConfigLayout(
    LAYOUT,
    types=("CityscapesDataset",),
    task="segmentation",
    adapt=adapt_maps,
    check=check_maps,
    wanted="Cityscapes (https://www.cityscapes-dataset.com)",
)
