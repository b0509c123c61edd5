"""rtx's attacks beside those of adv-lib, and pyautoattack behind rtx's door; both packages are optional."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from rtx.adversarial.attack import Attack, frozen
from rtx.adversarial.losses import classified
from rtx.adversarial.threat import L2, Linf, Threat
from rtx.errors import BadValue, MissingDependency

CLASSES, IMAGES = 6, 400
BALLS: list[Threat] = [Linf(4 / 255), L2(0.2)]


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
    """A small network that has learnt noisy patterns, images that it has not seen, and their labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        patterns = torch.rand(CLASSES, 3, 12, 12)

        def drawn(count: int) -> tuple[Tensor, Tensor]:
            labels = torch.arange(count) % CLASSES
            return (0.5 + 0.12 * (patterns[labels] - 0.5) + 0.1 * torch.randn(count, 3, 12, 12)).clamp(0, 1), labels

        net = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(144, CLASSES),
        )  # fmt: skip
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(150):
            images, labels = drawn(96)
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimiser.step()
        images, labels = drawn(IMAGES)
    yield net.eval(), images, labels


def robust(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images that are still right."""
    with torch.no_grad():
        return float((net(images).argmax(1) == labels).float().mean())


def ours(world: tuple[nn.Module, Tensor, Tensor], attack: Attack, loss: str) -> float:
    net, images, labels = world
    with frozen(net):
        found = attack(lambda x, done: classified(loss, net(x), labels), images, range(IMAGES)).images
    return robust(net, found, labels)


@pytest.fixture
def adv_lib(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if "visdom" not in sys.modules:  # which adv-lib imports for plots alone
        monkeypatch.setitem(sys.modules, "visdom", ModuleType("visdom"))
    return pytest.importorskip("adv_lib.attacks", reason="needs the package adv-lib, which no extra installs")


@pytest.mark.parametrize("loss", ["ce", "dlr"])
@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_apgd_is_as_strong_as_adv_libs_at_the_same_budget(world, adv_lib: ModuleType, ball: Threat, loss: str) -> None:
    net, images, labels = world
    norm = float("inf") if isinstance(ball, Linf) else 2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = adv_lib.apgd(net, images, labels, eps=ball.eps, norm=norm, n_iter=20, loss_function=loss)
    mine = ours(world, Attack(threat=ball, method="apgd", steps=20), loss)
    assert 0.1 < mine < 0.9 < robust(net, images, labels), "the case tells attacks apart"
    assert mine == pytest.approx(robust(net, theirs, labels), abs=0.01)


def test_pgd_is_as_strong_as_adv_libs_at_the_same_budget(world, adv_lib: ModuleType) -> None:
    net, images, labels = world
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = adv_lib.pgd_linf(net, images, labels, BALLS[0].eps, steps=20, relative_step_size=2.5 / 20)
    mine = ours(world, Attack(threat=BALLS[0], steps=20, step=2.5), "ce")
    assert 0.1 < mine < 0.9
    assert mine == pytest.approx(robust(net, theirs, labels), abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("ball", [Linf(4 / 255), L2(0.6)], ids=repr)
def test_autoattack_is_at_least_as_strong_and_each_image_is_searched_by_itself(world, ball: Threat) -> None:
    pytest.importorskip("pyautoattack", reason="needs the extra autoattack")
    from rtx.adversarial.autoattack import autoattack

    net = nn.Sequential(nn.AvgPool2d(3), world[0])
    images, labels = world[1][:6].repeat_interleave(3, 2).repeat_interleave(3, 3), world[2][:6]
    seeds = list(range(6))
    state = torch.random.get_rng_state()
    with frozen(net):
        together = autoattack(net, images, labels, seeds, threat=ball).images
        apart = autoattack(net, images[4:], labels[4:], seeds[4:], threat=ball).images
        weaker = Attack(threat=ball, steps=20)(lambda x, done: classified("ce", net(x), labels), images, seeds).images
    assert torch.equal(state, torch.random.get_rng_state()), "the caller's generator is as before"
    assert torch.equal(together[4:], apart)
    assert (ball.norm(together - images) <= ball.eps + 1e-6).all()
    assert robust(net, together, labels) <= robust(net, weaker, labels) < 1


@pytest.mark.parametrize(
    ("classes", "size", "ball", "says"),
    [(3, 32, Linf(0.1), "four classes"), (4, 24, L2(1), "square ones of 25 pixels")],
)
def test_what_the_package_cannot_do_is_refused(classes: int, size: int, ball: Threat, says: str) -> None:
    pytest.importorskip("pyautoattack", reason="needs the extra autoattack")
    from rtx.adversarial.autoattack import autoattack

    with pytest.raises(BadValue, match=says):
        autoattack(lambda x: x.mean((2, 3)).repeat(1, 2)[:, :classes], torch.rand(1, 3, size, size),
                   torch.zeros(1, dtype=torch.long), [0], threat=ball)  # fmt: skip


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from rtx.adversarial.autoattack import package

    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(MissingDependency, match=r"pip install 'rtx-robustness\[autoattack\]'"):
        package()
