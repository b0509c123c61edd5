"""Threats: which perturbations of an image are allowed. Pixels lie in [0, 1], before any normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rtx.errors import BadValue, unknown_name
from rtx.types import Condition

_UNITS = {"l2": 1.0, "linf": 255.0}  # of eps in a condition: the pixel range, or 255ths of it


@dataclass(frozen=True)
class L2:
    """Perturbations whose Euclidean norm over all pixels and channels of an image is at most eps.

    Attributes:
        eps: in units of the pixel range, e.g. 3.0 (Salman et al., 2020). It may exceed 1, since it is a norm over
            many pixels; an image has no perturbation larger than the root of its number of values.

    Raises:
        BadValue: eps is not above 0 or not finite.
    """

    eps: float

    def __post_init__(self) -> None:
        """Refuse an empty ball."""
        if not 0 < self.eps < math.inf:
            raise BadValue(f"eps {self.eps} of an L2 threat: must be above 0, e.g. 0.5 or 3 (pixels in [0, 1])")

    def norm(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, (N, ...) -> (N,)."""
        size: Tensor = delta.flatten(1).norm(dim=1)
        return size

    def project(self, delta: Tensor) -> Tensor:
        """The nearest allowed perturbation to each."""
        return delta * (self.eps / self.norm(delta).clamp_min(1e-30)).clamp_max(1).view(-1, *[1] * (delta.ndim - 1))

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of norm 1 in which a loss with this gradient rises most; 0 where the gradient is 0."""
        return gradient / self.norm(gradient).clamp_min(1e-30).view(-1, *[1] * (gradient.ndim - 1))

    def random(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """One perturbation, drawn uniformly from the ball; float32 of `shape` on the CPU."""
        direction = torch.randn(*shape, generator=generator)
        radius = self.eps * torch.rand((), generator=generator) ** (1 / direction.numel())
        delta: Tensor = direction * (radius / direction.norm().clamp_min(1e-30))
        return delta


@dataclass(frozen=True)
class Linf:
    """Perturbations that change no value by more than eps.

    Attributes:
        eps: in units of the pixel range, e.g. 4 / 255.

    Raises:
        BadValue: eps is not in (0, 1].
    """

    eps: float

    def __post_init__(self) -> None:
        """Refuse an empty ball, and one that holds every image."""
        if not 0 < self.eps <= 1:
            raise BadValue(
                f"eps {self.eps} of a Linf threat: must be above 0 and at most 1 (pixels in [0, 1]: 4 / 255)"
            )

    def norm(self, delta: Tensor) -> Tensor:
        """Norm of each perturbation, (N, ...) -> (N,)."""
        return delta.flatten(1).abs().amax(dim=1)

    def project(self, delta: Tensor) -> Tensor:
        """The nearest allowed perturbation to each."""
        return delta.clamp(-self.eps, self.eps)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of norm 1 in which a loss with this gradient rises most; 0 where the gradient is 0."""
        return gradient.sign()

    def random(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """One perturbation, drawn uniformly from the ball; float32 of `shape` on the CPU."""
        return self.eps * (2 * torch.rand(*shape, generator=generator) - 1)


Threat = L2 | Linf
THREATS: dict[str, type[L2] | type[Linf]] = {"l2": L2, "linf": Linf}


def threat(name: str, eps: float) -> Threat:
    """The threat of that name.

    Raises:
        UnknownName: there is none.
        BadValue: eps is out of range.

    Example:
        >>> threat("l2", 0.5)
        L2(eps=0.5)
    """
    if name not in THREATS:
        raise unknown_name("threat", name, place="rtx.adversarial.threat.THREATS", choices=tuple(THREATS))
    return THREATS[name](eps)


def threat_of(condition: Condition) -> Threat:
    """The threat of a condition, whose eps is in the unit of `rtx.types.THREATS`.

    Raises:
        BadValue: its eps is out of range, or it is no attack.

    Example:
        >>> threat_of(Condition("linf", 51))
        Linf(eps=0.2)
    """
    unit = _UNITS.get(condition.corruption, 1.0)
    if condition.corruption == "linf" and condition.severity > unit:
        raise BadValue(f"eps {condition.severity:g} of 'linf': is in 255ths of the pixel range, so at most 255; e.g. 4")
    return threat(condition.corruption, condition.severity / unit)


def clip(images: Tensor, delta: Tensor, ball: Threat) -> Tensor:
    """Perturbations brought into the ball and the perturbed images into [0, 1].

    Clipping to the pixel range after the projection does not leave the ball: the images lie in the range themselves,
    so that no coordinate of a perturbation grows.
    """
    return (images + ball.project(delta)).clamp(0, 1) - images
