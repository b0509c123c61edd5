"""Labelled images in class folders: which there are, and what each is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtx.datasets.image_files import SUFFIXES
from rtx.errors import DataError


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
    unknown = [name for name in names if name not in index]
    if unknown:
        raise DataError(
            f"{root}: {len(unknown)} folders are named after no class of the model, the first is {unknown[0]!r}; "
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
