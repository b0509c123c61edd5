"""Targets of classification transfer: one row each, with what its papers fix.

Sources: Salman et al. (2020) and its code (microsoft/robust-models-transfer), Utrera et al. (2021, Table 6); counts are
those of the published splits.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtx.errors import unknown_name

MEAN_PER_CLASS, TOP1 = "mean per class", "top-1"
SALMAN = "train: RandomResizedCrop 224, flip; test: Resize 256, CenterCrop 224"
UTRERA_COLOUR = "Resize 224; train: RandomCrop pad 4, flip, jitter 0.25, rotate 2 degrees"
BOTH = f"Salman et al.: {SALMAN}; Utrera et al.: {UTRERA_COLOUR}"
UTRERA_GREY = "Resize 224, 3 channels, no augmentation"


@dataclass(frozen=True)
class Target:
    """A classification data set: classes, metric, preprocessing, and where its labels lie.

    `classes` is None for any class folder; `train` and `test` are image counts, None where they are not fixed. `layout`
    is a published folder of `rtx.datasets.target_lists`, or one of "folders", "cifar10", "cifar100", "idx" and "svhn".
    """

    name: str
    classes: int | None
    metric: str
    layout: str
    preprocessing: str
    split: str = "folders train and test"
    train: int | None = None
    test: int | None = None
    note: str = ""


_ROWS = (
    Target("aircraft", 100, MEAN_PER_CLASS, "aircraft", SALMAN, "trainval / test", 6667, 3333),
    Target(
        "birdsnap", 500, TOP1, "birdsnap", SALMAN, "not in test_images.txt / in it", note="as far as links still work"
    ),
    Target(
        "caltech101", 101, MEAN_PER_CLASS, "caltech", SALMAN, "first 30 of a class in file order / rest", 3030, 5647
    ),
    Target(
        "caltech256", 257, MEAN_PER_CLASS, "caltech", SALMAN, "first 60 of a class in file order / rest", 15420, 15187
    ),
    Target("cifar10", 10, TOP1, "cifar10", BOTH, "batches / test_batch", 50_000, 10_000),
    Target("cifar100", 100, TOP1, "cifar100", BOTH, "train / test", 50_000, 10_000),
    Target("cars", 196, TOP1, "cars", SALMAN, "cars_train / cars_test", 8144, 8041),
    Target(
        "dtd", 47, TOP1, "dtd", SALMAN, "split 1, train and val / test", 3760, 1880, "the published head has 57 outputs"
    ),
    Target("flowers", 102, MEAN_PER_CLASS, "flowers", SALMAN, "trnid and valid / tstid", 2040, 6149),
    Target("food", 101, TOP1, "food", SALMAN, "train / test", 75_750, 25_250),
    Target("pets", 37, MEAN_PER_CLASS, "pets", SALMAN, "trainval / test", 3680, 3669),
    Target("sun397", 397, TOP1, "sun397", SALMAN, "Training_01 / Testing_01", 19_850, 19_850),
    Target(
        "svhn", 10, TOP1, "svhn", UTRERA_COLOUR, "train / test", 73_257, 26_032, "Utrera et al. flip digits as well"
    ),
    Target("mnist", 10, TOP1, "idx", UTRERA_GREY, "train / t10k", 60_000, 10_000),
    Target("fashion_mnist", 10, TOP1, "idx", UTRERA_GREY, "train / t10k", 60_000, 10_000),
    Target("kmnist", 10, TOP1, "idx", UTRERA_GREY, "train / t10k", 60_000, 10_000),
    Target("imagenet", 1000, TOP1, "folders", SALMAN, "train / val", 1_281_167, 50_000),
    Target("stylized_imagenet", 1000, TOP1, "folders", SALMAN),
    Target("folder", None, TOP1, "folders", SALMAN, note="any class folders"),
)
TARGETS = {row.name: row for row in _ROWS}


def find_target(name: str) -> Target:
    """The row of a target.

    Raises:
        UnknownName: there is no such row; the nearest ones are shown.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, place="rtx/datasets/classification.py", choices=TARGETS)
    return TARGETS[name]
