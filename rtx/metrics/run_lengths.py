"""Masks to COCO's run lengths on the device that they are on.

A mask of H x W pixels is read column by column, as v_0 ... v_{HW-1}. Its runs are the lengths, in pixels, of stretches
of equal value, zeros first, so that the first is 0 where v_0 = 1:

    edges = 0, (0 where v_0 = 1), every p with v_{p-1} != v_p, H W        runs_j = edges_{j+1} - edges_j

As text, from the fourth run on runs_j - runs_{j-2} stands for runs_j. A number x is written in groups of 5 bits, lowest
first, until the rest is the sign of the last group (bit 4): character 48 + group, and 32 more where another follows.
Source: pycocotools' `maskApi.c`, `rleEncode` and `rleToString`.

A detector leaves a hundred masks of the image's size on the GPU. Fetching and encoding them on the CPU can take longer
than the forward pass; here the edges are found on the device, and only they are fetched.
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
    n_masks, height, width = (int(side) for side in masks.shape)
    if n_masks == 0:
        return []
    columns = (masks != 0).permute(0, 2, 1).reshape(n_masks, height * width)
    starts_with_one = columns[:, 0].cpu().numpy().astype(bool)  # (n,)
    owners, changes = (columns[:, 1:] != columns[:, :-1]).nonzero().cpu().numpy().T  # mask and pixel of each change
    n_changes = np.bincount(owners, minlength=n_masks)
    n_edges = n_changes + 2 + starts_with_one
    stops = np.cumsum(n_edges)
    starts = stops - n_edges
    edges = np.zeros(int(stops[-1]), np.int64)  # of all masks, one after the other
    edges[stops - 1] = height * width
    number = np.arange(len(changes)) - (np.cumsum(n_changes) - n_changes)[owners]  # of each change in its mask
    edges[number + (starts + 1 + starts_with_one)[owners]] = changes + 1
    owners = np.repeat(np.arange(n_masks), n_edges)
    inside = owners[1:] == owners[:-1]
    runs, owners = np.diff(edges)[inside], owners[1:][inside]
    text, lengths = _compressed(runs, np.arange(len(runs)) - (starts - np.arange(n_masks))[owners])
    ends = np.cumsum(np.bincount(owners, weights=lengths, minlength=n_masks).astype(np.int64)).tolist()
    return [{"size": [height, width], "counts": text[a:b]} for a, b in zip([0, *ends], ends, strict=False)]


def _compressed(runs: NDArray[np.int64], position: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """The text of run lengths, see the head of this file.

    Args:
        runs: (r,) run lengths in pixels, mask after mask.
        position: (r,) place of each within its mask.

    Returns:
        The text of all, and (r,) how many characters each takes.
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
