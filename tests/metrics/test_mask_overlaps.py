"""Overlaps of masks from their run lengths: pycocotools' numbers to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as codec

from rtx.metrics.coco_truth import encode_mask
from rtx.metrics.mask_overlaps import mask_overlaps, stretches

SHAPES = [(1, 1), (1, 9), (9, 1), (13, 8), (97, 131)]


def masks(shape: tuple[int, int]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    noise = [rng.random(shape) < share for share in (0.0, 0.01, 0.5, 0.99, 1.0)]
    discs = [(rows - r) ** 2 + (columns - c) ** 2 < 300 for r, c in [(0, 0), (40, 60), (45, 70), (96, 130)]]
    stripes = [(columns % 7 == 3), (rows % 5 == 0), (columns == shape[1] - 1), (rows == shape[0] - 1)]
    return [encode_mask(mask) for mask in (*noise, *discs, *stripes)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("crowd", [0, 1])
def test_they_are_those_of_pycocotools(shape: tuple[int, int], crowd: int) -> None:
    every = masks(shape)
    n = len(every)
    order, group = np.arange(n)[::-1].copy(), np.array([[0, n]], np.int64)
    out, crowds = np.zeros(n * n), np.full(n, crowd, bool)
    packed = stretches(every)
    mask_overlaps(packed, crowds, packed, order, order, group, group, np.array([0, n * n]), out)
    theirs = codec.iou(every[::-1], every[::-1], [crowd] * n)
    assert (out.reshape(n, n) == theirs).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_areas_and_boxes_are_those_of_pycocotools(shape: tuple[int, int]) -> None:
    every = masks(shape)
    packed = stretches([{**mask, "counts": mask["counts"].decode()} if n % 2 else mask for n, mask in enumerate(every)])
    assert packed.areas.tolist() == codec.area(every).tolist()
    for extent, mask in zip(packed.extents.tolist(), every, strict=True):
        rows, columns = np.nonzero(codec.decode(mask))
        if not len(rows):
            assert extent == [0, 0, 0, 0]
            continue
        left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        assert extent[0] <= left and extent[1] >= right and extent[2] <= top and extent[3] >= bottom
        assert extent[:2] == [left, right]


def test_no_mask_is_no_stretch() -> None:
    packed = stretches([])
    assert packed.areas.shape == (0,) and packed.ends.tolist() == [0] and packed.extents.shape == (0, 4)
