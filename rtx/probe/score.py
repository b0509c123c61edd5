"""Test accuracies of many heads."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CELLS = 1 << 25  # logits at once


def right_by_class(
    features: NDArray[np.float32], labels: NDArray[np.int64], weight: Tensor, bias: Tensor
) -> NDArray[np.int64]:
    """How many images of each class each head gets right.

    Args:
        features: (N, D), an array or memory map; read in pieces.
        labels: (N,).
        weight: (H, K, D) of H heads, on their device.
        bias: (H, K).

    Returns:
        (H, K).
    """
    heads, classes, _ = weight.shape
    flat = weight.flatten(0, 1).mT.contiguous()
    found = torch.zeros(heads, classes, dtype=torch.int64, device=weight.device)
    step = max(1, min(8192, _CELLS // (heads * classes)))
    for start in range(0, len(features), step):
        rows = torch.from_numpy(np.array(features[start : start + step])).to(weight)
        truth = torch.from_numpy(labels[start : start + step]).to(weight.device)
        guess = ((rows @ flat).view(-1, heads, classes) + bias).argmax(-1)
        right = (guess == truth[:, None]).mT.long()
        found.scatter_add_(1, truth.expand(heads, -1), right)
    counted: NDArray[np.int64] = found.cpu().numpy()
    return counted


def accuracies(right: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Top-1 accuracy and the mean of the classes' recalls, each (H,), over the classes that have images."""
    counts = np.bincount(labels, minlength=right.shape[1])
    there = counts > 0
    return right.sum(1) / counts.sum(), (right[:, there] / counts[there]).mean(1)
