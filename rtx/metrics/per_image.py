"""What an image contributes to a metric: enough to compute the score of any resampling without running the model again.

Matching detections with objects happens inside an image, so drawing an image twice or not at all changes no match: an
average precision needs, for each class, the detections in order of score with what each was at each IoU threshold (hit,
mistake, or neither), and how many objects each image holds. For label maps, the pixel counts of each image are enough,
for classifiers the rank that the right class got. Scores, boxes and masks are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Ranking:
    """Detections class by class, best score first, under one way of matching.

    Attributes:
        images: (n,) index of the image.
        hits: (n,) bit t is set where the detection is a hit at IoU threshold t.
        ignored: (n,) bit t is set where it is neither hit nor mistake; any other detection is a mistake.
        tied: (n,) True where image and score are those of the detection before it: the two stay together in a copy of
            their image.
        starts: (classes + 1,) where each class begins.
        objects: (m, 3) class, image and number of objects that count, for those that hold any.
    """

    images: Whole
    hits: Whole
    ignored: Whole
    tied: NDArray[np.bool_]
    starts: Whole
    objects: Whole


@dataclass(frozen=True)
class Measure:
    """How a metric is made of a ranking.

    Attributes:
        ranking: which one.
        rule: `101 points`, `11 points` or `area`: how precision over recall becomes one number.
        thresholds: indices of the IoU thresholds that are averaged.
        absent: what a class without objects is: `left out` of the mean, or `zero`.
    """

    ranking: str
    rule: str
    thresholds: tuple[int, ...]
    absent: str = "left out"


@dataclass(frozen=True)
class DetectionEvidence:
    """Outcome of the detections, image by image.

    Attributes:
        image_ids: the evaluated images as text.
        rankings: name -> ranking; one for each kind (boxes, masks) and way of matching.
        measures: metric -> how it is made.
    """

    image_ids: tuple[str, ...]
    rankings: dict[str, Ranking]
    measures: dict[str, Measure]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that can be computed again."""
        return tuple(self.measures)


@dataclass(frozen=True)
class PixelEvidence:
    """Pixel counts, image by image.

    Attributes:
        image_ids: the evaluated images as text.
        rows: (m, 5) image, class, and the pixels that are both, predicted and labelled so, for those that hold any.
        n_classes: how many classes there are.
    """

    image_ids: tuple[str, ...]
    rows: NDArray[np.int64]
    n_classes: int
    metrics: tuple[str, ...] = ("mIoU", "aAcc", "mAcc")


@dataclass(frozen=True)
class RankEvidence:
    """How near a classifier came, image by image.

    Attributes:
        image_ids: the evaluated images as text.
        labels: (n,) the right class of each.
        ranks: (n,) how many classes were preferred to it.
        metrics: `accuracy_top<k>` and `mean_class_accuracy`.
    """

    image_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    ranks: NDArray[np.int64]
    metrics: tuple[str, ...]


Evidence = DetectionEvidence | PixelEvidence | RankEvidence


def trimmed(ranking: Ranking, n_thresholds: int) -> Ranking:
    """The same ranking without detections that no resampling can make count.

    These are the ones that are ignored at every threshold, and the mistakes ranked below the last hit of their class
    (precision matters only where recall still grows). Detections tied with a hit stay.
    """
    n_classes = len(ranking.starts) - 1
    classes = np.repeat(np.arange(n_classes), np.diff(ranking.starts))
    row = np.arange(len(classes))
    run = np.cumsum(~ranking.tied)  # rows of one tie share a number
    last = np.full(n_classes, -1, np.int64)
    hit = ranking.hits > 0
    np.maximum.at(last, classes[hit], row[hit])
    ends = np.where(last[classes] >= 0, run[last[classes]], -1) if len(row) else row
    keep = (run <= ends) & (ranking.ignored != (1 << n_thresholds) - 1)
    # A tie whose first row went away starts with the next one.
    first = np.r_[True, run[keep][1:] != run[keep][:-1]][: int(keep.sum())]
    starts = np.concatenate([[0], np.cumsum(np.bincount(classes[keep], minlength=n_classes))])
    return Ranking(
        ranking.images[keep],
        ranking.hits[keep],
        ranking.ignored[keep],
        ~first,
        starts.astype(np.int64),
        ranking.objects,
    )
