"""A target of classification transfer as data: labels in memory, images decoded when they are asked for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.datasets.classification import Target, find_target
from rtx.datasets.image_archives import Archive
from rtx.datasets.image_files import read_rgb
from rtx.datasets.target_reading import list_images, read_archive
from rtx.errors import DataError, some, unknown_name
from rtx.files import file_sha256, write_atomic

SPLITS = ("train", "test")
CALTECH_SPLITS = ("first", "random")
_READERS = 4
_NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "fashion_mnist": "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot",
    "kmnist": "o ki su tsu na ha ma ya re wo",
}


@dataclass(frozen=True, eq=False)
class TargetData:
    """One split of a target.

    Its labels are in memory; so are the pixels of an archive (CIFAR, MNIST and its kin, SVHN), while files are read by
    `image`. It can be sent to other processes.

    Attributes:
        name: of the target's row.
        split: "train" or "test".
        root: the data folder.
        classes: names in the order of the labels; plain numbers where a set has no names.
        labels: int64 (n,), each class present.
        names: n names of images, unique in the split: files relative to the root, or "train/00042" in an archive.
        archive: where the pixels come from, None for files.
    """

    name: str
    split: str
    root: Path
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    archive: Archive | None = None

    def __len__(self) -> int:
        """How many images."""
        return len(self.names)

    def path(self, index: int) -> Path:
        """Where an image lies; no such file exists for one out of an archive."""
        return self.root / self.names[index]

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decode one image: RGB uint8 (h, w, 3); grey is repeated over the channels, CMYK converted, EXIF applied.

        Raises:
            DataError: the file is missing, truncated or no image; the message names it.
        """
        if self.archive is None:
            return read_rgb(self.path(index))
        pixels = self.archive.pixels[index]
        return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))

    def identity(self, memo: Path) -> str:
        """Hex sha256 over split, classes, labels, and names and content of the files; the place of the root is no part.

        Args:
            memo: a folder that keeps it. Files are read again when their place, sizes or times are others; else a look
                at each is enough.

        Raises:
            DataError: a file has gone since the target was opened, or cannot be read.
            OutputError: the folder cannot be written.
        """
        files = [self.path(n) for n in range(len(self))] if self.archive is None else self.archive.files
        names = self.names if self.archive is None else tuple(path.name for path in files)
        about = [self.name, self.split, self.classes, hashlib.sha256(self.labels.astype("<i8").tobytes()).hexdigest()]
        try:
            stats = [(name, (s := path.stat()).st_size, s.st_mtime_ns) for name, path in zip(names, files, strict=True)]
            place = memo / f"data_{_sha256([*about, str(self.root.resolve()), stats])[:32]}.txt"
            if place.is_file():
                return place.read_text("ascii").strip()
            with ThreadPoolExecutor(_READERS) as pool:
                found = _sha256([*about, list(zip(names, pool.map(file_sha256, files), strict=True))])
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}; complete the data folder") from error
        write_atomic(place, found + "\n")
        return found


