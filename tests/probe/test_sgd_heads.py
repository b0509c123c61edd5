"""SGD heads in a batch are the heads that PyTorch trains one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rtx.errors import BadValue, UnknownName
from rtx.probe import sgd_heads
from rtx.probe.sgd_heads import train_heads
from rtx.transfer.recipes import RECIPES, Recipe, Schedule
from tests.probe.worlds import blobs

RECIPE = Recipe("small", 0.05, (0.05,), 16, "salman", 9, 9)
SCHEDULE = Schedule(9, (3, 6), 9)


def by_torch(x: torch.Tensor, y: torch.Tensor, rows: torch.Tensor, seed: int, init: str) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(x.shape[1], 3)
    start = sgd_heads._start(3, x.shape[1], init, generator)
    head.weight.data, head.bias.data = start[:, :-1].clone(), start[:, -1].clone()
    solver = torch.optim.SGD(head.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    plan = torch.optim.lr_scheduler.MultiStepLR(solver, [3, 6], gamma=0.1)
    for _ in range(9):
        order = torch.randperm(len(rows), generator=generator)
        for start_row in range(0, len(rows), 16):
            batch = rows[order[start_row : start_row + 16]]
            solver.zero_grad()
            nn.functional.cross_entropy(head(x[batch]), y[batch]).backward()
            solver.step()
        plan.step()
    return head


@pytest.mark.parametrize("init", ["default", "utrera"])
@pytest.mark.parametrize("budget", [1 << 30, 40 * 12 * 4, 100])
def test_equals_torch(init: str, budget: int) -> None:
    x, y = blobs(60, 12, 3)
    subsets = np.stack([np.random.default_rng(seed).permutation(60)[:40] for seed in (5, 6)])
    weight, bias = train_heads(
        x, y, subsets, [5, 6], classes=3, recipe=RECIPE, schedule=SCHEDULE, head_init=init, budget=budget
    )
    for n, seed in enumerate((5, 6)):
        head = by_torch(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(subsets[n]), seed, init)
        torch.testing.assert_close(weight[n], head.weight.data, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(bias[n], head.bias.data, rtol=1e-4, atol=1e-4)


def test_starts() -> None:
    ours = sgd_heads._start(50, 400, "default", torch.Generator().manual_seed(0))
    theirs = float(nn.Linear(400, 50).weight.detach().std())
    assert float(ours.abs().max()) <= 400**-0.5 and float(ours.std()) == pytest.approx(theirs, rel=0.1)
    utrera = sgd_heads._start(50, 400, "utrera", torch.Generator().manual_seed(0))
    assert float(utrera[:, :-1].std()) == pytest.approx(1, rel=0.02) and not utrera[:, -1].any()


def test_bad_input() -> None:
    x, y = blobs(60, 12, 3)
    rows = np.arange(60)[None]
    with pytest.raises(UnknownName, match="'zeros'"):
        train_heads(x, y, rows, [0], classes=3, recipe=RECIPE, schedule=SCHEDULE, head_init="zeros")
    with pytest.raises(BadValue, match="diverged for seed 7"):
        train_heads(x * 1e30, y, rows, [7], classes=3, recipe=RECIPES["utrera"], schedule=SCHEDULE)
