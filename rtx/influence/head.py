"""A softmax head at its optimum: gradients, curvature and influence, all in closed form and float64.

    g_i = (p_i - e_y) (x) z_i,   H = sum_i C_i (x) z_i z_i',   I(test, train) = g_test' H^+ g_train,   z = (x, 1)

with p the probabilities (K,), e_y the label as one of K, x the features (D,), and (x) the Kronecker product over
classes and features. C_i, (K, K), is diag p - pp' for the Hessian. The paper puts a minus in front of I (Utrera et al.,
2021, A.9); its code does not.

A step that adds the same to all classes changes nothing, and neither does one off the span of the training features. So
the unknowns are coordinates in K - 1 directions of classes times the rank of the features, which is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtx.errors import BadValue, unknown_name
from rtx.influence.solve import AT_ONCE, HeadCurvature, above, conjugate, factor, times

CURVATURES = ("hessian", "ggn", "fisher", "empirical")
SOLVERS = ("dense", "cg")
INVERSES = ("decay", "ridge", "pinv")
MEMORY = 8 * 2**30
_ROUNDING = 1e-12  # of the largest eigenvalue of the features' Gram matrix: below, a direction is rounding


@dataclass(frozen=True)
class Inverse:
    """How the curvature is inverted.

    Attributes:
        kind: "decay": with the weight decay that the head was trained with, so that the head is the minimum;
            "ridge": `value` n is added to the diagonal, n being the training images; "pinv": eigenvalues at or below
            `value` of the largest count as zero.
        value: see `kind`; 0 for "decay".
    """

    kind: str = "decay"
    value: float = 0.0

    def __str__(self) -> str:
        """As `parse` reads it."""
        return self.kind if self.kind == "decay" else f"{self.kind}:{self.value:g}"

    @classmethod
    def parse(cls, text: str) -> Inverse:
        """Read "decay", "ridge:LAMBDA" or "pinv:CUT".

        Raises:
            UnknownName: no such kind.
            BadValue: a number that is missing or out of range.

        Example:
            >>> Inverse.parse("pinv:0.05")
            Inverse(kind='pinv', value=0.05)
        """
        kind, _, number = text.partition(":")
        if kind not in INVERSES:
            choices = ("decay", "ridge:LAMBDA", "pinv:CUT")
            raise unknown_name("inverse", text, place="rtx/influence/head.py", choices=choices)
        try:
            value = float(number) if kind != "decay" or number else 0.0
        except ValueError:
            value = math.nan
        top = {"decay": 0.0, "ridge": math.inf, "pinv": 1.0}[kind]
        if not (0 <= value <= top and value < math.inf) or (kind == "pinv" and value == 1):
            raise BadValue(f"--inverse {text}: give decay, ridge:LAMBDA of 0 or more, or pinv:CUT of 0 to under 1")
        return cls(kind, value)


@dataclass(frozen=True, eq=False)
class SoftmaxHead:
    """A trained linear classifier with the features it was trained and is tested on.

    Attributes:
        weight: (K, D).
        bias: (K,).
        train: features (n, D), and their `train_labels` (n,).
        train_labels: in 0 ... K - 1.
        test: features (m, D), and their `test_labels` (m,).
        test_labels: see `train_labels`.
        decay: of the mean loss, decay / 2 |W|^2.
        bias_decays: the bias, too.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    decay: float
    bias_decays: bool = False

    def residuals(self, features: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Probabilities (n, K) and p - e_y (n, K)."""
        x = torch.from_numpy(np.array(features, np.float64))
        logits = x @ torch.from_numpy(self.weight).T + torch.from_numpy(self.bias)
        p = logits.softmax(1)
        residual = p.clone()
        # Of the other classes' sum, since 1 - p has no digits left where the head is sure.
        rows, y = torch.arange(len(p)), torch.from_numpy(labels)
        others = logits.log_softmax(1).exp()
        others[rows, y] = 0
        residual[rows, y] = -others.sum(1)
        return p, residual

    def gradient_norm(self) -> float:
        """Length of the gradient of the mean loss with its decay, in nats: 0 at the optimum that influence assumes."""
        _, residual = self.residuals(self.train, self.train_labels)
        by_weight = residual.T @ torch.from_numpy(np.array(self.train, np.float64)) / len(residual)
        by_weight += self.decay * torch.from_numpy(self.weight)
        by_bias = residual.mean(0) + self.decay * self.bias_decays * torch.from_numpy(self.bias)
        return float(torch.cat([by_weight, by_bias[:, None]], 1).norm())

    def gradient_share(self) -> float:
        """`gradient_norm` as a share of what it is for a head of zeros, where no training has begun."""
        nothing = replace(self, weight=np.zeros_like(self.weight), bias=np.zeros_like(self.bias))
        return self.gradient_norm() / max(nothing.gradient_norm(), 1e-300)


@dataclass(frozen=True, eq=False)
class Influences:
    """What was found.

    Attributes:
        values: float64 (m, n), g_test' H^+ g_train: to first order the nats that the loss of a test image grows by
            where the training image is left out. Positive: it helps.
        unknowns: rows of the matrix that was inverted.
        kept: of its eigenvalues; all but for "pinv".
        condition: largest by smallest eigenvalue kept; of a whole matrix an estimate in the 1-norm; NaN of "cg".
        solver: "cholesky", "eigh", "lanczos" or "cg".
    """

    values: NDArray[np.float64]
    unknowns: int
    kept: int
    condition: float
    solver: str


def output_curvature(p: Tensor, residual: Tensor, kind: str) -> Tensor:
    """C_i (n, K, K) of each training image.

    The Hessian is the generalised Gauss-Newton matrix, since logits are linear in the weights; and the Fisher matrix,
    the mean of the squared gradient over labels drawn from p. The empirical one squares the gradient at the label.

    Raises:
        UnknownName: no such curvature.
    """
    if kind == "empirical":
        found = residual[:, :, None] * residual[:, None]
    elif kind == "fisher":
        each = p[:, None] - torch.eye(p.shape[1], dtype=p.dtype)  # (n, label, K)
        found = (each * p[..., None]).mT @ each
    elif kind in CURVATURES:
        found = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    else:
        choices = CURVATURES
        raise unknown_name("curvature", kind, place="rtx/influence/head.py", choices=choices)
    return found


def influences(
    head: SoftmaxHead,
    inverse: Inverse | None = None,
    curvature: str = "hessian",
    *,
    memory: int = MEMORY,
    solver: str = "dense",
) -> Influences:
    """Influence of every training image on every test image.

    Args:
        head: at its optimum.
        inverse: of the curvature, "decay" when None.
        curvature: "hessian", "ggn", "fisher" or "empirical".
        memory: bytes that may be taken.
        solver: "dense", one Cholesky factor of the matrix; or "cg", conjugate gradients on its products, for damped
            inverses of heads of many classes or features.

    Raises:
        UnknownName: no such curvature or solver.
        BadValue: fewer training images than classes, or a matrix that is singular, ill-conditioned or too large.
    """
    inverse = inverse or Inverse()
    if solver not in SOLVERS:
        raise unknown_name("solver", solver, place="rtx/influence/head.py", choices=SOLVERS)
    if solver == "cg" and inverse.kind == "pinv":
        raise BadValue(f"--solver cg: damps, and --inverse {inverse} does not; give --inverse decay or ridge:LAMBDA")
    n, classes = len(head.train), len(head.bias)
    if n < classes:
        raise BadValue(f"{n} training images and {classes} classes: give at least one image a class")
    p, residual = head.residuals(head.train, head.train_labels)
    _, test_residual = head.residuals(head.test, head.test_labels)
    directions = _directions(classes)
    curved = directions.T @ output_curvature(p, residual, curvature) @ directions  # (n, K - 1, K - 1)
    z, test_z, is_bias = _coordinates(head, alone=inverse.kind == "decay" and not head.bias_decays)
    problem = HeadCurvature(curved, z)
    train, test = (residual @ directions, z), (test_residual @ directions, test_z)
    if inverse.kind == "pinv" and inverse.value > problem.size * np.finfo(float).eps:
        values, vectors, solver = above(problem, inverse.value, memory)
        left, right = (times(*side, vectors) for side in (test, train))
        found = (left / values) @ right.T
        return Influences(found.numpy(), problem.size, len(values), float(values.max() / values.min()), solver)
    damping = torch.full((z.shape[1],), n * (head.decay if inverse.kind == "decay" else 0.0), dtype=torch.float64)
    if inverse.kind == "decay":
        damping[is_bias] = 0.0
    elif inverse.kind == "ridge":
        damping += n * inverse.value
    lower, condition = (None, math.nan) if solver == "cg" else factor(problem, damping, memory, str(inverse))
    fewer, more = (test, train) if len(test[0]) <= len(train[0]) else (train, test)
    columns = []
    for start in range(0, len(fewer[0]), AT_ONCE):
        r, rows = (part[start : start + AT_ONCE] for part in fewer)
        gradients = torch.einsum("ia,is->asi", r, rows).reshape(problem.size, -1)
        if lower is None:
            solved = conjugate(problem, damping, gradients, str(inverse))
        else:
            solved = torch.cholesky_solve(gradients, lower)
        columns.append(times(*more, solved))
    found = torch.cat(columns, 1)
    found = found.T if fewer is test else found
    used = "cg" if lower is None else "cholesky"
    return Influences(found.contiguous().numpy(), problem.size, problem.size, condition, used)


def _directions(classes: int) -> Tensor:
    """Orthonormal columns (K, K - 1) across the step that adds the same to all classes."""
    ones = torch.cat([torch.ones(classes, 1, dtype=torch.float64), torch.eye(classes, dtype=torch.float64)[:, 1:]], 1)
    return torch.linalg.qr(ones)[0][:, 1:]


def _coordinates(head: SoftmaxHead, *, alone: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Rows z of the training (n, s) and the test images (m, s) in an orthonormal basis of the training rows' span.

    Where the bias is `alone` it is a coordinate of its own, which bool (s,) marks: a decay may leave it out.
    """
    x, test = (torch.from_numpy(np.array(rows, np.float64)) for rows in (head.train, head.test))
    ones, test_ones = (rows.new_ones(len(rows), 1) for rows in (x, test))
    if not alone:
        x, test = torch.cat([x, ones], 1), torch.cat([test, test_ones], 1)
    wide = len(x) < x.shape[1]
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    vectors = vectors[:, values > _ROUNDING * values[-1]]
    # Twice, since one product with rows of small length leaves the columns not quite orthonormal.
    basis = torch.linalg.qr(x.T @ vectors)[0] if wide else vectors
    x, test = x @ basis, test @ basis
    if alone:
        x, test = torch.cat([x, ones], 1), torch.cat([test, test_ones], 1)
    is_bias = torch.zeros(x.shape[1], dtype=torch.bool)
    is_bias[-1] = alone
    return x, test, is_bias
