"""L-BFGS over many independent problems at once, each with its own step length, none waiting for another.

Source: Nocedal & Wright, Numerical Optimization (2006), algorithm 7.5, with backtracking under the Armijo condition.
The problems are strictly convex here, so that s'y > 0 and no Wolfe search is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
_ARMIJO, _SHORTEST = 1e-4, 1e-12


@dataclass(frozen=True)
class Minimum:
    """Where the problems ended.

    Attributes:
        x: (S, J, M) the minimisers.
        converged: (S, J) whether the gradient fell to the tolerance.
        evaluations: batched evaluations of loss and gradient.
    """

    x: Tensor
    converged: Tensor
    evaluations: int


def minimise(
    evaluate: Evaluate,
    x: Tensor,
    *,
    tolerance: Tensor,
    max_evaluations: int,
    noise: float = 1e-14,
    history: int = 10,
) -> Minimum:
    """Minimise S x J problems of M unknowns.

    Args:
        evaluate: `evaluate(x, columns)` with x (S, j, M) and columns (j,), those of the J that are still worked on,
            gives losses (S, j) and gradients (S, j, M).
        x: (S, J, M) float64, the start.
        tolerance: (J,), a problem is done when no entry of its gradient is larger.
        max_evaluations: an end for those that never are.
        noise: relative rounding error of a loss; a rise within it is none.
        history: pairs of step and change of gradient that are remembered.
    """
    end = x.clone()
    columns = torch.arange(x.shape[1], device=x.device)
    loss, gradient = evaluate(x, columns)
    direction, step = -gradient, torch.ones_like(loss)
    done = converged = _largest(gradient) <= tolerance
    pairs = _Pairs(x, history)
    finished = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
    evaluations = 1
    while True:
        over = evaluations >= max_evaluations
        keep = ~done.all(0)
        if over or int(keep.sum()) <= 0.8 * len(columns):
            end[:, columns], finished[:, columns] = x, converged
            if over or not bool(keep.any()):
                return Minimum(end, finished, evaluations)
            columns = columns[keep]
            tolerance = tolerance[keep]
            x, loss, gradient, direction, step, done, converged = (
                part[:, keep] for part in (x, loss, gradient, direction, step, done, converged)
            )
            pairs.keep(keep)
        slope = (gradient * direction).sum(-1)
        new_loss, new_gradient = evaluate(x + step[..., None] * direction, columns)
        evaluations += 1
        rise = new_loss - loss
        taken = (rise <= _ARMIJO * step * slope + noise * loss.abs()) & ~done
        # What is not taken leaves an empty pair, which changes no direction.
        s = torch.where(taken, step, 0.0)[..., None] * direction
        y = torch.where(taken[..., None], new_gradient - gradient, 0.0)
        x = x + s
        loss, gradient = torch.where(taken, new_loss, loss), gradient + y
        pairs.add(s, y)
        parabola = -slope * step * step / (2 * (rise - slope * step))
        shorter = torch.where(parabola.isfinite(), parabola, 0.0).clamp(min=0.1 * step, max=0.5 * step)
        direction = torch.where(taken[..., None], pairs.direction(gradient), direction)
        uphill = (gradient * direction).sum(-1) >= 0
        direction = torch.where(uphill[..., None], -gradient, direction)
        step = torch.where(taken, 1.0, shorter)
        converged = converged | (_largest(gradient) <= tolerance)
        done = converged | (step < _SHORTEST)


def _largest(gradient: Tensor) -> Tensor:
    return gradient.abs().amax(-1)


class _Pairs:
    """The last steps s and changes of the gradient y, and the direction that they give.

    In compact form (Byrd, Nocedal & Schnabel, 1994, theorem 2.2), H = c I + [S cY] M [S cY]': two products with the
    whole history instead of four passes for each pair. It lies in float32: a direction need not be exact.
    """

    def __init__(self, x: Tensor, history: int) -> None:
        self.both = x.new_zeros(*x.shape[:2], 2, history, x.shape[2], dtype=torch.float32)  # s, then y
        self.products = x.new_zeros(*x.shape[:2], 2, history, history)  # S'Y, then Y'Y
        self.scale = x.new_ones(x.shape[:2])
        self.count = 0

    def keep(self, columns: Tensor) -> None:
        self.both, self.products, self.scale = (p[:, columns] for p in (self.both, self.products, self.scale))

    def add(self, s: Tensor, y: Tensor) -> None:
        slot = self.count % self.both.shape[3]
        self.count += 1
        self.both[:, :, 0, slot], self.both[:, :, 1, slot] = s, y
        flat = self.both.flatten(2, 3)  # (S, J, 2 history, M)
        with_y = (flat @ self.both[:, :, 1, slot, :, None])[..., 0].double().unflatten(2, (2, -1))
        self.products[..., :, slot] = with_y
        self.products[:, :, 1, slot] = with_y[:, :, 1]
        self.products[:, :, 0, slot] = (self.both[:, :, 1] @ self.both[:, :, 0, slot, :, None])[..., 0].double()
        product, square = with_y[:, :, 0, slot], with_y[:, :, 1, slot]
        self.scale = torch.where(product > 0, product / square, self.scale)

    def direction(self, gradient: Tensor) -> Tensor:
        history = self.both.shape[3]
        flat = self.both.flatten(2, 3)
        found = (flat @ gradient.float()[..., None])[..., 0].double()
        by_s, by_y = found[..., :history], found[..., history:]
        # The oldest first; an empty pair gets a 1 on the diagonal, so that the triangle can be solved.
        order = (torch.arange(history, device=gradient.device) + self.count) % history
        s_y = self.products[:, :, 0][..., order, :][..., order]
        y_y = self.products[:, :, 1][..., order, :][..., order]
        by_s, by_y = by_s[..., order, None], by_y[..., order, None]
        diagonal = s_y.diagonal(dim1=-2, dim2=-1)
        triangle = s_y.triu() + torch.diag_embed((diagonal <= 0).double())
        c = self.scale[..., None, None]
        inner = torch.linalg.solve_triangular(triangle, by_s, upper=True)
        middle = diagonal[..., None] * inner + c * (y_y @ inner) - c * by_y
        of_s = torch.linalg.solve_triangular(triangle.mT, middle, upper=False)
        weights = torch.empty_like(found)
        weights[..., order], weights[..., history + order] = of_s[..., 0], -(c * inner)[..., 0]
        return -(c[..., 0] * gradient + (weights.float()[..., None, :] @ flat)[..., 0, :].double())
