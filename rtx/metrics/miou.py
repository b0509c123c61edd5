"""Mean intersection over union of label maps, from pixel counts summed over the whole data set.

Counts are integers and add up, so the result does not depend on the order of images or on how they were shared out.
A class that is neither in the labels nor in the predictions is left out of the mean, as mmseg does; one that is only
predicted counts as 0. Pixels with the ignored label do not exist for any count.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, DataError, RtxError
from rtx.files import file_sha256
from rtx.metrics.calibration import NO_LOGITS, Bins, empty, of_classes, undefined
from rtx.metrics.metric import Metric, ratio
from rtx.metrics.per_image import PixelEvidence

METRICS = ("mIoU", "aAcc", "mAcc")
IGNORE_INDEX = 255
NOTHING = 65535
"""A predicted label that stands for no class: it is never right, and it counts for no class's predictions."""

Labels = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of each class.

    Attributes:
        both: (classes,) predicted and labelled so.
        predicted: (classes,) predicted so.
        labelled: (classes,) labelled so.
    """

    both: Counts
    predicted: Counts
    labelled: Counts

    @classmethod
    def empty(cls, n_classes: int) -> PixelCounts:
        """No pixel yet."""
        return cls(*(np.zeros(n_classes, np.int64) for _ in range(3)))

    def __add__(self, other: PixelCounts) -> PixelCounts:
        """The counts of two disjoint sets of pixels together."""
        return PixelCounts(self.both + other.both, self.predicted + other.predicted, self.labelled + other.labelled)


class MeanIoU(Metric):
    """Mean IoU over the data set; label maps come with the predictions.

    Args:
        classes: class names in the order of the labels.
        ignore_index: the label of pixels that do not count.
        reduce_zero_label: whether labels were read by ADE20K's rule, see `reduced`; `add` is given the result of it.
    """

    def __init__(
        self, classes: Sequence[str], *, ignore_index: int = IGNORE_INDEX, reduce_zero_label: bool = False
    ) -> None:
        super().__init__(METRICS, "mIoU")
        self.class_names = tuple(map(str, classes))
        self.ignore_index, self.reduce_zero_label = ignore_index, reduce_zero_label

    def add(self, image: str, prediction: Labels, label: Labels, sure: Bins | None = None) -> None:
        """Count the pixels of an image, see `count`.

        Args:
            image: its name.
            prediction: (H, W) class indices, or `NOTHING`.
            label: (H, W) class indices, or the ignored label.
            sure: pixels of it by confidence, where that is known.

        Raises:
            BadValue: the image comes a second time, or the prediction does not fit.
            DataError: a label is neither a class nor ignored.
        """
        n_classes = len(self.class_names)
        counts, broken = count(prediction, label, n_classes, ignore_index=self.ignore_index, name=image)
        self._add(image, counts, broken=broken)
        self._sure[image] = sure

    def reset(self) -> None:
        """Forget every prediction."""
        super().reset()
        self._sure: dict[str, Bins | None] = {}

    def diagnosis(self) -> dict[str, Any]:
        """Calibration of the pixels; undefined where an image came without confidences."""
        rows = [row for _, row in sorted(self._sure.items()) if row is not None]
        known = len(rows) == len(self._sure)
        return {"calibration": {"pixels": of_classes(sum(rows, empty())) if known else undefined(NO_LOGITS)}}

    def flags(self) -> list[str]:
        """Whether there was nothing to compare with, and how many images had scores that are no numbers."""
        labelled = any(counts.labelled.any() for counts in self._images.values())
        return [*([] if labelled else ["no labelled pixels"]), *super().flags()]

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "miou",
            "scorer_version": "rtx.miou/1",
            "iou": "intersections and unions summed over the data set, mean over the classes that are there",
            "ignore_index": self.ignore_index,
            "reduce_zero_label": self.reduce_zero_label,
            "n_classes": len(self.class_names),
        }

    def evidence(self) -> PixelEvidence:
        """The pixel counts of each image."""
        rows = zip(image_names(list(self._images)), self._images.values(), strict=True)
        return pixel_evidence(rows, len(self.class_names))

    def _scores(self) -> dict[str, float]:
        return scores(sum(self._images.values(), PixelCounts.empty(len(self.class_names))))


def truth_row(file: Path) -> tuple[str, str | None]:
    """Name of a label map, and sha256 of its file, for `rtx.metrics.metric.truth_sha256`."""
    return file.stem, file_sha256(file) if file.is_file() else None


def reduced(label: Labels, ignore_index: int = IGNORE_INDEX) -> Labels:
    """A label map by ADE20K's rule as in mmseg: labels 0 and 255 do not count, and class n is label n + 1."""
    return np.where((label == 0) | (label == IGNORE_INDEX), ignore_index, label - 1)


