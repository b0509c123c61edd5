"""Class folders as ground truth on disk, and classifications of their images as other tools write them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rtx.datasets.class_folders import class_folders, labelled_images
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.offline.truth import Scored, Truth, entry_files
from rtx.evaluation.scorers.base import not_finite
from rtx.metrics import accuracy as classification
from rtx.results.predictions import read_guesses


class ClassTruth(Truth):
    """Images in class folders; every one of them counts.

    Args:
        path: holds one folder for each class.
        classes: all classes that predictions may name; the folders' names when None.
        topk: which k accuracies are scored for; a prediction must name that many classes.
    """

    suffixes = (".npz", ".csv")
    headline = "accuracy_top1"

    def __init__(self, path: Path, *, classes: Sequence[str] | None = None, topk: Sequence[int] = (1, 5)) -> None:
        self.classes = tuple(classes) if classes else class_folders(path)
        self.topk = tuple(k for k in topk if k <= len(self.classes))
        rows = labelled_images(path, self.classes)
        self.labels = {file.relative_to(path).with_suffix("").as_posix(): label for file, label in rows}
        self.place, self.n_images = str(path), len(self.labels)
        digest = hashlib.sha256()
        for name, label in sorted(self.labels.items()):
            digest.update(f"{name}|{self.classes[label]}\n".encode())
        self.sha256 = digest.hexdigest()

    @property
    def names(self) -> frozenset[str]:
        """Class folders and file names of the images, without suffix."""
        return frozenset(self.labels)

    def score(self, entry: Path) -> Scored:
        """Score one condition; see `Truth.score`."""
        ranks: dict[str, int] = {}
        lost = 0
        for file in entry_files(entry, self.suffixes):
            for guess in self._npz(file) if file.suffix == ".npz" else self._csv(file):
                if guess.image not in self.labels:
                    raise BadValue(f"{file}: image {guess.image!r} is not in {self.place}; name it <class>/<name>")
                if guess.image in ranks:
                    raise BadValue(f"{file}: image {guess.image!r} is there twice; leave one of them")
                ranks[guess.image] = classification.rank_of(guess, self.labels[guess.image])
                lost += not len(guess.labels)
        absent = sorted(set(self.labels) - set(ranks))
        if absent:
            raise BadValue(
                f"{entry}: lacks {len(absent)} of the {self.n_images} evaluated images, the first is {absent[0]!r}"
            )
        evidence = classification.rank_evidence(((n, self.labels[n], rank) for n, rank in ranks.items()), self.topk)
        metrics = classification.accuracies(evidence.labels, evidence.ranks, self.topk)
        return Scored(metrics, self.n_images, tuple(not_finite(lost)), evidence)

    def card(self) -> dict[str, Any]:
        """The definition of the numbers."""
        return {
            "scorer": "accuracy",
            "scorer_version": "rtx.accuracy/1",
            "accuracy": "share of the images whose class is among the first k that are named",
            "topk": list(self.topk),
            "n_classes": len(self.classes),
        }

    def _npz(self, file: Path) -> list[classification.Guess]:
        found, classes = read_guesses(file)
        if sorted(classes) != sorted(self.classes):
            raise BadValue(f"{file}: was made for other classes than those of {self.place}; give --classes")
        mine = np.array([self.classes.index(name) for name in classes])
        return [classification.Guess(g.image, mine[g.labels], g.scores) for g in found]

    def _csv(self, file: Path) -> list[classification.Guess]:
        index = {name: n for n, name in enumerate(self.classes)}
        found = []
        with file.open(encoding="utf-8", newline="") as stream:
            for n, row in enumerate(csv.reader(stream)):
                image, *named = [cell.strip() for cell in row] or [""]
                if not image:
                    continue
                strange = [name for name in named if name not in index]
                if strange:
                    raise unknown_name(
                        "class", strange[0], place=f"{self.place} (from {file}: line {n + 1})", choices=index
                    )
                if len(set(named)) != len(named) or len(named) < max(self.topk):
                    raise BadValue(
                        f"{file}: line {n + 1}: {image!r} needs {max(self.topk)} different classes behind it, the most "
                        f"likely first, got {len(set(named))}"
                    )
                name = image if image in self.labels else str(PurePosixPath(image).with_suffix(""))
                labels = np.array([index[c] for c in named], np.int64)
                found.append(classification.Guess(name, labels, np.zeros(len(named), np.float32)))
        return found
