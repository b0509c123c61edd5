"""Counts by class are those of every head looked at alone; mean per class is macro recall."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score

from rtx.probe import score
from tests.probe.worlds import blobs


def test_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(90, 6, 4)
    keep = (y != 3) & ((y != 2) | (np.arange(90) % 5 == 0))  # unbalanced, one class without images
    x, y = x[keep], y[keep]
    weight, bias = torch.randn(5, 4, 6, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    monkeypatch.setattr(score, "_CELLS", 5 * 4 * 7)
    right = score.right_by_class(x, y, weight, bias)
    top, mean = score.accuracies(right, y)
    for head in range(5):
        guess = (x.astype(np.float64) @ weight[head].numpy().T + bias[head].numpy()).argmax(1)
        assert top[head] == (guess == y).mean()
        assert mean[head] == pytest.approx(recall_score(y, guess, average="macro", labels=[0, 1, 2], zero_division=0))
        assert right[head].sum() == (guess == y).sum() and right[head, 3] == 0