def count(
    prediction: Labels, label: Labels, n_classes: int, *, ignore_index: int = IGNORE_INDEX, name: str = "image"
) -> tuple[PixelCounts, bool]:
    """The pixel counts of one image, and whether `NOTHING` is predicted where pixels count.

    Args:
        prediction: (H, W) class indices, or `NOTHING`.
        label: (H, W) class indices or `ignore_index`.
        n_classes: how many classes there are.
        ignore_index: the label of pixels that do not count.
        name: what error messages call the image.

    Raises:
        BadValue: the two maps differ in shape, or a prediction is no class.
        DataError: a label is neither a class nor ignored. mmseg would count such pixels against the predicted classes.
    """
    if prediction.shape != label.shape:
        raise BadValue(f"{name}: predictions of shape {prediction.shape} for labels of shape {label.shape}")
    from rtx.metrics.pixel_counts import add_pixels  # numba, which no report needs

    counts = PixelCounts.empty(n_classes)
    flat = (_whole_numbers(prediction), _whole_numbers(label))
    sound, nothing = add_pixels(*flat, ignore_index, NOTHING, counts.both, counts.predicted, counts.labelled)
    if not sound:
        raise _complaint(prediction, label, n_classes, ignore_index, name)
    return counts, bool(nothing)


def _whole_numbers(values: Labels) -> Labels:
    """(pixels,) of one of a few types, since the loop is compiled for each."""
    flat = np.ravel(values)
    return flat if flat.dtype in (np.uint8, np.uint16, np.int64) else flat.astype(np.int64)


def _complaint(prediction: Labels, label: Labels, n_classes: int, ignore_index: int, name: str) -> RtxError:
    """What is wrong with maps that hold something else than classes: labels first."""
    counted = label != ignore_index
    prediction, label = prediction[counted], label[counted]
    wrong = [int(v) for v in np.unique(label) if not 0 <= v < n_classes]
    what = "labels" if wrong else "predictions"
    wrong = wrong or [int(v) for v in np.unique(prediction) if v != NOTHING and not 0 <= v < n_classes]
    text = f"{name}: {what} {wrong[:5]} are none of the {n_classes} classes"
    if what == "labels":
        return DataError(f"{text} nor ignore_index {ignore_index}; check reduce_zero_label, ignore_index and classes")
    return BadValue(f"{text}; the head of the model has another number of classes than the data set")


def class_iou(counts: PixelCounts) -> NDArray[np.float64]:
    """(classes,) intersection over union, NaN for classes that are neither labelled nor predicted."""
    return ratio(counts.both, counts.predicted + counts.labelled - counts.both)


def class_accuracy(counts: PixelCounts) -> NDArray[np.float64]:
    """(classes,) share of a class's pixels that are predicted so, NaN for classes that are not labelled."""
    return ratio(counts.both, counts.labelled)


def scores(counts: PixelCounts) -> dict[str, float]:
    """Each of `METRICS` as a fraction, NaN when no pixel is labelled.

    `aAcc` is the share of all pixels that are right, `mAcc` and `mIoU` are means over the classes that are there.
    """
    total = int(counts.labelled.sum())
    return {
        "mIoU": _mean(class_iou(counts)),
        "aAcc": int(counts.both.sum()) / total if total else math.nan,
        "mAcc": _mean(class_accuracy(counts)),
    }


def pixel_evidence(images: Iterable[tuple[str, PixelCounts]], n_classes: int) -> PixelEvidence:
    """Evidence of mean IoU: the counts of each image under its unique name, see `image_names`."""
    rows, names = [], []
    for n, (name, counts) in enumerate(sorted(images, key=lambda item: item[0])):
        names.append(name)
        table = np.stack([counts.both, counts.predicted, counts.labelled], axis=1)
        there = np.flatnonzero(table.any(axis=1))
        rows.append(np.column_stack([np.full(len(there), n), there, table[there]]))
    assert len(set(names)) == len(names), "rows of equal names would lie in the order of processing"
    joined = np.concatenate(rows) if rows else np.zeros((0, 5), np.int64)
    return PixelEvidence(tuple(names), joined.astype(np.int64), n_classes, METRICS)


def image_names(paths: Sequence[str]) -> list[str]:
    """Unique image names that do not depend on the folder: file stems, or paths below the common folder.

    Example:
        >>> image_names(["set/a/1.png", "set/b/2.png"]), image_names(["set/a/1.png", "set/b/1.png"])
        (['1', '2'], ['a/1.png', 'b/1.png'])
    """
    stems = [PurePath(path).stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [PurePath(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return math.fsum(defined) / len(defined) if len(defined) else math.nan
