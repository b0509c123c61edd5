"""What the papers read off a matrix of influences; Utrera et al. (2021), section 6."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue

MOST = 100
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """A share of test images with its 95 % interval by Wilson's score, over test images alone."""

    value: float
    low: float
    high: float


def rate(right: NDArray[np.bool_]) -> Rate:
    """How often, of at least one.

    Example:
        >>> found = rate(np.array([True] * 8 + [False] * 2))
        >>> round(found.low, 3), found.value, round(found.high, 3)
        (0.49, 0.8, 0.943)
    """
    n, share, z = len(right), float(right.mean()), 1.959963984540054
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return Rate(share, max(0.0, middle - half), min(1.0, middle + half))


def paired(mine: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Rate:
    """The difference of two rates on the same test images, with a normal interval of the differences' mean."""
    difference = mine.astype(np.float64) - theirs
    half = 1.959963984540054 * float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(mine) > 1 else 1.0
    return Rate(float(difference.mean()), float(difference.mean()) - half, float(difference.mean()) + half)


@dataclass(frozen=True, eq=False)
class Matches:
    """Labels of the most helpful training images beside that of the test image.

    Attributes:
        top1: the most helpful one has the label.
        three_of_five: at least three of the five most helpful ones have it; None for fewer than five.
        by_rank: (k,) for k = 1 ... 100, the share of test images whose k-th most helpful one has it.
        chance: the same share of all training images.
        hits: bool (m,) of each test image, for "top1" and "three_of_five".
    """

    top1: Rate
    three_of_five: Rate | None
    by_rank: Floats
    chance: float
    hits: dict[str, NDArray[np.bool_]]


def most_helpful(values: Floats, count: int) -> NDArray[np.int64]:
    """Columns of the largest values of each row (m, n), largest first: (m, count); of equal ones the first.

    The authors' code ranks by the value with its sign, too, not by its size.
    """
    order: NDArray[np.int64] = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return order


def matches(values: Floats, test_labels: NDArray[np.int64], train_labels: NDArray[np.int64]) -> Matches:
    """Label match of influences (m, n), positive where a training image helps.

    Raises:
        BadValue: shapes that do not fit, or no test image.
    """
    if values.shape != (len(test_labels), len(train_labels)) or not values.size:
        raise BadValue(f"influences {values.shape} of {len(test_labels)} test and {len(train_labels)} training images")
    most = min(MOST, values.shape[1])
    same = train_labels[most_helpful(values, most)] == test_labels[:, None]
    hits = {"top1": same[:, 0], "three_of_five": same[:, :5].sum(1) >= 3}
    return Matches(
        rate(hits["top1"]),
        rate(hits["three_of_five"]) if most >= 5 else None,
        same.mean(0),
        float((train_labels == test_labels[:, None]).mean()),
        hits,
    )
