"""Masks encoded where they are: the bytes that pycocotools gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as codec

from rtx.metrics.coco_truth import encode_mask
from rtx.metrics.run_lengths import encode_masks


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (13, 8), (97, 131)], ids=str)
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_they_are_what_pycocotools_gives(shape: tuple[int, int], dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.random(shape) < share for share in (0.0, 0.01, 0.5, 0.99, 1.0)]
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    discs = [(rows - r) ** 2 + (columns - c) ** 2 < 300 for r, c in [(0, 0), (40, 60), (96, 130)]]
    masks = np.stack(noise + discs)
    theirs = [dict(codec.encode(np.asfortranarray(mask.astype(np.uint8)))) for mask in masks]
    assert encode_masks(torch.from_numpy(masks).to(dtype)) == theirs
    for form in (masks, masks.astype(np.uint8), masks.astype(float), np.ascontiguousarray(masks[:, ::-1])[:, ::-1]):
        assert [encode_mask(mask) for mask in form] == theirs


def test_no_mask_gives_no_runs() -> None:
    assert encode_masks(torch.zeros(0, 5, 5, dtype=torch.bool)) == []


@pytest.mark.gpu
def test_on_a_gpu_too() -> None:
    masks = torch.rand(20, 97, 131) < 0.3
    assert encode_masks(masks.cuda()) == [encode_mask(mask.numpy()) for mask in masks]
