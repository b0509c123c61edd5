"""Similarity of two sets of features of the same images: linear CKA and cosine, with their jackknife over images.

    CKA(X, Y) = sum_b H(K_b, L_b) / sqrt(sum_b H(K_b, K_b)  sum_b H(L_b, L_b)),    K_b = X_b X_b',  L_b = Y_b Y_b'

over minibatches b of n images, with H the unbiased estimator of HSIC (Song et al., 2012, "Feature selection via
dependence maximization", eq. 5), summed as Nguyen et al. (2021, "Do wide and deep networks learn the same things?",
eq. 2) do: of matrices whose diagonals are set to 0,

    n (n - 3) H(K, L) = tr KL + (1'K1)(1'L1) / ((n - 1)(n - 2)) - 2 (1'KL1) / (n - 2)

H is an inner product (of U-centred matrices; Székely & Rizzo, 2014), so that CKA lies in [-1, 1] and CKA(X, X) is 1.
Each H is unbiased for any n; the ratio is not quite, and which images share a minibatch moves it a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtx.errors import BadValue

LEAST = 8
"""Images of a minibatch: the estimator needs 4, its jackknife 5, and few say nothing."""


@dataclass(frozen=True, eq=False)
class GramMatrix:
    """K of one minibatch, (n, n) float64 without its diagonal, and its row sums (n,)."""

    inner: Tensor
    sums: Tensor


def minibatches(n: int, size: int, seed: int) -> list[NDArray[np.int64]]:
    """Rows 0 to n - 1, shuffled by seed, in parts that are as equal as can be and have at most `size` rows.

    Raises:
        BadValue: fewer than `LEAST` rows, or a smaller `size`.

    Example:
        >>> [len(part) for part in minibatches(20, 16, seed=0)]
        [10, 10]
    """
    if n < LEAST or size < 2 * LEAST:
        raise BadValue(
            f"{n} images in minibatches of {size}: CKA needs {LEAST} images at least and --minibatch {2 * LEAST} or "
            "more; take more images (--images)"
        )
    return np.array_split(np.random.default_rng(seed).permutation(n), -(-n // size))


def grams(features: Tensor, parts: Sequence[NDArray[np.int64]]) -> list[GramMatrix]:
    """The Gram matrices of features (N, D), one for each minibatch."""
    found = []
    for part in parts:
        x = features[torch.from_numpy(part).to(features.device)].double()
        x = x - x.mean(0)  # changes nothing of H, and keeps the digits that the products of large means would take
        inner = x @ x.T
        inner.fill_diagonal_(0)
        found.append(GramMatrix(inner, inner.sum(1)))
    return found


def cka(left: Sequence[GramMatrix], right: Sequence[GramMatrix]) -> tuple[float, NDArray[np.float64]]:
    """CKA of the same minibatches of two sets of features, and what it is without each image.

    Returns:
        The value, and (N,) float64 in the order of the minibatches; NaN where the features of one side are the same
        for all images.
    """
    sides = ((left, right), (left, left), (right, right))
    sums, without = [], []
    for one, two in sides:
        terms = [_hsic(a, b) for a, b in zip(one, two, strict=True)]
        total = torch.stack([whole for whole, _ in terms]).sum()
        sums.append(total)
        without.append(torch.cat([total - whole + less for whole, less in terms]))
    return float(_ratio(*sums)), _ratio(*without).cpu().numpy()


def _ratio(cross: Tensor, left: Tensor, right: Tensor) -> Tensor:
    # The root of the product: of equal sides it is that side to the last bit, and the ratio 1.
    return torch.where((left > 0) & (right > 0), cross / (left * right).sqrt(), torch.nan)


def _hsic(one: GramMatrix, two: GramMatrix) -> tuple[Tensor, Tensor]:
    """H of a minibatch, and H without each of its images (n,)."""
    n, k, m = len(one.sums), one.sums, two.sums
    along = (one.inner * two.inner).sum(1)
    trace, sum_k, sum_m, both = along.sum(), k.sum(), m.sum(), (k * m).sum()
    crossed = one.inner @ m + two.inner @ k
    whole = _estimate(n, trace, sum_k, sum_m, both)
    less = _estimate(n - 1, trace - 2 * along, sum_k - 2 * k, sum_m - 2 * m, both - k * m - crossed + along)
    return whole, less


def _estimate(n: int, trace: Tensor, sum_k: Tensor, sum_m: Tensor, both: Tensor) -> Tensor:
    return (trace + sum_k * sum_m / ((n - 1) * (n - 2)) - 2 * both / (n - 2)) / (n * (n - 3))


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of the angle between columns (C, P) -> (P,); 1 where both are 0, 0 where one of them is."""
    dot, a, b = ((x * y).sum(0) for x, y in ((left, right), (left, left), (right, right)))
    found: Tensor = torch.where((a > 0) & (b > 0), dot / (a * b).sqrt(), ((a == 0) & (b == 0)).to(dot))
    return found


def mean_without(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The mean over images (N,), and what it is without each."""
    return float(values.mean()), values.mean() + (values.mean() - values) / (len(values) - 1)
