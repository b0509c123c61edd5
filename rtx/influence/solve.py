"""The curvature of a head as a matrix, its Cholesky factor, and its largest eigenvalues."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from rtx.errors import BadValue

AT_ONCE = 512  # rows, or images on a right-hand side
_DENSE = 3000  # unknowns whose eigenvectors take seconds
_SMALL, _MOST_STEPS = 1e-10, 2000  # of conjugate gradients
_SURE = 1e13  # condition number that leaves three digits


def times(residual: Tensor, rows: Tensor, vectors: Tensor) -> Tensor:
    """Gradients (i, K - 1) (x) (i, s) times vectors ((K - 1) s, c): (i, c)."""
    blocks = vectors.view(residual.shape[1], rows.shape[1], -1)
    found = rows.new_zeros(len(rows), blocks.shape[2])
    for a, block in enumerate(blocks):
        found.addcmul_(residual[:, a : a + 1], rows @ block)
    return found


class HeadCurvature:
    """sum_i C_i (x) z_i z_i', as a matrix or as its product with vectors; C (n, q, q), z (n, s)."""

    def __init__(self, curved: Tensor, z: Tensor) -> None:
        self.curved, self.z = curved, z
        self.size = curved.shape[1] * z.shape[1]

    def dense(self, memory: int, needed: int) -> Tensor:
        """The matrix (q s, q s); `needed` such matrices are there at once later on.

        Raises:
            BadValue: they do not fit.
        """
        bytes_needed = 8 * self.size**2 * needed + 8 * 4 * self.z.numel()
        if bytes_needed > memory:
            raise BadValue(
                f"{self.size} unknowns ({self.curved.shape[1]} x {self.z.shape[1]}) need "
                f"{bytes_needed / 2**30:.1f} GB, {memory / 2**30:g} are allowed: raise --memory, take fewer training "
                "images (--images), do without the matrix (--solver cg), or keep its large eigenvalues alone "
                "(--inverse pinv:0.05)"
            )
        q, s = self.curved.shape[1], self.z.shape[1]
        found = self.z.new_zeros(q * s, q * s)
        blocks = found.view(q, s, q, s)
        for a, b in zip(*np.tril_indices(q), strict=True):
            weighted = self.z * self.curved[:, a, b, None]
            for start in range(0, s, AT_ONCE):  # each block is symmetric as well
                end = min(start + AT_ONCE, s)
                strip = weighted[:, start:end].T @ self.z[:, :end]
                blocks[a, start:end, b, :end] = strip
                blocks[a, :end, b, start:end] = strip.T
            blocks[b, :, a] = blocks[a, :, b]
        return found

    def product(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """With vectors (q s, c) or (q s,)."""
        q, s = self.curved.shape[1], self.z.shape[1]
        blocks = torch.from_numpy(np.ascontiguousarray(vectors)).view(q, s, -1)
        along = torch.einsum("iab,bic->aic", self.curved, self.z @ blocks)
        found: NDArray[np.float64] = (self.z.T @ along).reshape(vectors.shape).numpy()
        return found


def conjugate(problem: HeadCurvature, damping: Tensor, wanted: Tensor, name: str) -> Tensor:
    """(H + D)^-1 times the columns of wanted (q s, c), by conjugate gradients on products with H, which is never there.

    Preconditioned by mean C (x) sum z z', which is H where all images have one C.

    Args:
        problem: H.
        damping: the diagonal of D, (s,), the same for all directions of classes.
        wanted: right-hand sides.
        name: of the inverse, for messages.

    Raises:
        BadValue: a residual is still above 1e-10 of its right-hand side.
    """
    q, s = problem.curved.shape[1], problem.z.shape[1]
    outer, by_class = torch.linalg.eigh(problem.curved.mean(0))
    inner, by_feature = torch.linalg.eigh(problem.z.T @ problem.z)
    scale = (outer.clamp_min(0)[:, None] * inner.clamp_min(0) + damping.mean()).clamp_min(1e-30)

    def near(x: Tensor) -> Tensor:
        turned = torch.einsum("ab,asc,st->btc", by_class, x.view(q, s, -1), by_feature) / scale[..., None]
        return torch.einsum("ab,btc,st->asc", by_class, turned, by_feature).reshape(x.shape)

    def times_h(x: Tensor) -> Tensor:
        return torch.from_numpy(problem.product(x.numpy())) + (damping[:, None] * x.view(q, s, -1)).reshape(x.shape)

    found, rest = torch.zeros_like(wanted), wanted.clone()
    step = near(rest)
    along, size = (rest * step).sum(0), wanted.norm(dim=0).clamp_min(1e-300)
    for _ in range(_MOST_STEPS):
        if (worst := float((rest.norm(dim=0) / size).max())) <= _SMALL:
            return found
        image = times_h(step)
        length = along / (step * image).sum(0).clamp_min(1e-300)
        found += length * step
        rest -= length * image
        close = near(rest)
        before, along = along, (rest * close).sum(0)
        step = close + along / before.clamp_min(1e-300) * step
    raise BadValue(
        f"--solver cg, --inverse {name}: {_MOST_STEPS} steps leave {worst:.1e} of a right-hand side; damp more "
        "(--inverse ridge:1e-3)"
    )


def factor(problem: HeadCurvature, damping: Tensor, memory: int, name: str) -> tuple[Tensor, float]:
    """The Cholesky factor and the condition number; it refuses a matrix without right digits in its inverse."""
    matrix = problem.dense(memory, 2)
    matrix.diagonal().add_(damping.repeat(problem.size // len(damping)))
    norm = float(max(matrix[start : start + AT_ONCE].abs().sum(1).max() for start in range(0, problem.size, AT_ONCE)))
    found, info = torch.linalg.cholesky_ex(matrix)
    del matrix
    reciprocal = 0.0 if info.item() else float(lapack.dpocon(found.numpy(), norm, uplo="L")[0])
    condition = 1 / reciprocal if reciprocal > 0 else math.inf
    if condition > _SURE:
        raise BadValue(
            f"--inverse {name}: the curvature has condition number {condition:.1e}, so its inverse has no right "
            "digits in float64; damp it (--inverse ridge:1e-4), or keep its large eigenvalues alone "
            "(--inverse pinv:0.05)"
        )
    return found, condition


def above(problem: HeadCurvature, cut: float, memory: int) -> tuple[Tensor, Tensor, str]:
    """Eigenvalues above `cut` times the largest, their eigenvectors in columns, and the solver."""
    if problem.size <= _DENSE:
        values, vectors = torch.linalg.eigh(problem.dense(memory, 3))
        keep = values > cut * values[-1]
        return values[keep], vectors[:, keep], "eigh"
    operator = LinearOperator((problem.size,) * 2, problem.product, matmat=problem.product, dtype=np.float64)
    count = 64
    while count <= min(problem.size // 4, memory // (32 * problem.size)):
        start = np.random.default_rng(0).normal(size=problem.size)
        found, columns = eigsh(operator, count, which="LA", v0=start)  # to the last digit
        if found.min() <= cut * found.max():
            keep = found > cut * found.max()
            return torch.from_numpy(found[keep]), torch.from_numpy(columns[:, keep].copy()), "lanczos"
        count *= 2
    raise BadValue(
        f"--inverse pinv:{cut:g}: more than {count // 2} of {problem.size} eigenvalues are above the cut, which would "
        "take hours; raise it (the authors' code has 0.05), or damp instead (--inverse ridge:1e-4)"
    )
