"""Labelled images in class folders: `ROOT/<class>/**/<image>`, with the classes in an order that a model decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from rtx.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


@DATASETS.register_module()
class ClassFolders(BaseDataset):
    """Class folders whose labels follow a given list of classes, which may hold more than the folder does.

    Args:
        data_root: holds one folder for each class.
        metainfo: `classes`, the folder names in the model's order; the folders sorted by name when it is left out.
        options: those of mmengine's `BaseDataset`.

    Raises:
        DataError: there is no class folder, a folder is named after no class, or there is no image.
    """

    def __init__(self, data_root: str, metainfo: dict[str, Any] | None = None, **options: Any) -> None:
        classes = tuple((metainfo or {}).get("classes") or class_folders(Path(data_root)))
        options = {"test_mode": True, "data_prefix": {}, **options}
        super().__init__(data_root=data_root, metainfo={**(metainfo or {}), "classes": classes}, **options)

    @property
    def img_prefix(self) -> str:
        """Where names of images start."""
        return str(self.data_root)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry for each image, by class and name."""
        classes = list(self.metainfo["classes"])
        return [
            {"img_path": str(path), "gt_label": label} for path, label in labelled_images(Path(self.data_root), classes)
        ]


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted.

    Raises:
        DataError: there is none.
    """
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")) if root.is_dir() else []
    if not names:
        raise DataError(f"{root}: holds no class folders; images must lie in {root}/<class>/")
    return tuple(names)


def labelled_images(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Every image below the class folders, and the index of its class, sorted.

    Raises:
        DataError: a folder is named after none of the classes, or there is no image.
    """
    index = {name: n for n, name in enumerate(classes)}
    names = class_folders(root)
    strange = [name for name in names if name not in index]
    if strange:
        raise DataError(
            f"{root}: {len(strange)} folders are named after no class of the model, the first is {strange[0]!r}; "
            f"its classes are {', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}. Give the folder names in "
            "the order of the model's outputs as classes"
        )
    found = [
        (path, index[name])
        for name in names
        for path in sorted((root / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise DataError(f"{root}: the class folders hold no images ({', '.join(SUFFIXES)})")
    return found
