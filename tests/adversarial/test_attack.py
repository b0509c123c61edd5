"""Laws of the attacks, on networks small enough to see through."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from rtx.adversarial.attack import Attack, frozen
from rtx.adversarial.losses import classified
from rtx.adversarial.threat import L2, Linf
from rtx.errors import BadValue, UnknownName

BALLS = [L2(0.5), Linf(8 / 255)]
METHODS = ["pgd", "apgd"]
SEEDS = [11, 12, 13, 14, 15, 16, 17, 18]


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)
        )
        net(torch.rand(64, 3, 12, 12))  # running statistics of their own
    return net


@pytest.fixture(scope="module")
def images():
    return torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def objective(network, images):
    """Raises the loss of the classes that the network sees in the clean images."""
    with frozen(network), torch.no_grad():
        labels = network(images).argmax(dim=1)
    known = {tuple(image.flatten()[:5].tolist()): label for image, label in zip(images, labels, strict=True)}
    assert len(known) == 8
    return lambda pixels, done: classified("ce", network(pixels), labels[: len(pixels)])


def attacked(network, objective, images, attack, seeds=SEEDS):
    with frozen(network):
        return attack(objective, images, seeds[: len(images)]).images


@pytest.mark.parametrize("ball", BALLS, ids=repr)
@pytest.mark.parametrize("method", METHODS)
def test_never_a_pixel_outside_ball_and_range(network, objective, images, ball, method):
    for random_start in (True, False):
        attack = Attack(threat=ball, method=method, steps=7, random_start=random_start)
        found = attacked(network, objective, images, attack)
        assert (ball.norm(found - images) <= ball.eps + 1e-6).all()
        assert 0 <= found.min()
        assert found.max() <= 1


@pytest.mark.parametrize("ball", BALLS, ids=repr)
@pytest.mark.parametrize("method", METHODS)
def test_the_loss_rises_and_a_worst_is_never_less_harmful_than_its_start(network, objective, images, ball, method):
    with frozen(network):
        before, _ = objective(images, 0.0)
        found = Attack(threat=ball, method=method, steps=10, random_start=False)(objective, images, SEEDS)
        after, _ = objective(found.images, 1.0)
    assert (after > before).all()


@pytest.mark.parametrize("step", [0.5, 2.5])
def test_one_linf_step_on_a_linear_loss_is_a_signed_step(step):
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(2))
    images = torch.full((2, 3, 4, 4), 0.5)
    attack = Attack(threat=Linf(0.1), steps=1, step=step, random_start=False)
    found = attack(lambda x, done: ((x * weight).flatten(1).sum(dim=1),) * 2, images, [0, 0])
    torch.testing.assert_close(found.images, images + min(attack.size, 0.1) * weight.sign())


def test_an_l2_step_has_the_length_of_the_step_and_more_of_them_reach_the_boundary():
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(2))
    images = torch.full((1, 3, 4, 4), 0.5)

    def linear(pixels, done):
        return ((pixels * weight).flatten(1).sum(dim=1),) * 2

    for steps, step, length in ((1, 0.5, 0.15), (4, 2.5, 0.3), (10, 0.9, 0.27)):
        attack = Attack(threat=L2(0.3), steps=steps, step=step, random_start=False)
        found = attack(linear, images, [0])
        assert float((found.images - images).norm()) == pytest.approx(length, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_no_image_depends_on_the_others_of_its_batch(network, images, method, momentum):
    with frozen(network), torch.no_grad():
        labels = network(images).argmax(dim=1)
    attack = Attack(threat=Linf(8 / 255), method=method, steps=6, restarts=2, momentum=momentum)
    with frozen(network):
        together = attack(lambda x, done: classified("ce", network(x), labels), images, SEEDS)
        for n, image in enumerate(images):
            alone = attack(
                lambda x, done, n=n: classified("ce", network(x), labels[n : n + 1]), image[None], [SEEDS[n]]
            )
            torch.testing.assert_close(alone.images[0], together.images[n], atol=1e-5, rtol=0)


def test_a_start_depends_on_seed_and_restart_alone(network, objective, images):
    attack = Attack(threat=L2(0.5), steps=1)
    first, second = (attacked(network, objective, images, attack) for _ in range(2))
    assert torch.equal(first, second)
    other = attacked(network, objective, images, attack, seeds=[s + 1 for s in SEEDS])
    assert not torch.equal(first, other)


def test_of_several_restarts_the_worst_is_kept_for_each_image(network, objective, images):
    with frozen(network):
        one, three = (
            objective(Attack(threat=Linf(2 / 255), steps=2, restarts=n)(objective, images, SEEDS).images, 1.0)[1]
            for n in (1, 3)
        )
    assert (three >= one - 1e-6).all()
    assert (three > one).any()


def test_the_last_of_one_restart_costs_as_many_passes_as_steps(network, images):
    calls = []

    def counted(pixels, done):
        calls.append(done)
        return classified("ce", network(pixels), torch.zeros(len(pixels), dtype=torch.long))

    for keep, passes in (("last", 4), ("worst", 5)):
        calls.clear()
        attacked(network, counted, images, Attack(threat=L2(0.5), steps=4, keep=keep))
        assert len(calls) == passes


@pytest.mark.parametrize("method", METHODS)
def test_statistics_modes_and_gradients_of_the_network_are_as_before(network, objective, images, method):
    network.train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        attacked(network, objective, images, Attack(threat=L2(0.5), method=method, steps=3))
        assert modes == [module.training for module in network.modules()]
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        assert all(weight.grad is None for weight in network.parameters())
        assert [weight.requires_grad for weight in network.parameters()] == [False] + [True] * 5
    finally:
        network[0].weight.requires_grad_()
        network.eval()


def test_a_network_comes_back_from_an_error_as_it_was(network):
    network.train()
    with pytest.raises(RuntimeError), frozen(network):
        raise RuntimeError
    assert network[1].training
    assert network[0].weight.requires_grad
    network.eval()


@pytest.mark.parametrize("ball", BALLS, ids=repr)
@pytest.mark.parametrize("method", METHODS)
def test_more_steps_never_help_the_model(network, objective, images, ball, method):
    with frozen(network):
        harms = [
            Attack(threat=ball, method=method, steps=n)(objective, images, SEEDS).harm.mean() for n in (1, 3, 10, 40)
        ]
    assert all(more >= less - 0.02 * abs(less) for less, more in pairwise(harms)), harms
    assert harms[-1] > harms[0]


@pytest.mark.parametrize("method", METHODS)
def test_apgd_and_pgd_break_what_a_random_perturbation_does_not(network, objective, images, method):
    ball = Linf(8 / 255)
    with frozen(network):
        _, harm = objective(Attack(threat=ball, method=method, steps=20)(objective, images, SEEDS).images, 1.0)
        noise = torch.stack([ball.random(images.shape[1:], torch.Generator().manual_seed(s)) for s in SEEDS])
        _, by_chance = objective((images + noise).clamp(0, 1), 1.0)
    assert (harm > by_chance).all()


def test_a_loss_without_a_gradient_to_the_pixels_is_no_sign_of_strength(images):
    attack = Attack(threat=L2(0.5), steps=2)
    head = nn.Linear(3 * 12 * 12, 5)
    labels = torch.zeros(8, dtype=torch.long)
    with pytest.raises(BadValue, match="no gradient to the pixels"):
        attack(lambda x, done: classified("ce", head(x.detach().flatten(1)), labels), images, SEEDS)
    with pytest.raises(BadValue, match="no gradient to the pixels"), frozen(head):
        attack(lambda x, done: classified("ce", head(x.detach().flatten(1)), labels), images, SEEDS)


def test_images_whose_gradient_is_zero_in_every_step_are_told(images):
    head = nn.Linear(3 * 12 * 12, 5)
    labels = torch.zeros(8, dtype=torch.long)
    some = torch.tensor([1.0, 0, 1, 0, 1, 1, 1, 1])[:, None]
    with frozen(head):
        found = Attack(threat=L2(0.5), steps=2)(
            lambda x, done: classified("ce", head(x.flatten(1) * some), labels), images, SEEDS
        )
    assert found.flat.tolist() == [False, True, False, True, False, False, False, False]


def test_a_loss_that_is_no_number_names_its_image(images):
    def broken(pixels, done):
        loss = pixels.flatten(1).sum(dim=1) * torch.tensor([1, 1, float("nan"), 1, 1, 1, 1, 1])
        return loss, loss.detach()

    with pytest.raises(BadValue, match=r"image c: the loss under attack is nan"):
        Attack(threat=L2(0.5), steps=2)(broken, images, SEEDS, "abcdefgh")


@pytest.mark.parametrize(
    "wrong",
    [dict(steps=0), dict(restarts=0), dict(step=0.0), dict(momentum=1.0), dict(restarts=2, random_start=False)],
    ids=str,
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(BadValue):
        Attack(threat=L2(1), **wrong)


@pytest.mark.parametrize("wrong", [dict(method="fgsm"), dict(keep="first")], ids=str)
def test_unknown_names_are_refused(wrong):
    with pytest.raises(UnknownName):
        Attack(threat=L2(1), **wrong)


def test_pixels_that_are_normalised_or_bytes_are_refused(images):
    for wrong in (images * 255, images - 0.5, (images * 255).to(torch.uint8), images[0]):
        with pytest.raises(BadValue, match="images"):
            Attack(threat=L2(1), steps=1)(lambda x, done: (x.flatten(1).sum(1),) * 2, wrong, SEEDS)
