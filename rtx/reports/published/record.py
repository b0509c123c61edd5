"""One printed number with where it was printed."""

from __future__ import annotations

from dataclasses import dataclass


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


def fraction(percent: float) -> float:
    """A printed percentage as a fraction, without the dust of binary division.

    Example:
        >>> fraction(36.3)
        0.363
    """
    return round(percent / 100, 12)
