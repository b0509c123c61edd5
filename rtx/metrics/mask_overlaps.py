"""Overlaps of masks from their run lengths, many at once: the numbers of pycocotools to the last bit.

A mask is read column by column (see `rtx.metrics.run_lengths`) and held as its stretches of ones: from pixel `lows` to
just before pixel `highs`. Two masks share what their stretches share, whole numbers of pixels, and

    IoU = shared / (area + area' - shared);    of a crowd, shared / area of the detection;    0 where nothing is shared

Source: pycocotools' `maskApi.c`, `rleFrString`, `rleIou`, whose codec unpacks both lists of masks for each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled, inlined
from rtx.metrics.coco_truth import Rle

Whole = NDArray[np.int64]
Pixels = NDArray[np.signedinteger[Any]]


class Stretches(NamedTuple):
    """The stretches of ones of masks; a tuple, so that kernels take it as it is.

    Attributes:
        lows: (s,) first pixel of each, mask after mask; of 32 bits where that is enough.
        highs: (s,) the first pixel after it.
        ends: (masks + 1,) where the stretches of each mask lie.
        areas: (masks,) in pixels.
        extents: (masks, 4) first column, the column after the last, first row, the row after the last.
    """

    lows: Pixels
    highs: Pixels
    ends: Whole
    areas: Whole
    extents: Whole


def stretches(masks: Sequence[Rle]) -> Stretches:
    """Unpack compressed run lengths."""
    codes = [m["counts"].encode() if isinstance(m["counts"], str) else bytes(m["counts"]) for m in masks]
    text = np.frombuffer(b"".join(codes), np.uint8)
    ends = np.concatenate([[0], np.cumsum([len(code) for code in codes])]).astype(np.int64)
    heights = np.array([mask["size"][0] for mask in masks], np.int64)
    n_runs = int(((text - 48) & 32 == 0).sum())
    # A cell of COCO has 50 million stretches: half the memory where pixels can be numbered so.
    pixels = max((int(mask["size"][0]) * int(mask["size"][1]) for mask in masks), default=0)
    number: Any = np.int32 if pixels < 2**31 else np.int64
    lows, highs = np.empty(n_runs // 2 + 1, number), np.empty(n_runs // 2 + 1, number)
    rows, areas, extents = (np.zeros(shape, np.int64) for shape in (len(codes) + 1, len(codes), (len(codes), 4)))
    n = _unpack(text, ends, heights, lows, highs, rows, areas, extents)
    return Stretches(lows[:n], highs[:n], rows, areas, extents)


@compiled
def _unpack(
    text: NDArray[np.uint8],
    ends: Whole,
    heights: Whole,
    lows: Pixels,
    highs: Pixels,
    rows: Whole,
    areas: Whole,
    extents: Whole,
) -> int:
    n = 0
    for m in range(heights.size):
        height, at, number = max(heights[m], 1), ends[m], 0
        pixel, area, last, before = 0, 0, 0, 0  # `last`, `before`: the two runs in front
        left, right, top, bottom = 2**62, 0, 2**62, 0
        while at < ends[m + 1]:
            run, shift = 0, 0
            while True:
                code: Any = np.int64(text[at]) - 48
                at += 1
                run |= (code & 31) << shift
                shift += 5
                if not code & 32:
                    if code & 16:
                        run |= -1 << shift
                    break
            if number > 2:
                run += before
            if number % 2 == 1 and run > 0:
                lows[n], highs[n] = pixel, pixel + run
                n += 1
                area += run
                first, end = pixel // height, (pixel + run - 1) // height
                left, right = min(left, first), max(right, end + 1)
                if first == end:
                    top, bottom = min(top, pixel % height), max(bottom, (pixel + run - 1) % height + 1)
                else:
                    top, bottom = 0, height
            pixel += run
            before, last = last, run
            number += 1
        rows[m + 1], areas[m] = n, area
        if area:
            extents[m, 0], extents[m, 1], extents[m, 2], extents[m, 3] = left, right, top, bottom
    return n


@inlined
def _first_after(highs: Pixels, start: int, stop: int, pixel: int) -> int:
    """The first stretch of a mask that ends after a pixel."""
    while start < stop:
        middle = (start + stop) // 2
        if highs[middle] > pixel:
            stop = middle
        else:
            start = middle + 1
    return start


@inlined
def most_shared(extents: Whole, areas: Whole, d: int, gt_extents: Whole, gt_areas: Whole, g: int) -> int:
    """How many pixels two masks share at the most, by their boxes and areas; inside a kernel."""
    width = min(extents[d, 1], gt_extents[g, 1]) - max(extents[d, 0], gt_extents[g, 0])
    height = min(extents[d, 3], gt_extents[g, 3]) - max(extents[d, 2], gt_extents[g, 2])
    most = 0
    if width > 0 and height > 0:
        most = min(width * height, min(areas[d], gt_areas[g]))
    return most


@inlined
def shared_pixels(
    lows: Pixels, highs: Pixels, ends: Whole, d: int, gt_lows: Pixels, gt_highs: Pixels, gt_ends: Whole, g: int
) -> int:
    """How many pixels two masks share, of which neither is empty; inside a kernel."""
    i, stop_i, j, stop_j = ends[d], ends[d + 1], gt_ends[g], gt_ends[g + 1]
    low, high = max(lows[i], gt_lows[j]), min(highs[stop_i - 1], gt_highs[stop_j - 1])
    i, j = _first_after(highs, i, stop_i, low), _first_after(gt_highs, j, stop_j, low)
    shared = 0
    while i < stop_i and j < stop_j and lows[i] < high and gt_lows[j] < high:
        shared += max(0, min(highs[i], gt_highs[j]) - max(lows[i], gt_lows[j]))
        if highs[i] < gt_highs[j]:
            i += 1
        else:
            j += 1
    return shared


@compiled
def mask_overlaps(
    gt: Any,
    crowds: NDArray[np.bool_],
    det: Any,
    gt_order: Whole,
    det_order: Whole,
    gt_groups: Whole,
    det_groups: Whole,
    offsets: Whole,
    out: NDArray[np.float64],
) -> None:
    """IoU of the masks of each group, see `rtx.metrics.coco_match`; of a crowd, the share of the detection in it."""
    lows, highs, ends, areas, extents = det  # once: inside the loops numba would count references
    gt_lows, gt_highs, gt_ends, gt_areas, gt_extents = gt
    for n in range(gt_groups.shape[0]):
        at = offsets[n]
        for row in range(det_groups[n, 0], det_groups[n, 1]):
            d = det_order[row]
            for column in range(gt_groups[n, 0], gt_groups[n, 1]):
                g = gt_order[column]
                if most_shared(extents, areas, d, gt_extents, gt_areas, g) > 0:
                    shared = shared_pixels(lows, highs, ends, d, gt_lows, gt_highs, gt_ends, g)
                    if shared > 0:
                        out[at] = shared / (areas[d] if crowds[column] else areas[d] + gt_areas[g] - shared)
                at += 1
