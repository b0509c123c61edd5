"""Why a robust source can be the wrong one: a task whose class is decided by a single pixel.

Salman et al. (2020), section 4.3: an image is zero but for one pixel, x[0, 0] = beta * y. A standard model separates
the classes whatever beta is; a model that was trained to be invariant to perturbations of norm eps cannot see the pixel
where beta < eps, so that nothing is left to transfer. Data sets of fine features want a small eps, coarse ones allow a
large one.

The labels here are -1 and 1, so that beta is the margin, the distance to the boundary. (With 0 and 1, as printed, the
classes are beta apart, and an adversary who moves both needs beta / 2 only.)

The feature is linear, r(x) = w . x, and trained on the task itself against the worst perturbation of norm eps, which
for a linear model is known: it takes eps |w| off every margin. With f(t) = log(1 + exp(-t)), y in {-1, 1}:

    w = argmin  mean f(y w . x - eps |w|) + decay / 2 |w|^2

Then w is frozen, and a head is trained on r(x) in the usual way: transfer with fixed features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue

Array = NDArray[np.float64]

SIDE = 8
EPS = (0.0, 0.1, 0.3, 1.0, 3.0)
BETA = tuple(float(b) for b in np.geomspace(0.03, 10, 26))
_IMAGES, _STEPS, _DECAY = 40, 400, 0.01


@dataclass(frozen=True)
class OnePixel:
    """What came of it, rows by eps and columns by beta.

    Attributes:
        eps: of the training of the feature; 0 is standard training.
        beta: margins of the task.
        accuracy: of a head on the frozen feature, fraction of the test images, (eps, beta).
        response: how far the feature tells the two classes apart, r(x) of one minus that of the other, (eps, beta).
    """

    eps: tuple[float, ...]
    beta: tuple[float, ...]
    accuracy: Array
    response: Array


def one_pixel(eps: Sequence[float] = EPS, beta: Sequence[float] = BETA, *, seed: int = 0) -> OnePixel:
    """Train a feature for every eps and beta, and a head on each.

    Raises:
        BadValue: an eps that is negative, a beta that is not positive, or none of either.
    """
    if not len(eps) or not len(beta) or not all(0 <= e < np.inf for e in eps) or not all(0 < b < np.inf for b in beta):
        raise BadValue(f"eps {tuple(eps)} must be 0 or more and beta {tuple(beta)} above 0, at least one of each")
    cells = np.array([[_cell(e, b, seed) for b in beta] for e in eps])
    return OnePixel(tuple(eps), tuple(beta), cells[..., 0], cells[..., 1])


def _cell(eps: float, beta: float, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    train, test = (images(beta, rng) for _ in range(2))
    weights = feature(*train, eps=eps, rng=rng)
    (slope,), bias = linear(train[0] @ weights[:, None], train[1])
    right = np.where(slope * (test[0] @ weights) + bias > 0, 1, -1) == test[1]
    return float(right.mean()), float(2 * beta * abs(weights[0]))


def images(beta: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Images (n, SIDE * SIDE) of the task in random order, and their labels, as many of -1 as of 1."""
    labels = rng.permutation(np.repeat([-1.0, 1.0], _IMAGES // 2))
    pixels = np.zeros((_IMAGES, SIDE * SIDE))
    pixels[:, 0] = beta * labels
    return pixels, labels


def feature(pixels: Array, labels: Array, *, eps: float, rng: np.random.Generator) -> Array:
    """Weights (d,) of a linear model that is trained against perturbations of norm eps (L2).

    Proximal gradient descent from small random weights: eps |w| has a kink at 0, and a shrinking of the norm is its
    exact step, so that weights which do not pay become 0 and not merely small.
    """
    weights = rng.normal(0, 0.01, pixels.shape[1])
    rate = 1 / (np.square(pixels).sum(1).max() / 4 + eps**2 / 4 + _DECAY)  # the inverse of the steepest curvature
    for _ in range(_STEPS):
        norm = float(np.linalg.norm(weights))
        push = _sigmoid(eps * norm - labels * (pixels @ weights))  # how much each image still asks for
        weights = weights * (1 - rate * _DECAY) + rate * (push * labels) @ pixels / len(labels)
        norm = float(np.linalg.norm(weights))
        shrunk = rate * eps * float(push.mean())
        weights = weights * max(0.0, 1 - shrunk / norm) if norm else weights
    return weights


def linear(features: Array, labels: Array) -> tuple[Array, float]:
    """A head in the usual way: logistic regression on standardised features, by gradient descent; (weights, bias)."""
    spread = features.std(0)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
    mean, found = features.mean(0), np.zeros(features.shape[1] + 1)
    inputs = np.concatenate([(features - mean) * scale, np.ones((len(features), 1))], axis=1)
    for _ in range(100):
        found += inputs.T @ (_sigmoid(-labels * (inputs @ found)) * labels) / len(labels)
    weights = found[:-1] * scale
    return weights, float(found[-1] - weights @ mean)


def _sigmoid(values: Any) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return found
