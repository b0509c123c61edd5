"""Ground truth on disk that predictions on disk are scored against, without a model or a config."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rtx.datasets import cityscapes
from rtx.datasets.ade import MAPS_READ, LabelRule, label_maps, labels_in, void_for_class
from rtx.datasets.annotated import Annotated
from rtx.errors import BadValue, DataError, some
from rtx.metrics import coco, miou, voc
from rtx.metrics.coco_truth import ImageId, category_ids, read_truth
from rtx.metrics.metric import Metric
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
        place: what error messages call it.
        images: the ids of the images that count.
        metric: what is fed with the predictions of one condition after the other.
    """

    suffixes: tuple[str, ...]
    place: str
    images: Collection[ImageId]
    metric: Metric

    @property
    def names(self) -> frozenset[str]:
        """File names of the images that count, without suffix; with their folders where these tell images apart."""
        return frozenset(map(str, self.images))

    def listed(self, entry: Path) -> frozenset[ImageId] | None:
        """The images that the predictions of one condition say they were made on; None where they do not say.

        Raises:
            BadValue: the folder holds no predictions, or a file of them is damaged.
        """
        return None

    def settle(self, entry: Path, card: Mapping[str, Any]) -> None:
        """Take what only the predictions can say about the metric.

        Args:
            entry: the predictions of one condition.
            card: the metric's card in the evaluation that they lie in; empty where they lie in none.
        """
        return

    def score(self, entry: Path) -> Metric:
        """Feed the metric with the predictions of one condition, and with nothing else.

        Raises:
            BadValue: the predictions are not of the right form, or do not fit the ground truth.
        """
        metric: Any = self.metric
        metric.reset()
        for image in self.read(entry):
            try:
                metric.add(*image)
            except (BadValue, DataError) as error:
                raise type(error)(f"{entry}: {error}") from error
        return self.metric

    @abstractmethod
    def read(self, entry: Path) -> Iterable[tuple[Any, ...]]:
        """What the metric takes of each image of one condition; errors are those of `score`."""

    @abstractmethod
    def rows(self, images: Collection[ImageId]) -> Iterable[tuple[str, Any]]:
        """Name of each of these images, and what is true of it, for `rtx.metrics.metric.truth_sha256`."""

    def check_complete(self, entry: Path, seen: Collection[ImageId]) -> None:
        """Refuse predictions of a part of the images, where an image without one is no image without objects.

        Raises:
            BadValue: an image was not seen.
        """
        absent = sorted(set(self.images) - set(seen), key=str)
        if absent:
            raise BadValue(
                f"{entry}: lacks {len(absent)} of the {len(self.images)} evaluated images, the first is {absent[0]!r}"
            )


class DetectionTruth(Truth):
    """Objects that detections are scored against; every image counts, of kept predictions those they were made on.

    Attributes:
        classes: what the labels of detections stand for: category ids, or names.
    """

    classes: tuple[Any, ...]
    metric: coco.CocoAP | voc.VocAP

    def rows(self, images: Collection[ImageId]) -> Iterable[tuple[str, Any]]:
        """Names and objects of images; see `Truth.rows`."""
        return self.metric.truth_rows(images)

    def listed(self, entry: Path) -> frozenset[ImageId] | None:
        """The images that kept predictions were made on; see `Truth.listed`."""
        kept = [path for path in entry_files(entry, self.suffixes) if path.suffix == ".npz"]
        return frozenset().union(*map(listed_images, kept)) if kept else None

    def _kept(self, entry: Path) -> dict[ImageId, coco.Detections] | None:
        """Detections that an evaluation kept, also of images without any; None of other tools' files."""
        files = entry_files(entry, self.suffixes)
        if not any(path.suffix == ".npz" for path in files):
            return None
        if len(files) > 1:
            names = " and ".join(file.name for file in files[:3])
            raise BadValue(f"{entry}: holds {names}; leave one file of an evaluation, or one kind of file")
        found, classes = read_detections(files[0])
        if sorted(classes, key=str) != sorted(self.classes, key=str):
            raise BadValue(f"{files[0]}: was made for other categories than those of {self.place}; give --classes")
        mine = np.array([self.classes.index(each) for each in classes])
        rows = {d.image_id: replace(d, labels=mine[d.labels]) for d in found}
        if len(rows) != len(found):
            raise BadValue(f"{entry}: lists an image twice; keep the predictions again")
        return rows


