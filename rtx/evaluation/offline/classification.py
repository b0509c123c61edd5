"""Class folders as ground truth on disk, and classifications of their images as other tools write them."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rtx.datasets.class_folders import check_stems, class_folders, labelled_images
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.offline.truth import Truth, entry_files
from rtx.metrics.accuracy import Accuracy, Guess
from rtx.metrics.coco_truth import ImageId
from rtx.results.predictions import read_guesses


class ClassTruth(Truth):
    """Images in class folders; every one of them counts.

    Args:
        path: holds one folder for each class.
        classes: all classes that predictions may name; the folders' names when None.
    """

    suffixes = (".npz", ".csv")
    metric: Accuracy

    def __init__(self, path: Path, *, classes: Sequence[str] | None = None) -> None:
        self.classes = tuple(classes) if classes else class_folders(path)
        rows = labelled_images(path, self.classes)
        check_stems(file for file, _ in rows)
        self.labels = {file.relative_to(path).with_suffix("").as_posix(): label for file, label in rows}
        self.place, self.images = str(path), self.labels
        self.metric = Accuracy(len(self.classes), topk=[k for k in (1, 5) if k <= len(self.classes)])

    def settle(self, entry: Path, card: Mapping[str, Any]) -> None:
        """Score the same k, and state the threshold, of the evaluation that kept the guesses; see `Truth.settle`."""
        if card:
            self.metric = Accuracy(len(self.classes), topk=card["topk"], threshold=card["threshold"])

    def rows(self, images: Collection[ImageId]) -> Iterable[tuple[str, Any]]:
        """Names and classes of images; see `Truth.rows`."""
        return ((name, [self.classes[label]]) for name, label in self.labels.items())

    def read(self, entry: Path) -> Iterable[tuple[Any, ...]]:
        """Guesses and the right classes; see `Truth.read`."""
        seen = set()
        for file in entry_files(entry, self.suffixes):
            for guess in self._npz(file) if file.suffix == ".npz" else self._csv(file):
                if guess.image not in self.labels:
                    raise BadValue(f"{file}: image {guess.image!r} is not in {self.place}; name it <class>/<name>")
                if guess.image in seen:
                    raise BadValue(f"{file}: image {guess.image!r} is there twice; leave one of them")
                seen.add(guess.image)
                yield guess, self.labels[guess.image]
        self.check_complete(entry, seen)

    def _npz(self, file: Path) -> list[Guess]:
        found, classes = read_guesses(file)
        if sorted(classes) != sorted(self.classes):
            raise BadValue(f"{file}: was made for other classes than those of {self.place}; give --classes")
        mine = np.array([self.classes.index(name) for name in classes])
        return [replace(g, labels=mine[g.labels]) for g in found]

    def _csv(self, file: Path) -> list[Guess]:
        index = {name: n for n, name in enumerate(self.classes)}
        needed = max(self.metric.topk)
        found = []
        for n, row in enumerate(_rows(file)):
            image, *named = [cell.strip() for cell in row] or [""]
            if not image:
                continue
            strange = [name for name in named if name not in index]
            if strange:
                raise unknown_name(
                    "class", strange[0], place=f"{self.place} (from {file}: line {n + 1})", choices=index
                )
            if len(set(named)) != len(named) or len(named) < needed:
                raise BadValue(
                    f"{file}: line {n + 1}: {image!r} needs {needed} different classes behind it, the most "
                    f"likely first, got {len(set(named))}"
                )
            stem = PurePosixPath(image)
            name = image if image in self.labels or not stem.name else str(stem.with_suffix(""))
            labels = np.array([index[c] for c in named], np.int64)
            found.append(Guess(name, labels, np.full(len(named), np.nan, np.float32)))  # such a file has no scores
        return found


def _rows(file: Path) -> list[list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadValue(f"{file}: cannot be read as CSV ({error}); write it as UTF-8 text") from error
