"""The rows that heads are fitted on, turned into coordinates in which the problem is well conditioned.

    logits = W x + b,   loss = sum_i w_i CE(logits_i, y_i) + decay / 2 |W|^2

Rotating x, and taking it from its mean, changes neither the loss nor the minimum. In the eigenbasis of the covariance
the Hessian at W = 0 is (variance / K + decay) along each axis for K classes, so one number for each axis preconditions
it. And n rows span n directions: 100 images of 2048 features are a problem of 100 unknowns a class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK_ROWS = 4096
_SAMPLE = 16_384  # rows, 128 MiB of 2048 features
_EMPTY = 1e-12  # of the largest variance: below, an axis is rounding


class Design:
    """Rows of S subsets of the same size, each taken from a centre.

    Subsets that fit the memory are rotated into the eigenbasis and lie there in float64, and in float32 for searches. A
    single one that does not is read from `features` in chunks every time, in float32, and the weights are rotated
    instead.

    Args:
        features: float32 (N, D), an array or memory map.
        subsets: int64 (S, n), rows of each subset.
        device: where the arithmetic is done.
        streamed: read in chunks; needs S = 1.

    Attributes:
        mean: (S, D) the centre; where streamed, of a sample of the rows.
        basis: (S, D, d) orthonormal columns, d = min(n, D).
        variance: (S, d) along them, of the same rows.
    """

    def __init__(
        self, features: NDArray[np.float32], subsets: NDArray[np.int64], device: str, *, streamed: bool = False
    ) -> None:
        """Read the rows or, streamed, a sample of them."""
        self.features, self.subsets, self.device = features, subsets, device
        self.n, self.streamed = subsets.shape[1], streamed
        self._single: Tensor | None = None
        if streamed:
            assert len(subsets) == 1
            # Any basis and any centre are exact; those of a part of the rows precondition well enough.
            stride = -(-self.n // _SAMPLE)
            pieces = [rows for _, rows in self._raw(stride)]
            count = sum(map(len, pieces))
            self.mean = torch.stack([rows.sum(0, dtype=torch.float64) for rows in pieces]).sum(0)[None] / count
            covariance = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=device)
            for rows in pieces:
                centred = rows - self.mean[0].float()
                covariance += (centred.T @ centred).double()
            self.variance, self.basis = torch.linalg.eigh(covariance[None] / count)
            self._keep_sound()
            return
        x = torch.from_numpy(np.array(features[subsets])).to(device, torch.float64)
        self.mean = x.mean(1)
        x -= self.mean[:, None]
        if self.n <= x.shape[2]:
            self.variance, left = torch.linalg.eigh(x @ x.mT / self.n)
            self._keep_sound()
            lengths = (self.variance * self.n).sqrt()[:, None]
            self.basis = torch.where(lengths > 0, x.mT @ left / lengths, 0.0)
            self.rows = left * lengths
        else:
            self.variance, self.basis = torch.linalg.eigh(x.mT @ x / self.n)
            self._keep_sound()
            self.rows = x @ self.basis

    def _keep_sound(self) -> None:
        sound = self.variance > _EMPTY * self.variance[:, -1:]
        self.variance = torch.where(sound, self.variance, 0.0)

    def _raw(self, stride: int = 1) -> Iterator[tuple[slice, Tensor]]:
        index = self.subsets[0][::stride]
        for start in range(0, len(index), CHUNK_ROWS):
            part = slice(start, min(start + CHUNK_ROWS, len(index)))
            yield part, torch.from_numpy(np.array(self.features[index[part]])).to(self.device)

    def chunks(self, rows_at_once: int, precision: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Pieces of all subsets as (which rows, (S, c, d or D) centred); those of a stream are float32."""
        if self.streamed:
            for part, rows in self._raw():
                centred = rows - self.mean[0].float()
                for start in range(0, len(rows), rows_at_once):
                    piece = centred[start : start + rows_at_once]
                    yield slice(part.start + start, part.start + start + len(piece)), piece[None]
            return
        rows = self.rows
        if precision == torch.float32:
            self._single = rows = self.rows.float() if self._single is None else self._single
        for start in range(0, self.n, rows_at_once):
            part = slice(start, min(start + rows_at_once, self.n))
            yield part, rows[:, part]

    def to_rows(self, weight: Tensor) -> Tensor:
        """Weights (S, m, d) in the coordinates of the rows."""
        return weight @ self.basis.mT if self.streamed else weight

    def from_rows(self, gradient: Tensor) -> Tensor:
        """The transpose of `to_rows`."""
        return gradient @ self.basis if self.streamed else gradient

    def raw_head(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (S, J, K, d) and biases (S, J, K) for features as they are: (S, J, K, D), (S, J, K)."""
        raw = torch.einsum("sjkd,sfd->sjkf", weight, self.basis)
        return raw, bias - torch.einsum("sjkf,sf->sjk", raw, self.mean)


def spread(features: NDArray[Any], rows_at_once: int = CHUNK_ROWS) -> float:
    """Mean squared distance of the rows from their mean: the scale that weight decays are given in."""
    total, squares = np.zeros(features.shape[1]), 0.0
    for start in range(0, len(features), rows_at_once):
        rows = features[start : start + rows_at_once].astype(np.float64)
        total += rows.sum(0)
        squares += float(np.square(rows).sum())
    mean = total / len(features)
    return float(squares / len(features) - mean @ mean)
