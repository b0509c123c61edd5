"""The published folders of classification sets: which image belongs to which class and split.

The folders are those that torchvision's readers expect, and the lists come out equal to theirs, except that
torchvision does not apply the split of SUN397 and has no Birdsnap. Its readers are not called: they load PyTorch, and
some ask for the checksum of a file before anything else, so that a part of a set cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rtx.datasets.class_folders import class_folders, labelled_images
from rtx.datasets.image_archives import contents
from rtx.errors import DataError

Listed = tuple[tuple[str, ...], list[tuple[Path, int]]]
"""Names of the classes, and each image with its class, in the order of the published lists."""


def aircraft(root: Path, split: str) -> Listed:
    """FGVC Aircraft: the 100 variants, trainval and test."""
    data = _base(root, "data/variants.txt", "fgvc-aircraft-2013b") / "data"
    classes = tuple(_lines(data / "variants.txt"))
    index = {name: n for n, name in enumerate(classes)}
    named = {"train": "trainval", "test": "test"}[split]
    rows = [line.split(" ", 1) for line in _lines(data / f"images_variant_{named}.txt")]
    return classes, [(data / "images" / f"{image}.jpg", index[name]) for image, name in rows]


def birdsnap(root: Path, split: str) -> Listed:
    """Birdsnap: the images that are there, `test_images.txt` for testing; many of the published links are dead."""
    base = _base(root, "test_images.txt", "birdsnap")
    test = set(_lines(base / "test_images.txt")[1:])  # behind a header
    classes = class_folders(base / "images")
    rows = labelled_images(base / "images", classes)
    held = [(path, label) for path, label in rows if (path.parent.name + "/" + path.name in test) == (split == "test")]
    return classes, held


def cars(root: Path, split: str) -> Listed:
    """Stanford Cars: `cars_train` and `cars_test` with the annotations of the devkit."""
    from scipy.io import loadmat

    base = _base(root, "devkit/cars_meta.mat", "stanford_cars")
    file = base / {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}[split]
    classes = tuple(str(name) for name in np.atleast_1d(_mat(loadmat, base / "devkit/cars_meta.mat")["class_names"]))
    rows = np.atleast_1d(_mat(loadmat, file)["annotations"])
    return classes, [(base / f"cars_{split}" / str(row["fname"]), int(row["class"]) - 1) for row in rows]


def dtd(root: Path, split: str) -> Listed:
    """DTD: split 1, its train and val lists for training."""
    base = _base(root, "labels/train1.txt", "dtd/dtd", "dtd")
    lists = {name: _lines(base / f"labels/{name}1.txt") for name in ("train", "val", "test")}
    classes = tuple(sorted({line.split("/")[0] for line in lists["train"]}))
    index = {name: n for n, name in enumerate(classes)}
    lines = lists["test"] if split == "test" else lists["train"] + lists["val"]
    return classes, [(base / "images" / line, index[line.split("/")[0]]) for line in lines]


def flowers(root: Path, split: str) -> Listed:
    """Oxford Flowers: the train and validation ids for training; the set names its classes 1 to 102."""
    from scipy.io import loadmat

    base = _base(root, "setid.mat", "flowers-102")
    ids, labels = _mat(loadmat, base / "setid.mat"), _mat(loadmat, base / "imagelabels.mat")["labels"]
    chosen = np.concatenate(
        [np.atleast_1d(ids[key]) for key in (("trnid", "valid") if split == "train" else ("tstid",))]
    )
    classes = tuple(str(n + 1) for n in range(int(labels.max())))
    return classes, [(base / f"jpg/image_{n:05d}.jpg", int(labels[n - 1]) - 1) for n in chosen.tolist()]


def food(root: Path, split: str) -> Listed:
    """Food-101: `meta/train.json` and `meta/test.json`."""
    base = _base(root, "meta/train.json", "food-101")
    path = base / f"meta/{split}.json"
    if not path.is_file():
        raise DataError(f"{path} is missing; complete the data folder")
    held = json.loads(path.read_text("utf-8-sig"))
    classes = tuple(sorted(held))
    return classes, [
        (base / "images" / f"{image}.jpg", classes.index(name)) for name, images in held.items() for image in images
    ]


def pets(root: Path, split: str) -> Listed:
    """Oxford Pets: the lists trainval and test."""
    base = _base(root, "annotations/trainval.txt", "oxford-iiit-pet")
    named = {"train": "trainval", "test": "test"}[split]
    rows = [line.split()[:2] for line in _lines(base / f"annotations/{named}.txt")]
    found = {int(label) - 1: image.rsplit("_", 1)[0] for image, label in rows}
    classes = tuple(found[n].replace("_", " ").title() for n in range(len(found)))
    return classes, [(base / f"images/{image}.jpg", int(label) - 1) for image, label in rows]


def sun397(root: Path, split: str) -> Listed:
    """SUN397: split 01, whose lists may lie beside the images, in `Partitions` or in the root."""
    base = _base(root, "ClassName.txt", "SUN397")
    name = {"train": "Training_01.txt", "test": "Testing_01.txt"}[split]
    lines = _lines(_base(root, name, "SUN397", "Partitions", "SUN397/Partitions") / name)
    classes = tuple(line[3:] for line in _lines(base / "ClassName.txt"))
    index = {name: n for n, name in enumerate(classes)}
    return classes, [(base / line[1:], index[line[3:].rpartition("/")[0]]) for line in lines]


PUBLISHED: Mapping[str, Callable[[Path, str], Listed]] = {
    row.__name__: row for row in (aircraft, birdsnap, cars, dtd, flowers, food, pets, sun397)
}
"""By layout; a reader raises `DataError`, or what Python raises where a list does not have the published form."""


def caltech(root: Path, split: str, *, places: tuple[str, ...], first: int, seed: int | None) -> Listed:
    """Flat class folders: so many images of each class for training, all others for testing.

    Args:
        root: the data folder, or one that holds `places`.
        split: "train" or "test".
        places: where the class folders may lie.
        first: training images of a class.
        seed: None takes the first in file order, as Salman et al.; a number draws them.
    """
    base = next((root / place for place in places if (root / place).is_dir()), root)
    classes = tuple(name for name in class_folders(base) if name != "BACKGROUND_Google")  # no class of its own
    of_class: list[list[Path]] = [[] for _ in classes]
    for path, label in labelled_images(base, (*classes, "BACKGROUND_Google")):
        if label < len(classes):
            of_class[label].append(path)
    rows = []
    for label, paths in enumerate(of_class):
        order = np.arange(len(paths)) if seed is None else np.random.default_rng([seed, label]).permutation(len(paths))
        chosen = order[:first] if split == "train" else order[first:]
        rows += [(paths[n], label) for n in sorted(chosen.tolist())]
    return classes, rows


def _base(root: Path, marker: str, *places: str) -> Path:
    """The folder that holds a file of the published layout: one of `places`, or the root itself."""
    for place in (*places, "."):
        if (root / place / marker).is_file():
            return root / place
    raise DataError(
        f"{root}: looked for {places[0]}/{marker}, or for train/<class>/ and test/<class>/, and found {contents(root)}"
    )


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path} is missing; complete the data folder")
    return [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]


def _mat(read: Callable[..., dict[str, Any]], path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path} is missing; complete the data folder")
    try:
        return read(path, squeeze_me=True)
    except Exception as error:  # scipy raises a different class for each kind of damage
        raise DataError(f"{path}: truncated or not a .mat file ({error}); download it again") from error
