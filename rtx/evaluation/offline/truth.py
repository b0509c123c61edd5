"""Ground truth on disk that predictions on disk are scored against, without a model or a config."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rtx.datasets.ade import label_maps, labels_in, void_for_class
from rtx.errors import BadValue
from rtx.evaluation.scorers.base import not_finite
from rtx.metrics import coco, miou
from rtx.metrics.coco_backends import choose_backend, version
from rtx.metrics.coco_match import coco_evidence
from rtx.metrics.coco_truth import ImageId, category_ids, read_truth
from rtx.metrics.per_image import DetectionEvidence, Evidence
from rtx.results.predictions import (
    MAP_SUFFIXES,
    listed_images,
    lost_detections,
    read_coco_results,
    read_detections,
    read_map,
    read_maps,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """What one condition gives: metrics, number of images, remarks and evidence."""

    metrics: dict[str, float]
    n_images: int
    flags: tuple[str, ...]
    evidence: Evidence


class Truth(ABC):
    """Ground truth that predictions on disk are scored against.

    Attributes:
        suffixes: of the files that an entry may be.
        headline: the metric that P, mPC and rPC are made of.
        sha256: of what decides the numbers.
        n_images: how many images count.
    """

    suffixes: tuple[str, ...]
    headline: str
    sha256: str
    n_images: int

    @property
    @abstractmethod
    def names(self) -> frozenset[str]:
        """File names of the images that count, without suffix; with their folders where these tell images apart."""

    def listed(self, entry: Path) -> frozenset[ImageId] | None:
        """The images that the predictions of one condition say they were made on; None where they do not say."""
        return None

    @abstractmethod
    def score(self, entry: Path) -> Scored:
        """Score one condition.

        Raises:
            BadValue: the predictions are not of the right form, or do not fit the ground truth.
        """

    @abstractmethod
    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""


class CocoFile(Truth):
    """A COCO annotation file; every image of it counts, of kept predictions those that they were made on.

    Args:
        path: the file.
        kinds: `bbox`, `segm` or both; what the predictions of the clean images hold when None.
        classes: names of the classes that count; all when None.
        backend: which package scores.
        max_detections: how many detections of a class in an image count.
    """

    suffixes = (".json", ".npz")

    def __init__(
        self,
        path: Path,
        *,
        kinds: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        backend: str | None = None,
        max_detections: int = coco.MAX_DETECTIONS,
    ) -> None:
        self.truth = read_truth(path)
        self.categories = category_ids(self.truth, classes or list(self.truth.categories.values()))
        self.kinds = tuple(kinds) if kinds else None
        self.backend, self.max_detections = choose_backend(backend), max_detections
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.n_images = len(self.truth.images)

    @property
    def headline(self) -> str:  # type: ignore[override]  # known once the kinds are
        """AP of boxes where they are scored, else of masks."""
        return f"{(self.kinds or ('bbox',))[0]}_mAP"

    @property
    def names(self) -> frozenset[str]:
        """File names of the images, as in the file but without suffix; their ids where the file names none."""
        files = (PurePosixPath(str(row.get("file_name", i))) for i, row in self.truth.images.items())
        return frozenset(file.with_suffix("").as_posix() for file in files)

    def settle_kinds(self, entry: Path) -> None:
        """Decide what is scored from what one condition holds, unless it was said."""
        if self.kinds is None:
            self.kinds = tuple(self._read(entry))
            log.info("scoring %s, which is what %s holds", " and ".join(self.kinds), entry)

    def listed(self, entry: Path) -> frozenset[ImageId] | None:
        """The images that kept predictions were made on; see `Truth.listed`."""
        return kept_images(entry, self.suffixes)

    def score(self, entry: Path) -> Scored:
        """Score one condition; see `Truth.score`."""
        self.settle_kinds(entry)
        assert self.kinds is not None
        found, ids = self._read(entry), self.listed(entry)
        metrics: dict[str, float] = {}
        parts = []
        empty = not any(len(d.scores) for rows in found.values() for d in rows)
        for kind in self.kinds:
            if kind not in found and not empty:
                raise BadValue(f"{entry}: holds no {kind} predictions, but {kind} is scored; name --kinds")
            rows = found.get(kind, [])
            options: dict[str, Any] = {"kinds": (kind,), "max_detections": self.max_detections, "image_ids": ids}
            metrics |= coco.coco_ap(self.truth, rows, self.categories, backend=self.backend, **options)
            parts.append(coco_evidence(self.truth, rows, self.categories, **options))
        joined = DetectionEvidence(
            parts[0].image_ids,
            {name: ranking for part in parts for name, ranking in part.rankings.items()},
            {name: measure for part in parts for name, measure in part.measures.items()},
        )
        kept = [path for path in entry_files(entry, self.suffixes) if path.suffix == ".npz"]
        flags = (*(("no predictions",) if empty else ()), *not_finite(sum(map(lost_detections, kept))))
        return Scored(metrics, self.n_images if ids is None else len(ids), flags, joined)

    def card(self) -> dict[str, Any]:
        """The definition of the numbers."""
        return {
            "scorer": "coco",
            "scorer_version": version(self.backend),
            "ap": "mean over classes and IoU .50:.05:.95, 101 recall points",
            "kinds": list(self.kinds or ()),
            "max_detections": self.max_detections,
            "n_classes": len(self.categories),
            "ground_truth_sha256": self.sha256,
        }

    def _read(self, entry: Path) -> dict[str, list[coco.Detections]]:
        files = entry_files(entry, self.suffixes)
        kept = [path for path in files if path.suffix == ".npz"]
        if not kept:
            return read_coco_results(files, self.truth, self.categories)
        if len(files) > 1:
            raise BadValue(f"{entry}: holds {kept[0].name} and other files; leave one of them")
        found, classes = read_detections(kept[0])
        if sorted(classes, key=str) != sorted(self.categories, key=str):
            raise BadValue(f"{kept[0]}: was made for other categories than those of {self.truth.place}; give --classes")
        mine = np.array([self.categories.index(c) for c in classes])
        found = [replace(d, labels=mine[d.labels]) for d in found]
        masks = any(d.masks is not None for d in found)
        return {"bbox": found, "segm": found} if masks else {"bbox": found}


class LabelFolder(Truth):
    """A folder of label maps; every image of it counts.

    Args:
        path: the folder; predictions are matched by file name without suffix.
        n_classes: how many classes there are.
        ignore_index: the label of pixels that do not count.
        reduce_zero_label: ADE20K's convention as in mmseg: labels 0 and 255 do not count, and class n is label n + 1.
    """

    suffixes = MAP_SUFFIXES
    headline = "mIoU"

    def __init__(
        self, path: Path, n_classes: int, *, ignore_index: int = miou.IGNORE_INDEX, reduce_zero_label: bool = False
    ) -> None:
        self.files = label_maps(path)
        self.n_images = len(self.files)
        if n_classes < 1:
            raise BadValue(f"{n_classes} classes: must be 1 or more")
        if reduce_zero_label and (n_classes > 254 or 0 <= ignore_index < n_classes):
            raise BadValue(
                f"reduce_zero_label with {n_classes} classes and ignored label {ignore_index}: it is a rule of 8-bit "
                "label maps of at most 254 classes, and what it ignores must be no class; leave it at 255"
            )
        warning = void_for_class(labels_in(list(self.files.values())), n_classes, [0] if reduce_zero_label else [])
        if warning and ignore_index == miou.IGNORE_INDEX:
            log.warning("%s", warning)
        self.place, self.n_classes = str(path), n_classes
        self.ignore_index, self.reduce_zero_label = ignore_index, reduce_zero_label
        digest = hashlib.sha256()
        for name, file in sorted(self.files.items()):
            digest.update(f"{name}|".encode() + hashlib.sha256(file.read_bytes()).digest())
        self.sha256 = digest.hexdigest()

    @property
    def names(self) -> frozenset[str]:
        """File names of the label maps, without suffix."""
        return frozenset(self.files)

    def score(self, entry: Path) -> Scored:
        """Score one condition; see `Truth.score`."""
        lost = 0
        images, total = [], miou.PixelCounts.empty(self.n_classes)
        for name, prediction in read_maps(entry):
            if name not in self.files:
                raise BadValue(
                    f"{entry}: label map {name!r} has no ground truth in {self.place}; names must be the same"
                )
            label = read_map(self.files[name], str(self.files[name]))
            if self.reduce_zero_label:
                label = np.where((label == 0) | (label == miou.IGNORE_INDEX), self.ignore_index, label - 1)
            place = f"{entry}: {name}"
            lost += bool((prediction == miou.NOTHING).any())
            counts = miou.count(prediction, label, self.n_classes, ignore_index=self.ignore_index, name=place)
            images.append((name, counts))
            total += counts
        absent = sorted(set(self.files) - {name for name, _ in images})
        if absent:
            raise BadValue(
                f"{entry}: lacks {len(absent)} of the {len(self.files)} evaluated images, the first is {absent[0]!r}"
            )
        flags = (*(() if total.labelled.any() else ("no labelled pixels",)), *not_finite(lost))
        return Scored(miou.scores(total), len(images), flags, miou.pixel_evidence(images, self.n_classes))

    def card(self) -> dict[str, Any]:
        """The definition of the numbers."""
        return {
            "scorer": "miou",
            "scorer_version": "rtx.miou/1",
            "iou": "intersections and unions summed over the data set, mean over the classes that are there",
            "ignore_index": self.ignore_index,
            "reduce_zero_label": self.reduce_zero_label,
            "n_classes": self.n_classes,
        }


def kept_images(entry: Path, suffixes: Sequence[str]) -> frozenset[ImageId] | None:
    """The images that the predictions of an evaluation were made on; None of other tools' files.

    Raises:
        BadValue: the folder holds no predictions, or a file of them is damaged.
    """
    kept = [path for path in entry_files(entry, suffixes) if path.suffix == ".npz"]
    return frozenset().union(*map(listed_images, kept)) if kept else None


def entry_files(entry: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of one condition: the entry itself, or what it holds.

    Raises:
        BadValue: the folder holds none.
    """
    if entry.is_file():
        return [entry]
    files = [p for p in sorted(entry.iterdir()) if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    if not files:
        raise BadValue(f"{entry}: holds no predictions ({', '.join(suffixes)})")
    return files
