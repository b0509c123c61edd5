"""Targets of classification transfer: one row each, with what its papers fix.

Sources: Salman et al. (2020) and its code (microsoft/robust-models-transfer), Utrera et al. (2021, Table 6). A count
that neither gives is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtx.datasets.class_folders import class_folders, labelled_images
from rtx.datasets.label_files import cifar_labels, idx_labels, svhn_labels
from rtx.errors import DataError, unknown_name

MEAN_PER_CLASS, TOP1 = "mean per class", "top-1"
SALMAN = "train: RandomResizedCrop 224, flip; test: Resize 256, CenterCrop 224"
UTRERA_COLOUR = "Resize 224; train: RandomCrop pad 4, flip, jitter 0.25, rotate 2 degrees"
BOTH = f"Salman et al.: {SALMAN}; Utrera et al.: {UTRERA_COLOUR}"
UTRERA_GREY = "Resize 224, 3 channels, no augmentation"


@dataclass(frozen=True)
class Target:
    """A classification data set: classes, metric, preprocessing, and where its labels lie.

    `classes` is None for any class folder; `train` and `test` are image counts, None where the papers give none.
    """

    name: str
    classes: int | None
    metric: str
    layout: str  # "folders", "cifar10", "cifar100", "idx" or "svhn"
    preprocessing: str
    split: str = "folders train and test"
    train: int | None = None
    test: int | None = None
    note: str = ""


_ROWS = (
    Target("aircraft", 100, MEAN_PER_CLASS, "folders", SALMAN, "trainval / test"),
    Target("birdsnap", 500, TOP1, "folders", SALMAN),
    Target("caltech101", 101, MEAN_PER_CLASS, "folders", SALMAN, "first 30 of a class in file order / rest", 30 * 101),
    Target("caltech256", 257, MEAN_PER_CLASS, "folders", SALMAN, "first 60 of a class in file order / rest", 60 * 257),
    Target("cifar10", 10, TOP1, "cifar10", BOTH, "batches / test_batch", 50_000, 10_000),
    Target("cifar100", 100, TOP1, "cifar100", BOTH, "train / test", 50_000, 10_000),
    Target("cars", 196, TOP1, "folders", SALMAN),
    Target(
        "dtd", 47, TOP1, "folders", SALMAN, "split 1, train and val / test", note="the published head has 57 outputs"
    ),
    Target("flowers", 102, MEAN_PER_CLASS, "folders", SALMAN),
    Target("food", 101, TOP1, "folders", SALMAN),
    Target("pets", 37, MEAN_PER_CLASS, "folders", SALMAN),
    Target("sun397", 397, TOP1, "folders", SALMAN, "split 01"),
    Target(
        "svhn", 10, TOP1, "svhn", UTRERA_COLOUR, "train / test", 73_257, 26_032, "Utrera et al. flip digits as well"
    ),
    Target("mnist", 10, TOP1, "idx", UTRERA_GREY, "train / t10k", 60_000, 10_000),
    Target("fashion_mnist", 10, TOP1, "idx", UTRERA_GREY, "train / t10k", 60_000, 10_000),
    Target("kmnist", 10, TOP1, "idx", UTRERA_GREY, "train / t10k", 60_000, 10_000),
    Target("stylized_imagenet", 1000, TOP1, "folders", SALMAN),
    Target("folder", None, TOP1, "folders", SALMAN, note="any class folders"),
)
# As torchvision names them: the sets differ in nothing else that can be seen.
_IDX_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
TARGETS = {row.name: row for row in _ROWS}


def find_target(name: str) -> Target:
    """The row of a target.

    Raises:
        UnknownName: there is no such row; the nearest ones are shown.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, place="rtx/datasets/classification.py", choices=TARGETS)
    return TARGETS[name]


def check_target(target: Target, root: Path, *, subset: bool = False) -> dict[str, NDArray[np.int64]]:
    """Images of each class in the two splits, as int64 counts (classes,).

    Args:
        target: the row that the folder is held against.
        root: the data folder.
        subset: fewer images than the row says are accepted; classes are not.

    Raises:
        DataError: a file is missing or damaged, the classes or counts are others, or a class has no image in a split.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; looked for {target.name} in layout {target.layout!r}")
    counts = {}
    for split, expected in (("train", target.train), ("test", target.test)):
        labels, classes = _labels(target, root, split)
        counts[split] = np.bincount(labels, minlength=classes)
        empty = np.flatnonzero(counts[split] == 0)
        if len(empty):
            raise DataError(
                f"{root}: {len(empty)} of {classes} classes have no {split} image, the first is class {empty[0]}"
            )
        if expected is not None and (len(labels) > expected or (len(labels) < expected and not subset)):
            raise DataError(
                f"{root}: {len(labels)} {split} images, {target.name} has {expected}; "
                "if this is meant to be a smaller part of it, say so with --subset"
            )
    return counts


def _labels(target: Target, root: Path, split: str) -> tuple[NDArray[np.int64], int]:
    if target.layout == "folders":
        return _folder_labels(target, root, split)
    assert target.classes is not None
    if target.layout == "svhn":
        labels = svhn_labels(root, split)
    elif target.layout == "idx":
        labels = idx_labels(root, split, folder=_IDX_FOLDERS[target.name])
    else:
        labels = cifar_labels(root, split, ten=target.layout == "cifar10")
    if len(labels) and not 0 <= labels.min() <= labels.max() < target.classes:
        raise DataError(
            f"{root}: {split} labels run from {labels.min()} to {labels.max()}, "
            f"{target.name} has the labels 0 to {target.classes - 1}"
        )
    return labels, target.classes


def _folder_labels(target: Target, root: Path, split: str) -> tuple[NDArray[np.int64], int]:
    train = class_folders(root / "train")
    if target.classes is not None and len(train) != target.classes:
        raise DataError(
            f"{root / 'train'}: holds {len(train)} class folders, {target.name} has {target.classes}; "
            "for other data use the target 'folder'"
        )
    held = root / split
    if split == "test" and not held.is_dir():
        held = root / "val"
    if not held.is_dir():
        raise DataError(
            f"{root}: has no folder {split!r}; looked for train/<class>/ and test/<class>/ (or val/<class>/)"
        )
    return np.array([label for _, label in labelled_images(held, train)], np.int64), len(train)
