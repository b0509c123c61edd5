"""Masks to run lengths on the device that they are on.

A detector leaves a hundred masks of the image's size on the GPU. Fetching and encoding them on the CPU can take longer
than the forward pass; where they change from 0 to 1 and back is found on the device, and only these places are fetched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.metrics.coco_truth import Rle

_GROUPS = 13  # of 5 bits, for any 64-bit number


def encode_masks(masks: Any) -> list[Rle]:
    """Binary masks as a tensor (n, H, W) on any device -> compressed run lengths, as `coco_truth.encode_mask` gives.

    Example:
        >>> import torch
        >>> encode_masks(torch.tensor([[[False, True], [False, True]]]))
        [{'size': [2, 2], 'counts': b'22'}]
    """
    count, height, width = (int(side) for side in masks.shape)
    if count == 0:
        return []
    columns = (masks != 0).permute(0, 2, 1).reshape(count, height * width)  # COCO's runs go down the columns
    first = columns[:, 0].cpu().numpy().astype(bool)
    rows, places = (columns[:, 1:] != columns[:, :-1]).nonzero().cpu().numpy().T
    # Where runs begin and end, mask after mask: 0, a second 0 where the first run, which counts zeros, is empty, the
    # changes, and the number of pixels.
    changes = np.bincount(rows, minlength=count)
    ends = np.cumsum(changes + 2 + first)
    starts = ends - (changes + 2 + first)
    edges = np.zeros(int(ends[-1]), np.int64)
    edges[ends - 1] = height * width
    edges[np.arange(len(places)) - (np.cumsum(changes) - changes)[rows] + (starts + 1 + first)[rows]] = places + 1
    whose = np.repeat(np.arange(count), ends - starts)
    runs = np.diff(edges)[whose[1:] == whose[:-1]]
    whose = whose[1:][whose[1:] == whose[:-1]]
    codes, lengths = _compressed(runs, np.arange(len(runs)) - (starts - np.arange(count))[whose])
    stops = np.cumsum(np.bincount(whose, weights=lengths, minlength=count).astype(np.int64)).tolist()
    return [
        {"size": [height, width], "counts": codes[start:stop]} for start, stop in zip([0, *stops], stops, strict=False)
    ]


def _compressed(runs: NDArray[np.int64], position: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """COCO's text form of run lengths: from the fourth on the change from two before, in signed groups of 5 bits.

    Args:
        runs: run lengths.
        position: place of each within its mask.

    Returns:
        The text of all, and how long that of each run is.
    """
    left = runs.copy()
    later = np.flatnonzero(position > 2)
    left[later] -= runs[later - 2]
    table = np.zeros((len(left), _GROUPS), np.uint8)
    used = np.zeros((len(left), _GROUPS), bool)
    active = np.arange(len(left))
    for group in range(_GROUPS):
        bits = left[active] & 31
        left[active] >>= 5
        more = left[active] != np.where(bits & 16, -1, 0)
        table[active, group] = bits + 48 + 32 * more
        used[active, group] = True
        active = active[more]
        if not len(active):
            break
    return table[used].tobytes(), used.sum(1)
