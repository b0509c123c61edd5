"""Which training images are held out to choose a weight decay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
_ALL_FOLDS_BELOW = 1000


def deal(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each image: those of a class are dealt one by one, in the order in which a seed has drawn them.

    A class with one image keeps it for training, -1; every class keeps at least one, whichever fold is left out.

    Args:
        labels: (n,) of a subset.

    Returns:
        (n,) -1 or 0 ... FOLDS - 1.

    Example:
        >>> deal(np.array([3, 3, 1, 3, 0, 3, 3, 3, 3])).tolist()
        [0, 1, -1, 2, -1, 3, 4, 0, 1]
    """
    folds = np.full(len(labels), -1, np.int64)
    dealt = 0
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        if len(mine) > 1:
            folds[mine] = (dealt + np.arange(len(mine))) % FOLDS
            dealt += len(mine)
    return folds


def left_out(n: int) -> tuple[int, ...]:
    """The folds that are left out in turn: all of a small set; one of a large one, where a fifth says enough."""
    return tuple(range(FOLDS)) if n < _ALL_FOLDS_BELOW else (0,)
