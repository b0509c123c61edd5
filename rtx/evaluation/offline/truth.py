"""Ground truth on disk that predictions on disk are scored against, without a model or a config."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rtx.datasets.ade import label_maps, labels_in, void_for_class
from rtx.errors import BadValue, DataError
from rtx.metrics import coco, miou
from rtx.metrics.coco_truth import ImageId, category_ids, read_truth, truth_rows
from rtx.metrics.metric import Metric, truth_sha256
from rtx.results.predictions import (
    MAP_SUFFIXES,
    listed_images,
    read_coco_results,
    read_detections,
    read_map,
    read_maps,
)

log = logging.getLogger(__name__)


class Truth(ABC):
    """Ground truth that predictions on disk are scored against.

    Attributes:
        suffixes: of the files that an entry may be.
        metric: what is fed with the predictions of one condition after the other.
        n_images: how many images count.
    """

    suffixes: tuple[str, ...]
    metric: Metric
    n_images: int

    @property
    @abstractmethod
    def names(self) -> frozenset[str]:
        """File names of the images that count, without suffix; with their folders where these tell images apart."""

    def listed(self, entry: Path) -> frozenset[ImageId] | None:
        """The images that the predictions of one condition say they were made on; None where they do not say."""
        return None

    def settle(self, entry: Path, card: Mapping[str, Any]) -> None:
        """Take what only the predictions can say about the metric.

        Args:
            entry: the predictions of one condition.
            card: the metric's card in the evaluation that they lie in; empty where they lie in none.
        """
        return

    @abstractmethod
    def score(self, entry: Path) -> Metric:
        """Feed the metric with the predictions of one condition, and with nothing else.

        Raises:
            BadValue: the predictions are not of the right form, or do not fit the ground truth.
        """

    @abstractmethod
    def data_sha256(self, images: Collection[ImageId] | None = None) -> str:
        """Sha256 over the ground truth of images, all when None, see `rtx.metrics.metric.truth_sha256`."""

    def card(self) -> dict[str, Any]:
        """The definition of the numbers."""
        return self.metric.card()


class CocoFile(Truth):
    """A COCO annotation file; every image of it counts; with stored predictions, those they were made on.

    Args:
        path: the file.
        kinds: `bbox`, `segm` or both; what the predictions of the first condition hold when None.
        classes: names of the classes that count; all when None.
        backend: which package scores; rtx when None.
        max_detections: how many detections of a class in an image count.
    """

    suffixes = (".json", ".npz")
    metric: coco.CocoAP

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
        self._kinds = kinds
        self._options: dict[str, Any] = {"max_detections": max_detections, "backend": backend}
        self._labels: dict[str, Any] = {}
        self.metric = coco.CocoAP(self.truth, self.categories, kinds=kinds or ("bbox",), **self._options)
        self.n_images = len(self.truth.images)

    @property
    def names(self) -> frozenset[str]:
        """File names of the images, as in the file but without suffix; their ids where the file names none."""
        files = (PurePosixPath(str(row.get("file_name", i))) for i, row in self.truth.images.items())
        return frozenset(file.with_suffix("").as_posix() for file in files)

    def settle(self, entry: Path, card: Mapping[str, Any]) -> None:
        """Score what one condition holds, unless it was said; see `Truth.settle`."""
        self._labels = {"labels": card["labels"]} if "labels" in card else {}
        if self._kinds is None:
            kinds = tuple(self._read(entry))
            self.metric = coco.CocoAP(self.truth, self.categories, kinds=kinds, **self._options)
            log.info("scoring %s, which is what %s holds", " and ".join(kinds), entry)

    def listed(self, entry: Path) -> frozenset[ImageId] | None:
        """The images that stored predictions were made on; see `Truth.listed`."""
        return kept_images(entry, self.suffixes)

    def data_sha256(self, images: Collection[ImageId] | None = None) -> str:
        """Sha256 over names and annotations of images; see `Truth.data_sha256`."""
        return truth_sha256(truth_rows(self.truth, self.categories, self.truth.images if images is None else images))

    def score(self, entry: Path) -> coco.CocoAP:
        """Feed the metric; see `Truth.score`."""
        metric = self.metric
        found, ids = self._read(entry), self.listed(entry)
        absent = [kind for kind in metric.kinds if kind not in found]
        if absent and any(len(d.scores) for rows in found.values() for d in rows):
            raise BadValue(f"{entry}: holds no {absent[0]} predictions, but {absent[0]} is scored; name --kinds")
        by_kind = {kind: by_image(rows, entry) for kind, rows in found.items()}
        lost = kept_broken(entry, self.suffixes)
        metric.reset()
        for image in self.truth.images if ids is None else ids:
            mine = {kind: rows[image] for kind, rows in by_kind.items() if image in rows}
            metric.add(image, mine, broken=image in lost)
        return metric

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, and how the labels of the predictions were numbered."""
        return {**super().card(), **self._labels}

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
        reduce_zero_label: ADE20K's convention, see `rtx.metrics.miou.reduced`.
    """

    suffixes = MAP_SUFFIXES
    metric: miou.MeanIoU

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
        self.place = str(path)
        names = [str(n) for n in range(n_classes)]
        self.metric = miou.MeanIoU(names, ignore_index=ignore_index, reduce_zero_label=reduce_zero_label)

    @property
    def names(self) -> frozenset[str]:
        """File names of the label maps, without suffix."""
        return frozenset(self.files)

    def data_sha256(self, images: Collection[ImageId] | None = None) -> str:
        """Sha256 over names and content of label maps; see `Truth.data_sha256`."""
        return truth_sha256(map(miou.truth_row, self.files.values()))

    def score(self, entry: Path) -> miou.MeanIoU:
        """Feed the metric; see `Truth.score`."""
        metric = self.metric
        metric.reset()
        seen = set()
        for name, prediction in read_maps(entry):
            if name not in self.files:
                raise BadValue(
                    f"{entry}: label map {name!r} has no ground truth in {self.place}; names must be the same"
                )
            label = read_map(self.files[name], str(self.files[name]))
            label = miou.reduced(label, metric.ignore_index) if metric.reduce_zero_label else label
            try:
                metric.add(name, prediction, label)
            except (BadValue, DataError) as error:
                raise type(error)(f"{entry}: {error}") from error
            seen.add(name)
        absent = sorted(set(self.files) - seen)
        if absent:
            raise BadValue(
                f"{entry}: lacks {len(absent)} of the {len(self.files)} evaluated images, the first is {absent[0]!r}"
            )
        return metric


def kept_images(entry: Path, suffixes: Sequence[str]) -> frozenset[ImageId] | None:
    """The images that the predictions of an evaluation were made on; None of other tools' files.

    Raises:
        BadValue: the folder holds no predictions, or a file of them is damaged.
    """
    kept = [path for path in entry_files(entry, suffixes) if path.suffix == ".npz"]
    return frozenset().union(*(listed_images(path)[0] for path in kept)) if kept else None


def kept_broken(entry: Path, suffixes: Sequence[str]) -> frozenset[ImageId]:
    """The images that lost detections in an evaluation, as they were NaN or infinite; none of other tools' files.

    Raises:
        BadValue: the folder holds no predictions, or a file of them is damaged.
    """
    kept = [path for path in entry_files(entry, suffixes) if path.suffix == ".npz"]
    return frozenset().union(*(listed_images(path)[1] for path in kept))


def by_image(rows: Sequence[coco.Detections], entry: Path) -> dict[ImageId, coco.Detections]:
    """The detections of each image.

    Raises:
        BadValue: an image is there twice.
    """
    found = {row.image_id: row for row in rows}
    if len(found) != len(rows):
        raise BadValue(f"{entry}: lists an image twice; keep the predictions again")
    return found


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