class CocoFile(DetectionTruth):
    """A COCO annotation file, or what a folder of another layout holds in its form.

    Args:
        source: the file, or what was read of the folder.
        kinds: `bbox`, `segm` or both; what the predictions of the first condition hold when None.
        classes: names of the classes that count; all when None.
        max_detections: how many detections of a class in an image count.
    """

    suffixes = (".json", ".npz")
    metric: coco.CocoAP

    def __init__(
        self,
        source: Path | Annotated,
        *,
        kinds: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        max_detections: int = coco.MAX_DETECTIONS,
    ) -> None:
        if isinstance(source, Path):
            self.truth = read_truth(source)
        else:
            self.truth = read_truth(source.tables, place=source.place)
        self.classes = category_ids(self.truth, classes or list(self.truth.categories.values()))
        self.place, self.images = self.truth.place, self.truth.images
        used = {row["category_id"] for row in self.truth.annotations}
        if absent := [self.truth.categories[one] for one in self.classes if one not in used]:
            log.warning(
                "%s: %d of %d classes have no object: %s", self.place, len(absent), len(self.classes), some(absent)
            )
        self._kinds, self._max_detections = kinds, max_detections
        self.metric = self._metric(kinds or ("bbox",))

    @property
    def names(self) -> frozenset[str]:
        """File names of the images, as in the file but without suffix; their ids where the file names none."""
        files = (PurePosixPath(str(row.get("file_name", i))) for i, row in self.truth.images.items())
        return frozenset(file.with_suffix("").as_posix() for file in files)

    def settle(self, entry: Path, card: Mapping[str, Any]) -> None:
        """Score what one condition holds, unless it was said; see `Truth.settle`."""
        if self._kinds is None:
            kinds = tuple(self._read(entry)[1])
            self.metric = self._metric(kinds)
            log.info("scoring %s, which is what %s holds", " and ".join(kinds), entry)
        self.metric.label_order = card.get("labels")

    def read(self, entry: Path) -> Iterable[tuple[Any, ...]]:
        """Images with the detections of each kind; see `Truth.read`."""
        images, found = self._read(entry)
        absent = [kind for kind in self.metric.kinds if kind not in found]
        if absent and any(len(d.scores) for rows in found.values() for d in rows.values()):
            raise BadValue(f"{entry}: holds no {absent[0]} predictions, but {absent[0]} is scored; name --kinds")
        return ((image, {kind: rows[image] for kind, rows in found.items() if image in rows}) for image in images)

    def _metric(self, kinds: Sequence[str]) -> coco.CocoAP:
        return coco.CocoAP(self.truth, self.classes, kinds=kinds, max_detections=self._max_detections)

    def _read(self, entry: Path) -> tuple[Collection[ImageId], dict[str, dict[ImageId, coco.Detections]]]:
        """The images that count, and the detections of each kind, image by image."""
        kept = self._kept(entry)
        if kept is not None:
            masks = any(d.masks is not None for d in kept.values())
            return kept, {"bbox": kept, "segm": kept} if masks else {"bbox": kept}
        found = read_coco_results(entry_files(entry, self.suffixes), self.truth, self.classes)
        return self.images, {kind: {d.image_id: d for d in rows} for kind, rows in found.items()}


class LabelFolder(Truth):
    """A folder of label maps; every image of it counts.

    Args:
        path: the folder; predictions are matched by file name without suffix.
        files: name of each image -> its label map, where the names of the maps are others; all maps of `path` when
            None.
        rule: what the numbers in the maps mean, where they are not the numbers of classes.
        n_classes: how many classes there are.
        ignore_index: the label of pixels that do not count.
        reduce_zero_label: ADE20K's convention, see `rtx.metrics.miou.reduced`.
    """

    suffixes = MAP_SUFFIXES
    metric: miou.MeanIoU

    def __init__(
        self,
        path: Path,
        n_classes: int,
        *,
        ignore_index: int = miou.IGNORE_INDEX,
        reduce_zero_label: bool = False,
        files: Mapping[str, Path] | None = None,
        rule: LabelRule | None = None,
    ) -> None:
        self.images = self.files = label_maps(path) if files is None else dict(files)
        self.rule = rule
        if n_classes < 1:
            raise BadValue(f"{n_classes} classes: must be 1 or more")
        if reduce_zero_label and (n_classes > 254 or 0 <= ignore_index < n_classes):
            raise BadValue(
                f"reduce_zero_label with {n_classes} classes and ignored label {ignore_index}: it is a rule of 8-bit "
                "label maps of at most 254 classes, and what it ignores must be no class; leave it at 255"
            )
        used = labels_in(list(self.files.values()))
        if rule is not None:
            used = {int(rule.table[value]): where for value, where in used.items()}
        if warning := void_for_class(used, n_classes, [0] if reduce_zero_label else [], void=ignore_index):
            log.warning("%s", warning)
        elif len(self.files) <= MAPS_READ and (
            absent := sorted({*range(n_classes)} - {v - reduce_zero_label for v in used})
        ):
            log.warning("%s: %d of %d classes are in no label map: %s", path, len(absent), n_classes, some(absent))
        self.place = str(path)
        names = [str(n) for n in range(n_classes)]
        self.metric = miou.MeanIoU(names, ignore_index=ignore_index, reduce_zero_label=reduce_zero_label)

    def rows(self, images: Collection[ImageId]) -> Iterable[tuple[str, Any]]:
        """Names and content of label maps; see `Truth.rows`."""
        return map(miou.truth_row, self.files.values())

    def read(self, entry: Path) -> Iterable[tuple[Any, ...]]:
        """Predicted and true label maps; see `Truth.read`."""
        seen = set()
        for name, prediction in read_maps(entry):
            if name not in self.files:
                raise BadValue(
                    f"{entry}: label map {name!r} has no ground truth in {self.place}; names must be the same"
                )
            label = read_map(self.files[name], str(self.files[name]))
            label = miou.reduced(label, self.metric.ignore_index) if self.metric.reduce_zero_label else label
            label = label if self.rule is None else self.rule.apply(label)
            yield name, prediction, label
            seen.add(name)
        self.check_complete(entry, seen)


def entry_files(entry: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of one condition: the entry itself, or what it holds.

    Raises:
        BadValue: the folder holds none.
    """
    if not entry.is_dir():
        return [entry]
    files = [p for p in sorted(entry.iterdir()) if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    if not files:
        raise BadValue(f"{entry}: holds no predictions ({', '.join(suffixes)})")
    return files


def cityscapes_maps(root: Path, split: str) -> LabelFolder:
    """The label maps of a split of Cityscapes; predictions hold train ids, and have the names of the images.

    Raises:
        DataError: the folder has no such split, or images have no label map.
    """
    end, rule = cityscapes.label_maps(root, split)
    kind = end.removeprefix(f"_{cityscapes.TRUTH}_")
    files = {frame.image.stem: frame.file(kind) for frame in cityscapes.frames(root, split)}
    return LabelFolder(root, len(cityscapes.CLASSES), files=files, rule=rule if rule.pairs else None)
