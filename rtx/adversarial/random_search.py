"""A search that asks for no gradient, as a check of those that do: where it does more harm, gradients are masked.

Square windows of the perturbation are drawn anew and kept where they do more harm, on the surface of the ball: the idea
of the Square attack (Andriushchenko et al., 2020) without its schedules, for losses of any kind. It is weaker than
Square, so that what it finds counts, and what it does not find proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rtx.adversarial.attack import Objective, Perturbed
from rtx.adversarial.threat import L2, Threat, clip

_FIRST_SHARE = 0.5  # of the image's area that the first windows cover; it falls to a pixel


def random_search(
    objective: Objective, images: Tensor, seeds: Sequence[int], *, threat: Threat, queries: int
) -> Perturbed:
    """The worst of `queries` perturbations of each image.

    Args:
        objective: see `rtx.adversarial.attack.Objective`; only its harm is asked for.
        images: (N, C, H, W) in [0, 1].
        seeds: one for each image; no image depends on the others.
        threat: the ball.
        queries: how often the network is asked.
    """
    # Another stream than that of the starts of `rtx.adversarial.attack.Attack`.
    draws = [torch.Generator().manual_seed((int(seed) * 1_000_003 + 999_983) % 2**63) for seed in seeds]
    worst, harm = torch.zeros_like(images), images.new_full((len(images),), -torch.inf)
    with torch.no_grad():
        for n in range(queries):
            share = _FIRST_SHARE * (1 - n / queries) ** 2 if n else 1.0
            rows = [_redrawn(delta, share, draw, threat) for delta, draw in zip(worst.cpu(), draws, strict=True)]
            delta = clip(images, torch.stack(rows).to(images), threat)
            found = objective(images + delta, 1.0)[1].to(harm)
            better = found > harm
            worst = torch.where(better.view(-1, 1, 1, 1), delta, worst)
            harm = torch.where(better, found, harm)
    flat = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    return Perturbed((images + worst).clamp(0, 1), harm, flat)


def _redrawn(delta: Tensor, share: float, draw: torch.Generator, threat: Threat) -> Tensor:
    """A perturbation (C, H, W) with a square window of that share of its area drawn anew, of norm eps."""
    channels, height, width = delta.shape
    side = max(1, round((share * height * width) ** 0.5))
    tall, wide = min(side, height), min(side, width)
    if share == 1.0:
        tall, wide = height, width
    top, left = (int(torch.randint(0, most + 1, (), generator=draw)) for most in (height - tall, width - wide))
    window = (slice(None), slice(top, top + tall), slice(left, left + wide))
    new = delta.clone()
    if isinstance(threat, L2):
        new[window] += threat.eps * _unit(torch.randn(channels, tall, wide, generator=draw))
        return threat.eps * _unit(new)
    # One sign for each column at first, for each channel of a window later, as in Square.
    shape = (channels, 1, wide) if share == 1.0 else (channels, 1, 1)
    new[window] = threat.eps * (2.0 * torch.randint(0, 2, shape, generator=draw) - 1)
    return new


def _unit(delta: Tensor) -> Tensor:
    unit: Tensor = delta / delta.norm().clamp_min(1e-30)
    return unit
