"""Where the images of a target's row lie: in an archive, in class folders, or in its published folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from rtx.datasets.class_folders import class_folders, labelled_images
from rtx.datasets.classification import Target
from rtx.datasets.image_archives import Archive, cifar, idx, svhn
from rtx.datasets.target_lists import PUBLISHED, Listed, caltech
from rtx.errors import DataError

ARCHIVES = ("svhn", "idx", "cifar10", "cifar100")
"""Layouts that are read whole, pixels and all; of the others the files are looked for."""
# As torchvision names them: the sets differ in nothing else that can be seen.
_IDX_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
_CALTECH = {
    "caltech101": (30, ("101_ObjectCategories", "caltech101/101_ObjectCategories", "caltech-101/101_ObjectCategories")),
    "caltech256": (60, ("256_ObjectCategories", "caltech256/256_ObjectCategories", "caltech-256/256_ObjectCategories")),
}


def read_archive(target: Target, root: Path, split: str) -> Archive | None:
    """The archive of a target that is one; it stays in memory while its files stay as they are.

    A training opens a target once for each of its checks, loaders and scores, and SVHN takes seconds to read.
    """
    places = {
        "svhn": root,
        "idx": root / _IDX_FOLDERS.get(target.name, "") / "raw",
        "cifar10": root / "cifar-10-batches-py",
        "cifar100": root / "cifar-100-python",
    }
    if target.layout not in ARCHIVES:
        return None
    place = places[target.layout]
    files = sorted(place.iterdir()) if place.is_dir() else []
    stamp = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file())
    return _read(target, root, split, stamp)


@lru_cache(maxsize=2)
def _read(target: Target, root: Path, split: str, stamp: tuple[tuple[str, int, int], ...]) -> Archive:
    if target.layout == "svhn":
        return svhn(root, split)
    if target.layout == "idx":
        return idx(root, split, folder=_IDX_FOLDERS[target.name])
    return cifar(root, split, ten=target.layout == "cifar10")


def list_images(target: Target, root: Path, split: str, seed: int | None) -> Listed:
    """The classes of a target of files, and its images with theirs.

    Args:
        target: the row.
        root: the data folder.
        split: "train" or "test".
        seed: of a random split of the two Caltechs; None takes the first images in file order.

    Raises:
        DataError: a folder, list or listed image is missing, or a list has not the published form.
    """
    if target.layout == "folders" or (root / "train").is_dir():
        return _split_folders(root, split)
    if target.layout == "caltech":
        first, places = _CALTECH[target.name]
        return caltech(root, split, places=places, first=first, seed=seed)
    try:
        classes, rows = PUBLISHED[target.layout](root, split)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{root}: the lists of {target.name} do not have the published form ({type(error).__name__}: {error}); "
            "download them again"
        ) from error
    _look_for([path for path, _ in rows])
    return classes, rows


def _split_folders(root: Path, split: str) -> Listed:
    classes, held = class_folders(root / "train"), root / split
    if split == "test" and not held.is_dir():
        held = root / "val"
    if not held.is_dir():
        raise DataError(
            f"{root}: has no folder {split!r}; looked for train/<class>/ and test/<class>/ (or val/<class>/)"
        )
    return classes, labelled_images(held, classes)


def _look_for(paths: Sequence[Path]) -> None:
    """Raise for listed images that are not there; one listing of a folder instead of a call for each image."""
    there = {
        folder: {p.name for p in folder.iterdir()} if folder.is_dir() else set() for folder in {p.parent for p in paths}
    }
    missing = [path for path in paths if path.name not in there[path.parent]]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(paths)} listed images are missing, the first is {missing[0]}; complete the folder"
        )
