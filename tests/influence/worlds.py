"""Small convex heads at their optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rtx.influence.head import SoftmaxHead
from rtx.probe.heads import Column, fit
from tests.probe.worlds import blobs


def fitted(
    n: int = 60, width: int = 5, classes: int = 3, *, decay: float = 0.02, tests: int = 12, **more: Any
) -> SoftmaxHead:
    """A logistic regression on overlapping blobs, to the last digits."""
    x, y = blobs(n, width, classes, seed=1, **{"apart": 0.7, **more})
    test_x, test_y = blobs(tests, width, classes, seed=2, **{"apart": 0.7, **more})
    weight, bias = minimum(x, y, np.arange(n), decay, classes)
    return SoftmaxHead(weight, bias, x, y, test_x, test_y, decay)


def minimum(x: Any, y: Any, rows: Any, decay: float, classes: int) -> tuple[Any, Any]:
    """Weights (K, D) and biases (K,) of the rows."""
    (found,) = fit(x, y, rows[None], [Column(decay)], classes=classes, tolerance=1e-11, max_evaluations=5000)
    return found.weight[0, 0].numpy(), found.bias[0, 0].numpy()


def losses(head: SoftmaxHead, weight: Any, bias: Any) -> Any:
    """Cross-entropy of each test image (m,) with other weights."""
    logits = torch.from_numpy(head.test.astype(np.float64) @ weight.T + bias)
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(head.test_labels), reduction="none").numpy()


def by_autograd(head: SoftmaxHead) -> tuple[Any, Any, Any]:
    """Hessian of the summed training loss (P, P), gradients of training (n, P) and of test images (m, P)."""
    theta = torch.from_numpy(np.concatenate([head.weight, head.bias[:, None]], 1).ravel())

    def each(theta: Any, x: Any, y: Any) -> Any:
        full = theta.view(len(head.bias), -1)
        logits = torch.from_numpy(x.astype(np.float64)) @ full[:, :-1].T + full[:, -1]
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="none")

    hessian = torch.autograd.functional.hessian(lambda t: each(t, head.train, head.train_labels).sum(), theta)
    jacobian = torch.autograd.functional.jacobian
    train = jacobian(lambda t: each(t, head.train, head.train_labels), theta)
    test = jacobian(lambda t: each(t, head.test, head.test_labels), theta)
    return hessian.numpy(), train.numpy(), test.numpy()