def _sha256(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def caltech_split_of(text: str) -> tuple[str, int]:
    """The rule and the seed of a Caltech split: "first", "random" (seed 0) or "random:SEED".

    Raises:
        UnknownName: it is none of them.

    Example:
        >>> caltech_split_of("random:7"), caltech_split_of("first")
        (('random', 7), ('first', 0))
    """
    rule, colon, seed = text.partition(":")
    if rule not in CALTECH_SPLITS or (colon and not (rule == "random" and seed.isdecimal())):
        choices = (*CALTECH_SPLITS, "random:SEED")
        raise unknown_name("Caltech split", text, place="rtx/datasets/target_data.py", choices=choices)
    return rule, int(seed or 0)


def open_target(
    name: str, root: Path, split: str, *, subset: bool = False, caltech_split: str = "first", split_seed: int = 0
) -> TargetData:
    """One split of a target, as training and checks read it.

    Class folders `train/<class>/` and `test/<class>/` (or `val/<class>/`) are read for every target that consists of
    files; else the published folder with its published split, see `rtx.datasets.target_lists`.

    Args:
        name: a row of `rtx.datasets.classification`.
        root: the data folder.
        split: "train" or "test".
        subset: fewer images than the row says are accepted; other classes are not.
        caltech_split: of the two Caltechs in flat class folders: "first" 30 or 60 of a class in file order, as Salman
            et al., or "random".
        split_seed: of the random one; ignored else.

    Raises:
        UnknownName: no such target, split or Caltech split.
        DataError: a file is missing or damaged, the classes or counts are others, a label is out of range, or a class
            has no image in this split. Image files are looked for, not opened.
    """
    target = find_target(name)
    for what, value, choices in (("split", split, SPLITS), ("Caltech split", caltech_split, CALTECH_SPLITS)):
        if value not in choices:
            raise unknown_name(what, value, place="rtx/datasets/target_data.py", choices=choices)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; looked for {target.name} in layout {target.layout!r}")
    archive = read_archive(target, root, split)
    if archive is not None:
        assert target.classes is not None
        classes = tuple(_NAMES.get(name, " ".join(map(str, range(target.classes)))).split())
        names = tuple(f"{split}/{n:05d}" for n in range(len(archive.labels)))
        data = TargetData(name, split, root, classes, archive.labels, names, archive)
    else:
        classes, rows = list_images(target, root, split, None if caltech_split == "first" else split_seed)
        labels = np.array([label for _, label in rows], np.int64)
        names = tuple(path.relative_to(root).as_posix() for path, _ in rows)
        data = TargetData(name, split, root, classes, labels, names)
    _check(data, target, subset=subset)
    return data


def open_splits(name: str, root: Path, **options: Any) -> tuple[TargetData, TargetData]:
    """The training and the test split, see `open_target`.

    Raises:
        DataError: see there; or the two have other classes, or an image in common.
    """
    train, test = (open_target(name, root, split, **options) for split in SPLITS)
    if train.classes != test.classes:
        raise DataError(f"{root}: the classes of the two splits differ; complete the data folder")
    if both := sorted(set(train.names) & set(test.names)):
        raise DataError(
            f"{root}: {len(both)} images are in the train and in the test lists: {some(both)}; scores on training "
            "images mean nothing, correct the lists"
        )
    return train, test


def check_target(
    target: Target, root: Path, *, subset: bool = False, decode: bool = False
) -> dict[str, NDArray[np.int64]]:
    """Images of each class in the two splits, as int64 counts (classes,); it reads what training reads.

    Args:
        target: the row.
        root: the data folder.
        subset: see `open_target`.
        decode: open every image file, which is only looked for otherwise.

    Raises:
        DataError: see `open_splits`; or an image cannot be decoded.
    """
    found = dict(zip(SPLITS, open_splits(target.name, root, subset=subset), strict=True))
    if decode:
        damaged = [line for data in found.values() for line in _damaged(data)]
        if damaged:
            many, more = "s" if len(damaged) > 1 else "", " ..." if len(damaged) > 3 else ""
            raise DataError(f"{root}: {len(damaged)} image{many} cannot be decoded: {'; '.join(damaged[:3])}{more}")
    return {split: np.bincount(data.labels, minlength=len(data.classes)) for split, data in found.items()}


def _damaged(data: TargetData) -> list[str]:
    """What is wrong with images, a line for each that cannot be decoded."""

    def look(index: int) -> str | None:
        try:
            data.image(index)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(_READERS) as pool:
        return [line for line in pool.map(look, range(len(data))) if line is not None]


def _check(data: TargetData, target: Target, *, subset: bool) -> None:
    """Hold what was found against the row."""
    n_classes, n, split = len(data.classes), len(data), data.split
    if len(set(data.names)) < n:
        twice = [name for name, count in Counter(data.names).items() if count > 1]
        raise DataError(f"{data.root}: {len(twice)} images are in the {split} lists more than once: {some(twice)}; "
                        "leave each once")  # fmt: skip
    if target.classes is not None and n_classes != target.classes:
        raise DataError(
            f"{data.root}: holds {n_classes} classes, {target.name} has {target.classes}; "
            "for other data in class folders use the target 'folder'"
        )
    if n and not 0 <= data.labels.min() <= data.labels.max() < n_classes:
        raise DataError(
            f"{data.root}: {split} labels run from {data.labels.min()} to {data.labels.max()}, "
            f"{target.name} has the labels 0 to {n_classes - 1}"
        )
    empty = np.flatnonzero(np.bincount(data.labels, minlength=n_classes) == 0)
    if len(empty):
        raise DataError(
            f"{data.root}: {len(empty)} of {n_classes} classes have no {split} image, "
            f"the first is class {empty[0]} ({data.classes[empty[0]]})"
        )
    expected = {"train": target.train, "test": target.test}[split]
    if expected is not None and (n > expected or (n < expected and not subset)):
        remedy = "is this another set?" if n > expected else "if it is meant to be a smaller part of it, say --subset"
        raise DataError(f"{data.root}: {n} {split} images, {target.name} has {expected}; {remedy}")
