"""One printed number with where it was printed, and whether a run of one's own may be held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtx.datasets.classification import TARGETS


@dataclass(frozen=True)
class Paper:
    """A publication.

    Attributes:
        key: short name used in records.
        citation: authors, title, venue.
        url: where it can be read.
        doubts: what it leaves open that decides whether a number compares with yours.
    """

    key: str
    citation: str
    url: str
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """One printed number.

    Attributes:
        paper: key of the paper.
        place: table or figure.
        dataset: name of the test set, e.g. `coco_val2017`.
        method: the detector, segmenter or classifier.
        backbone: the architecture, "" where it is not stated.
        source: recipe of the source weights, e.g. `in1k`, `l2_eps3`, `ant`.
        transfer: `fixed`, `full`, `blocks:k`, or "" where it does not apply or is not stated.
        metric: e.g. `bbox_mAP`, `mIoU`, `top1`.
        quantity: `P`, `mPC`, `rPC`, `mCE`, `drop` or `drop:<family>`; `P@<view>` of images seen through a view, see
            `rtx.datasets.views`; `adversarial`, accuracy under an attack that the note names.
        value: as a fraction of 1, exactly as printed.
        spread: the printed spread, same unit; None where none is printed.
        note: what must be said beside it, e.g. how its training differed.
        schedule: the training schedule, e.g. `1x`; "" where it is not known.
        images: of a subset, how many training images; None for all, or where it does not apply.
    """

    paper: str
    place: str
    dataset: str
    method: str
    backbone: str
    source: str
    transfer: str
    metric: str
    quantity: str
    value: float
    spread: float | None = None
    note: str = ""
    schedule: str = ""
    images: int | None = None


def fraction(percent: float) -> float:
    """A printed percentage as a fraction, without the dust of binary division.

    Example:
        >>> fraction(36.3)
        0.363
    """
    return round(percent / 100, 12)


OURS = {"AP50": "AP50_07", "top1": "accuracy_top1", "mean_per_class": "mean_class_accuracy"}
"""Metric of a record -> what rtx calls it, where the names differ. AP50 on VOC is the 11-point one of 2007."""
_PUBLISHED = {ours: theirs for theirs, ours in OURS.items()}
# How many images a test set has; COCO's tools also leave out the 48 images without objects.
_IMAGES = {
    "coco_val2017": (5000, 4952),
    "voc2007_test": (4952,),
    "cityscapes_val": (500,),
    "ade20k_val": (2000,),
    "imagenet_val": (50000,),
    "imagenet_c": (50000,),
    **{row.name: (row.test,) for row in TARGETS.values() if row.test is not None},
}
# rtx's kernels are those of the reference within one grey level.
_ENGINES = ("rtx", "imagecorruptions")


def published_metric(name: str) -> str:
    """The name of rtx's metric in the records of published numbers.

    Example:
        >>> published_metric("AP50_07"), published_metric("AP50_area"), published_metric("bbox_mAP")
        ('AP50', 'AP50_area', 'bbox_mAP')
    """
    return _PUBLISHED.get(name, name)


def departures(card: Mapping[str, Any], dataset: str, n_images: int | None, *, corrupted: bool = True) -> list[str]:
    """Why a number does not compare with a published one on this test set; empty where nothing speaks against it.

    The channel order is not among them: the published one is doubted, not known.

    Args:
        card: the run's protocol card.
        dataset: the record's test set.
        n_images: how many images the run's scores are made of, None where that is unknown.
        corrupted: whether the number is of corrupted images; a clean score does not depend on how those are made.
    """
    found = []
    if card.get("limit") is not None:
        found.append("a preview")
    elif dataset in _IMAGES and n_images not in _IMAGES[dataset]:
        found.append(f"{n_images} images" if n_images else "number of images not stated")
    if (card.get("target") or {}).get("subset"):
        found.append("a part of the published data")
    precision = str(card.get("precision") or "unknown")
    if not precision.startswith("fp32"):
        found.append(f"precision {precision}")
    if card.get("view") is not None:
        found.append(f"view {card['view']}")
    if not corrupted:
        return found
    stored = dataset == "imagenet_c"
    engine, place = (str(card.get(name) or "unknown") for name in ("corruption_engine", "corruption_at"))
    if (engine != "stored_files") if stored else (engine not in _ENGINES):
        found.append(f"corruption engine {engine}")
    elif not stored and place != "original_resolution":
        found.append(f"corrupted at {place}")
    return found
