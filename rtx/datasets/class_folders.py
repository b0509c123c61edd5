"""Labelled images in class folders: which there are, and what each is."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rtx.datasets.image_files import SUFFIXES
from rtx.errors import DataError, some

log = logging.getLogger(__name__)


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted.

    Raises:
        DataError: there is none.
    """
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")) if root.is_dir() else []
    if not names:
        raise DataError(f"{root}: holds no class folders; images must lie in {root}/<class>/")
    return tuple(names)


def check_stems(paths: Iterable[Path]) -> None:
    """Refuse images that differ in their suffix alone: an evaluation knows an image by its name without it.

    Raises:
        DataError: two do.
    """
    seen: dict[Path, Path] = {}
    for path in paths:
        if (other := seen.setdefault(path.with_suffix(""), path)) != path:
            raise DataError(
                f"{other} and {path.name} differ in their suffix alone, and are one image to an evaluation; rename or "
                "remove one of them"
            )


def labelled_images(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Every image below the class folders, and the index of its class, sorted.

    Raises:
        DataError: a class is there twice, a folder is named after none of them, or there is no image.
    """
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise DataError(
            f"classes: {len(twice)} are there more than once: {some(twice)}; name each once, in the order of the "
            "model's outputs"
        )
    index = {name: n for n, name in enumerate(classes)}
    names = class_folders(root)
    unknown = [name for name in names if name not in index]
    if unknown:
        raise DataError(
            f"{root}: {len(unknown)} folders are named after no class of the model, the first is {unknown[0]!r}; "
            f"its classes are {', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}. Give the folder names in "
            "the order of the model's outputs as classes"
        )
    if absent := [name for name in classes if name not in names]:
        log.warning("%s: %d of %d classes have no folder: %s", root, len(absent), len(classes), some(absent))
    found = [
        (path, index[name])
        for name in names
        for path in sorted((root / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise DataError(f"{root}: the class folders hold no images ({', '.join(SUFFIXES)})")
    return found
