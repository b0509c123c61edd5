"""The data layouts that rtx knows, and what of a data folder is evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rtx.datasets import ade, cityscapes, coco, voc, yolo
from rtx.datasets.image_files import SUFFIXES
from rtx.datasets.layout import DataFolder, Layout, files_in
from rtx.errors import DataError, unknown_name


def _folder(root: Path, split: str | None) -> DataFolder:
    """Any folder of images, without labels; the split is a folder in it."""
    return DataFolder(root, "folder", tuple(files_in(root / split if split else root, root)))


FOLDER = Layout("folder", "images of any folder", lambda root: True, _folder)
LAYOUTS: dict[str, Layout] = {
    row.name: row for row in (coco.LAYOUT, voc.LAYOUT, cityscapes.LAYOUT, yolo.LAYOUT, ade.LAYOUT, FOLDER)
}
"""One line for a new layout; the first that recognises a folder reads it."""
CHOICES = ("auto", *LAYOUTS)


def layout_of(root: Path) -> str | None:
    """Which layout a folder has, None when it shows no sign of any."""
    return next((name for name, row in LAYOUTS.items() if row is not FOLDER and row.recognised(root)), None)


def find_images(root: Path, layout: str = "auto", split: str | None = None) -> DataFolder:
    """List what is evaluated in a data folder.

    Args:
        root: the folder.
        layout: one of `CHOICES`; `auto` takes the first that recognises the folder and finds images.
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
    for name, row in LAYOUTS.items():
        if layout == name or (layout == "auto" and row.recognised(root)):
            found = row.evaluated(root, split)
            if found and found.images:
                return replace(found, images=tuple(sorted(found.images)), labels=tuple(sorted(found.labels)))
    asked = f" of layout {layout!r}" if layout != "auto" else ""
    asked += f" in split {split!r}" if split else ""
    raise DataError(f"{root}: no images{asked} (looked for {', '.join(SUFFIXES)}); check the folder and the split")
