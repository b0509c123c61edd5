"""Each problem of a batch ends at its own minimum, however many others run beside it."""

from __future__ import annotations

import torch
from torch import Tensor

from rtx.probe.lbfgs import minimise


def world(seed: int, problems: int = 6, unknowns: int = 8) -> tuple[Tensor, Tensor]:
    """Curvatures (1, J, M) over four decades, and minima."""
    rng = torch.Generator().manual_seed(seed)
    curvature = 10 ** (4 * torch.rand(1, problems, unknowns, generator=rng, dtype=torch.float64) - 2)
    return curvature, torch.randn(1, problems, unknowns, generator=rng, dtype=torch.float64)


def evaluate_on(curvature: Tensor, minimum: Tensor, calls: list[int]):
    def evaluate(x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """A quartic bowl, so that steps of length 1 can be too long."""
        calls.append(len(columns))
        away = x - minimum[:, columns]
        scaled = curvature[:, columns]
        return (scaled * away**2 / 2 + away**4).sum(-1), scaled * away + 4 * away**3

    return evaluate


def test_minima_and_less_work_for_fewer_problems() -> None:
    curvature, minimum = world(0)
    curvature[:, 0] = 1.0
    calls: list[int] = []
    tolerance = torch.full((6,), 1e-9, dtype=torch.float64)
    start = torch.zeros_like(minimum)
    found = minimise(evaluate_on(curvature, minimum, calls), start, tolerance=tolerance, max_evaluations=2000)
    assert bool(found.converged.all()) and found.evaluations == len(calls)
    assert float((curvature * (found.x - minimum)).abs().max()) < 1e-8
    assert min(calls) < 6, "those that are done are left out"
    alone = minimise(
        evaluate_on(curvature[:, 3:4], minimum[:, 3:4], []),
        start[:, 3:4],
        tolerance=tolerance[:1],
        max_evaluations=2000,
    )
    torch.testing.assert_close(alone.x, found.x[:, 3:4], rtol=0, atol=1e-7)


def test_the_start_can_be_the_end_and_a_limit_is_said() -> None:
    curvature, minimum = world(1)
    tolerance = torch.full((6,), 1e-9, dtype=torch.float64)
    calls: list[int] = []
    found = minimise(evaluate_on(curvature, minimum, calls), minimum, tolerance=tolerance, max_evaluations=9)
    assert bool(found.converged.all()) and len(calls) == 1
    short = minimise(
        evaluate_on(curvature, minimum, []), torch.zeros_like(minimum), tolerance=tolerance, max_evaluations=3
    )
    assert short.evaluations == 3 and not bool(short.converged.any())


def test_each_problem_has_its_own_tolerance() -> None:
    curvature, minimum = world(2)
    tolerance = torch.tensor([1e-1] * 3 + [1e-10] * 3, dtype=torch.float64)
    found = minimise(
        evaluate_on(curvature, minimum, []), torch.zeros_like(minimum), tolerance=tolerance, max_evaluations=2000
    )
    gradient = evaluate_on(curvature, minimum, [])(found.x, torch.arange(6))[1].abs().amax(-1)[0]
    assert bool((gradient <= tolerance).all()) and float(gradient[:3].max()) > 1e-6


def test_a_step_that_is_too_long_is_shortened() -> None:
    minimum = torch.tensor([[[3.0, -2.0], [500.0, 1.0]]], dtype=torch.float64)

    def steep(x: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        away = x - minimum[:, columns]
        length = (1 + away**2).sqrt()
        return (100 * length).sum(-1), 100 * away / length

    tolerance = torch.full((2,), 1e-8, dtype=torch.float64)
    found = minimise(steep, torch.zeros_like(minimum), tolerance=tolerance, max_evaluations=200)
    assert bool(found.converged.all())
    torch.testing.assert_close(found.x, minimum, rtol=0, atol=1e-9)
