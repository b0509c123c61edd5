"""Counting the pixels of two label maps in one compiled pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled


@compiled
def add_pixels(
    prediction: NDArray[np.integer[Any]],
    label: NDArray[np.integer[Any]],
    ignore_index: int,
    no_class: int,
    both: NDArray[np.int64],
    predicted: NDArray[np.int64],
    labelled: NDArray[np.int64],
) -> tuple[bool, bool]:
    """Add the pixels of an image to the counts.

    Args:
        prediction: (pixels,) class indices, or `no_class`.
        label: (pixels,) class indices, or `ignore_index`.
        ignore_index: the label of pixels that do not count.
        no_class: a prediction that is never right, and that counts for no class.
        both: (classes,) gets the pixels predicted and labelled so.
        predicted: (classes,) gets those predicted so.
        labelled: (classes,) gets those labelled so.

    Returns:
        Whether all pixels were sound, else the counts are of no use; and whether `no_class` was predicted anywhere.
    """
    nothing = False
    for n in range(len(label)):
        guess, truth = np.int64(prediction[n]), np.int64(label[n])
        if guess == no_class:
            nothing = True
        if truth == ignore_index:
            continue
        if truth < 0 or truth >= len(labelled):
            return False, nothing
        labelled[truth] += 1
        if guess == no_class:
            continue
        if guess < 0 or guess >= len(predicted):
            return False, nothing
        predicted[guess] += 1
        if guess == truth:
            both[truth] += 1
    return True, nothing
