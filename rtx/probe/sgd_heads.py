"""Linear heads by SGD with the papers' schedules, one for each seed, all seeds in one product a step.

The features are those of the test preprocessing: what the papers' random crops and flips add is not part of it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtx.errors import BadValue, unknown_name
from rtx.transfer.classify import HEAD_INITS
from rtx.transfer.recipes import Recipe, Schedule

BUDGET = 1 << 30


def train_heads(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    subsets: NDArray[np.int64],
    seeds: list[int],
    *,
    classes: int,
    recipe: Recipe,
    schedule: Schedule,
    head_init: str = "default",
    device: str = "cpu",
    budget: int = BUDGET,
) -> tuple[Tensor, Tensor]:
    """Train a head on each subset: cross-entropy, SGD with momentum, and decay of weights and biases as in PyTorch.

    A seed decides the start and the order of the images, whatever other seeds run with it. The last batch of an epoch
    may be smaller.

    Args:
        features: (N, D), an array or memory map; subsets that fit `budget` bytes are read once.
        labels: (N,) in 0 ... classes - 1.
        subsets: (S, n).
        seeds: S whole numbers.
        classes: outputs of a head.
        recipe: learning rate, batch size, momentum, weight decay.
        schedule: epochs, and after which of them the rate falls to a tenth.
        head_init: "default", as PyTorch's linear layer; or "utrera", weights from N(0, 1) and biases 0.
        device: "cpu" or "cuda".
        budget: bytes of features in memory.

    Returns:
        Weights (S, K, D) and biases (S, K), float32.

    Raises:
        UnknownName: no such start.
        BadValue: a loss that is not finite: the learning rate is too high for these features.

    Example:
        >>> from rtx.transfer.recipes import RECIPES
        >>> x, y = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])
        >>> rows, schedule = np.array([[0, 1, 2, 3]]), Schedule(60, (), 60)
        >>> w, b = train_heads(x, y, rows, [0], classes=2, recipe=RECIPES["utrera"], schedule=schedule)
        >>> (w[0] @ torch.from_numpy(x).T + b[0][:, None]).argmax(0).tolist()
        [0, 1, 0, 1]
    """
    if head_init not in HEAD_INITS:
        raise unknown_name("head init", head_init, place="rtx/transfer/classify.py", choices=HEAD_INITS)
    (count, n), width = subsets.shape, features.shape[1]
    at_once = max(1, min(count, budget // (4 * n * width)))
    streamed = 4 * n * width > budget
    parts = []
    for first in range(0, count, at_once):
        rows = subsets[first : first + at_once]
        held = None if streamed else torch.from_numpy(np.ascontiguousarray(features[rows])).to(device)
        group = _Group(features, rows, held, torch.from_numpy(labels[rows]).to(device), device)
        parts.append(group.train(seeds[first : first + at_once], classes, recipe, schedule, head_init))
    weight, bias = (torch.cat(found) for found in zip(*parts, strict=True))
    return weight, bias


class _Group:
    """Subsets that are trained together."""

    def __init__(
        self,
        features: NDArray[np.float32],
        rows: NDArray[np.int64],
        held: Tensor | None,
        labels: Tensor,
        device: str,
    ) -> None:
        self.features, self.rows, self.held, self.labels, self.device = features, rows, held, labels, device

    def batch(self, order: Tensor) -> Tensor:
        """(S, b, D) of the positions (S, b) in the subsets."""
        if self.held is not None:
            return torch.gather(self.held, 1, order[..., None].expand(-1, -1, self.held.shape[2]))
        places = np.take_along_axis(self.rows, order.cpu().numpy(), 1)
        return torch.from_numpy(np.ascontiguousarray(self.features[places])).to(self.device)

    def train(
        self, seeds: list[int], classes: int, recipe: Recipe, schedule: Schedule, head_init: str
    ) -> tuple[Tensor, Tensor]:
        width, n = self.features.shape[1], self.rows.shape[1]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        starts = [_start(classes, width, head_init, generator) for generator in generators]
        theta = torch.stack(starts).to(self.device)  # (S, K, D + 1), the last column is the bias
        velocity = torch.zeros_like(theta)
        for epoch in range(schedule.epochs):
            rate = recipe.lr * 0.1 ** sum(epoch >= drop for drop in schedule.drops)
            order = torch.stack([torch.randperm(n, generator=generator) for generator in generators]).to(self.device)
            for start in range(0, n, recipe.batch_size):
                chosen = order[:, start : start + recipe.batch_size]
                x, y = self.batch(chosen), self.labels.gather(1, chosen)
                logits = torch.baddbmm(theta[:, None, :, -1], x, theta[..., :-1].mT)
                residual = logits.softmax(-1)
                residual.scatter_add_(-1, y[..., None], -torch.ones_like(y[..., None], dtype=residual.dtype))
                residual /= chosen.shape[1]
                gradient = torch.cat([residual.mT @ x, residual.sum(1)[..., None]], -1)
                velocity = recipe.momentum * velocity + gradient + recipe.weight_decay * theta
                theta = theta - rate * velocity
        bad = ~theta.isfinite().all(-1).all(-1)
        if bool(bad.any()):
            raise BadValue(
                f"SGD at a learning rate of {recipe.lr} diverged for seed {seeds[int(bad.int().argmax())]}; "
                "take another recipe or the logistic head"
            )
        return theta[..., :-1], theta[..., -1]


def _start(classes: int, width: int, head_init: str, generator: torch.Generator) -> Tensor:
    if head_init == "utrera":
        return torch.cat([torch.randn(classes, width, generator=generator), torch.zeros(classes, 1)], 1)
    bound = width**-0.5
    return (torch.rand(classes, width + 1, generator=generator) * 2 - 1) * bound
