"""What one cell keeps so that its score can be computed again for any resampling of its images, without inference.

Matching detections with objects happens inside an image, so drawing an image twice or not at all changes no match: an
average precision needs, for each class, the detections in order of score with what each was at each IoU threshold (hit,
mistake, or neither), and how many objects each image holds. For label maps, the pixel counts of each image are enough,
for classifiers the rank that the right class got. Scores, boxes and masks are not kept. A file is a few hundred
kilobytes for a thousand images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue
from rtx.evaluation.arrays import pack, reading, unpack
from rtx.evaluation.files import write_whole

EVIDENCE_FORMAT = "rtx.evidence/1"

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
    """What detections did, image by image.

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


def to_bytes(evidence: Evidence, *, key: str = "", condition: str = "") -> bytes:
    """The content of an evidence file; the same evidence gives the same bytes.

    Args:
        evidence: what to keep.
        key: key of the protocol under which the cell was made.
        condition: key of the condition.
    """
    head: dict[str, Any] = {"format": EVIDENCE_FORMAT, "key": key, "condition": condition}
    arrays: dict[str, NDArray[Any]] = {"image_ids": np.array(evidence.image_ids, dtype=np.str_)}
    if isinstance(evidence, PixelEvidence):
        head |= {"n_classes": evidence.n_classes}
        arrays["pixels"] = _narrow(evidence.rows)
    elif isinstance(evidence, RankEvidence):
        head |= {"metrics": list(evidence.metrics)}
        arrays |= {"labels": _narrow(evidence.labels), "ranks": _narrow(evidence.ranks)}
    else:
        head |= {"measures": {name: asdict(m) for name, m in evidence.measures.items()}, "rankings": []}
        for name, ranking in evidence.rankings.items():
            head["rankings"].append(name)
            arrays |= {f"{name}/{part}": _narrow(getattr(ranking, part)) for part in ("images", "hits", "ignored")}
            arrays |= {f"{name}/{part}": _narrow(getattr(ranking, part)) for part in ("starts", "objects")}
            arrays[f"{name}/tied"] = np.packbits(ranking.tied)
    return pack(head, arrays)


def save(path: Path, evidence: Evidence, *, key: str = "", condition: str = "") -> None:
    """Write an evidence file, whole or not at all."""
    write_whole(path, to_bytes(evidence, key=key, condition=condition))


def load(path: Path, *, key: str | None = None) -> Evidence:
    """Read an evidence file.

    Args:
        path: the file.
        key: the protocol that it must belong to; any when None.

    Raises:
        BadValue: it is no evidence file, or belongs to another protocol.
    """
    with reading(path, "evidence file", "delete its cell and run again"):
        head, content = unpack(path, EVIDENCE_FORMAT)
        evidence = _from(head, content)
    if key is not None and head["key"] != key:
        raise BadValue(f"{path}: belongs to another protocol than its cell; delete both and run again")
    return evidence


def _from(head: Mapping[str, Any], content: Mapping[str, NDArray[Any]]) -> Evidence:
    ids = tuple(str(i) for i in content["image_ids"])
    if "pixels" in content:
        return PixelEvidence(ids, content["pixels"].astype(np.int64), int(head["n_classes"]))
    if "ranks" in content:
        labels, ranks = (content[name].astype(np.int64) for name in ("labels", "ranks"))
        return RankEvidence(ids, labels, ranks, tuple(head["metrics"]))
    measures = {
        name: Measure(row["ranking"], row["rule"], tuple(row["thresholds"]), row["absent"])
        for name, row in head["measures"].items()
    }
    return DetectionEvidence(ids, {name: _ranking(name, content) for name in head["rankings"]}, measures)


def _ranking(name: str, content: Mapping[str, NDArray[Any]]) -> Ranking:
    images = content[f"{name}/images"]
    return Ranking(
        images,
        content[f"{name}/hits"],
        content[f"{name}/ignored"],
        np.unpackbits(content[f"{name}/tied"], count=len(images)).astype(bool),
        content[f"{name}/starts"].astype(np.int64),
        content[f"{name}/objects"].reshape(-1, 3),
    )


def _narrow(numbers: NDArray[Any]) -> NDArray[Any]:
    """In the smallest unsigned type that holds the numbers."""
    kinds: Sequence[type[np.unsignedinteger[Any]]] = (np.uint8, np.uint16, np.uint32, np.uint64)
    top = int(numbers.max()) if numbers.size else 0
    return numbers.astype(next(kind for kind in kinds if top <= np.iinfo(kind).max))
