"""A search without gradients: within the threat, each image by itself, and stronger where gradients are masked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rtx.adversarial.attack import Attack, frozen
from rtx.adversarial.losses import margin
from rtx.adversarial.random_search import random_search
from rtx.adversarial.threat import L2, Linf, Threat

BALLS: list[Threat] = [Linf(16 / 255), L2(1.5)]
SEEDS = [3, 4, 5, 6, 7, 8]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5))
    return net.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(1))


def harm_of(net: nn.Module, images: Tensor, rows: slice = slice(None)):
    labels = net(images).argmax(1)[rows]

    def raised(pixels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        loss = margin(net(pixels), labels)  # the harm itself, so that no other loss leads elsewhere
        return loss, loss.detach()

    return raised


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_it_stays_within_ball_and_range_and_no_image_depends_on_others(network, images, ball: Threat) -> None:
    found = random_search(harm_of(network, images), images, SEEDS, threat=ball, queries=30)
    assert (ball.norm(found.images - images) <= ball.eps + 1e-6).all()
    assert 0 <= found.images.min() and found.images.max() <= 1
    alone = random_search(harm_of(network, images, slice(2, 3)), images[2:3], SEEDS[2:3], threat=ball, queries=30)
    torch.testing.assert_close(alone.images[0], found.images[2], atol=1e-6, rtol=0)
    torch.testing.assert_close(harm_of(network, images)(found.images, 1.0)[1], found.harm)


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_more_queries_never_help_the_model(network, images, ball: Threat) -> None:
    rows = [random_search(harm_of(network, images), images, SEEDS, threat=ball, queries=n).harm for n in (1, 40)]
    assert (rows[1] >= rows[0] - 1e-6).all() and (rows[1] > rows[0]).any()


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_gradients_do_more_harm_unless_they_are_masked(network, images, ball: Threat) -> None:
    aim = harm_of(network, images)

    def masked(pixels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        """The same network behind 8 grey levels, of which the gradient is one of the mean colour alone."""
        seen = torch.round(pixels * 7) / 7 + 1e-6 * (pixels - pixels.detach()).mean((2, 3), keepdim=True)
        return aim(seen, done)

    for objective, beaten in ((aim, False), (masked, True)):
        with frozen(network):
            white = Attack(threat=ball, steps=10, random_start=False)(objective, images, SEEDS).harm
            black = random_search(objective, images, SEEDS, threat=ball, queries=150).harm
        assert bool((black > white).any()) is beaten
