"""The data layouts that rtx knows, and what of a data folder is evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rtx.datasets import ade, coco, voc
from rtx.datasets.image_files import SUFFIXES
from rtx.datasets.layout import DataFolder, Layout, files_in
from rtx.errors import DataError, unknown_name

LAYOUTS: dict[str, Layout] = {row.name: row for row in (coco.LAYOUT, voc.LAYOUT, ade.LAYOUT)}
"""One line for a new layout; the first that recognises a folder reads it."""
FOLDER = "folder"
"""Any folder of images, without labels."""
CHOICES = ("auto", *LAYOUTS, FOLDER)


def layout_of(root: Path) -> str | None:
    """Which layout a folder has, None when it shows no sign of any."""
    return next((name for name, row in LAYOUTS.items() if row.recognised(root)), None)


def find_images(root: Path, layout: str = "auto", split: str | None = None) -> DataFolder:
    """List what is evaluated in a data folder.

    Args:
        root: the folder.
        layout: one of `CHOICES`; `auto` takes the first that recognises the folder, else `folder`.
        split: what is evaluated, e.g. `val2017`, `test` or `validation`; the layout's own choice when None.

    Raises:
        DataError: the folder does not exist, holds no image of that layout and split, or does not say what is
            evaluated.
        UnknownName: no such layout.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check the path")
    if layout not in CHOICES:
        raise unknown_name("layout", layout, place="rtx.datasets.layouts.CHOICES", choices=CHOICES)
    for name in (layout_of(root), FOLDER) if layout == "auto" else (layout,):
        if name == FOLDER:
            found: DataFolder | None = DataFolder(root, FOLDER, tuple(files_in(root / split if split else root, root)))
        else:
            found = LAYOUTS[name].evaluated(root, split) if name else None
        if found and found.images:
            return replace(found, images=tuple(sorted(found.images)), labels=tuple(sorted(found.labels)))
    asked = f" of layout {layout!r}" if layout != "auto" else ""
    asked += f" in split {split!r}" if split else ""
    raise DataError(
        f"{root}: no images{asked} (looked for {', '.join(sorted(SUFFIXES))}); check the folder and the split"
    )
