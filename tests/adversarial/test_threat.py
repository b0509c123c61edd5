"""Laws of the allowed perturbations."""

import pytest
import torch

from rtx.adversarial.threat import L2, Linf, clip, threat
from rtx.errors import BadValue, UnknownName

BALLS = [L2(0.5), L2(3.0), Linf(4 / 255), Linf(0.25)]


@pytest.fixture
def deltas():
    return torch.randn(6, 3, 9, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_a_projection_lies_in_the_ball_and_stays_where_it_is(ball, deltas):
    once = ball.project(deltas)
    assert (ball.norm(once) <= ball.eps * (1 + 1e-6)).all()
    torch.testing.assert_close(ball.project(once), once)
    inside = once * 0.5
    torch.testing.assert_close(ball.project(inside), inside)


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_no_allowed_perturbation_is_nearer_than_the_projection(ball, deltas):
    best = (deltas - ball.project(deltas)).flatten(1).norm(dim=1)
    generator = torch.Generator().manual_seed(2)
    for _ in range(50):
        other = torch.stack([ball.random(deltas.shape[1:], generator) for _ in deltas])
        assert ((deltas - other).flatten(1).norm(dim=1) >= best - 1e-5).all()


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_the_steepest_direction_has_norm_one_and_no_other_rises_more(ball, deltas):
    direction = ball.steepest(deltas)
    torch.testing.assert_close(ball.norm(direction), torch.ones(6))
    rise = (direction * deltas).flatten(1).sum(dim=1)
    generator = torch.Generator().manual_seed(3)
    other = torch.stack([ball.random(deltas.shape[1:], generator) for _ in deltas])
    other /= ball.norm(other).view(-1, 1, 1, 1)
    assert (rise >= (other * deltas).flatten(1).sum(dim=1)).all()
    assert not ball.steepest(torch.zeros(2, 3, 4, 4)).any()


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_random_perturbations_fill_the_ball(ball):
    generator = torch.Generator().manual_seed(4)
    norms = torch.tensor([float(ball.norm(ball.random((3, 1, 1), generator)[None])) for _ in range(400)])
    assert norms.max() <= ball.eps * (1 + 1e-6)
    # Half of a ball of three dimensions lies outside of 0.794 of its radius.
    assert 0.4 < (norms > 0.5 ** (1 / 3) * ball.eps).float().mean() < 0.6


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_clipping_leaves_neither_the_ball_nor_the_pixel_range(ball, deltas):
    images = torch.rand(deltas.shape, generator=torch.Generator().manual_seed(5))
    delta = clip(images, 10 * deltas, ball)
    assert (ball.norm(delta) <= ball.eps * (1 + 1e-5)).all()
    assert (images + delta).min() >= 0
    assert (images + delta).max() <= 1


@pytest.mark.parametrize(("name", "eps"), [("l2", 0), ("l2", float("inf")), ("linf", 0), ("linf", 1.5), ("linf", -1)])
def test_an_empty_or_endless_ball_is_refused(name, eps):
    with pytest.raises(BadValue, match="eps"):
        threat(name, eps)


def test_an_unknown_threat_is_refused():
    with pytest.raises(UnknownName, match=r"'l1'.*linf|'l1'.*l2"):
        threat("l1", 1)
