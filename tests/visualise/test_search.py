"""Laws of the fake ReLU, of spectra and phases, and of the search."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from rtx.errors import BadValue, UnknownName
from rtx.visualise.layers import Layer, fake
from rtx.visualise.parametrisations import Fourier, Phase, coloured, falloff, mean_magnitude, planes_of
from rtx.visualise.search import Search, activation, nearness, search


def net(*, last: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 6, 3, 2, 1), last or nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(6, 4, 1)).eval().requires_grad_(False)


def layer(network: nn.Sequential, place: int = 3, **more: bool) -> Layer:
    return Layer("it", network, network[place], **more)


def images(n: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def gradient(one: Layer, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(one(x).sum(), x)
    return found


@pytest.mark.parametrize("activate", [nn.ReLU, lambda inplace: nn.ReLU6(inplace), lambda inplace: nn.Hardtanh(0, 0.1)])
def test_the_fake_relu_has_the_gradient_of_what_is_in_front_of_it(activate: type[nn.Module]) -> None:
    network, x = net(last=activate(inplace=True)), images(2).double()
    network.double()
    one, before = layer(network), layer(network, 2)
    found = gradient(one, x)
    assert torch.equal(one(x).flatten(2), network[:4](x).flatten(2)), "forward it is the activation"
    assert torch.allclose(found, gradient(before, x), atol=1e-12) and found.abs().sum() > 0
    # By finite differences of what is in front of it, and not of the activation itself.
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plain = [network[:3](x + sign * 1e-6 * step).sum() for sign in (1, -1)]
    assert float((plain[0] - plain[1]) / 2e-6) == pytest.approx(float((found * step).sum()), rel=1e-6)
    real = [network[:4](x + sign * 1e-6 * step).sum() for sign in (1, -1)]
    usual = gradient(layer(network, fake_relu=False), x)
    assert float((real[0] - real[1]) / 2e-6) == pytest.approx(float((usual * step).sum()), rel=1e-5)
    assert not torch.allclose(usual, found, rtol=1e-3)


def test_no_other_relu_is_fake() -> None:
    network, x = net(), images(1)
    usual = x.clone().requires_grad_()
    network[:3](usual).sum().backward()
    assert torch.allclose(gradient(layer(network, 2), x), usual.grad)
    assert torch.allclose(gradient(layer(network, 4), x), gradient(layer(network, 4, fake_relu=False), x))


def test_what_follows_a_layer_does_not_run() -> None:
    network = net()
    network[4].register_forward_pre_hook(lambda *_: pytest.fail("ran"))
    assert layer(network)(images(2)).shape == (2, 6, 64)
    beside = nn.ReLU()
    with pytest.raises(BadValue, match="layer 'it': no image passes it"):
        Layer("it", net(), beside)(images(1))


def test_outputs_are_units_first() -> None:
    class Tokens(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(2).transpose(1, 2)

    x = images(2, 8)
    for module, more in ((Tokens(), {}), (nn.Identity(), {}), (nn.Identity(), {"channels": 3})):
        assert torch.equal(Layer("it", module, module, **more)(x), x.flatten(2))
    last = nn.Identity()
    assert torch.equal(Layer("it", last, last, channels=3)(x.permute(0, 2, 3, 1)), x.flatten(2))
    assert Layer("it", last, last, pooled=True)(x).shape == (2, 3, 1)


# Pixels wake a silent unit; spectra and phases, which suit this random net less, raise what its ReLU is given.
@pytest.mark.parametrize(
    ("method", "steps", "step", "place", "rise"),
    [("pixels", 20, 0.5, 3, 0.02), ("fourier", 30, 0.05, 2, 0.015), ("maco", 30, 0.5, 2, 0.004)],
)
def test_activation_rises_and_the_seed_decides(method: str, steps: int, step: float, place: int, rise: float) -> None:
    one, start, units = layer(net(), place), images(2), torch.tensor([1, 4])
    how = Search(method, steps, step, seed=3)
    found, again = (search(activation(one, units), how, start, from_noise=True) for _ in range(2))
    assert (found.after > found.before + rise).all()
    assert found.pixels.min() >= 0 and found.pixels.max() <= 1
    assert torch.equal(found.pixels, again.pixels) and torch.equal(found.after, again.after)
    assert torch.allclose(activation(one, units)(found.pixels), found.after, atol=1e-5), "of the image that is kept"
    other = search(activation(one, units), Search(method, steps, step, seed=4), start, from_noise=True)
    assert torch.equal(other.pixels, found.pixels) == (method == "pixels"), "whose noise is drawn before"
    alone = search(activation(one, units[1:]), how, start[1:], from_noise=True)
    assert torch.allclose(alone.pixels, found.pixels[1:], atol=1e-4), "no image depends on the others"


def test_scores_are_of_the_own_unit_and_of_images_as_they_are() -> None:
    one, x, units = layer(net(), 2), images(2), torch.tensor([1, 4])
    score, outputs = activation(one, units), one(x)
    assert torch.allclose(score(x), torch.stack([outputs[0, 1].mean(), outputs[1, 4].mean()]))
    assert torch.allclose(score(torch.cat([x, x])), score(x).repeat(2)), "crops of both, one after the other"
    found = search(score, Search("fourier", 2, seed=3), x, from_noise=True)
    begun = Fourier(None, x.shape, torch.Generator().manual_seed(3))()
    assert torch.allclose(score(begun), found.before, atol=1e-6)


@pytest.mark.parametrize("eps", [0.7, 1000.0])
def test_pixels_stay_in_the_ball(eps: float) -> None:
    start = images(2)
    found = search(
        activation(layer(net()), torch.tensor([0, 1])), Search("pixels", 9, 0.3, eps), start, from_noise=True
    )
    moved = (found.pixels - start).flatten(1).norm(dim=1)
    assert (moved <= min(eps, 9 * 0.3) + 1e-5).all() and (moved > 0.5 * min(eps, 2.7)).all()


@pytest.mark.parametrize(("method", "steps", "step"), [("pixels", 200, 0.05), ("fourier", 200, 0.05)])
def test_inversion_falls_tenfold(method: str, steps: int, step: float) -> None:
    one, wanted = layer(net(), 2), images(2, seed=5)
    start = (0.5 + 0.05 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    score = nearness(one, one(wanted))
    found = search(score, Search(method, steps, step, moved=False), start, from_noise=True)
    assert (found.before < 0).all() and (found.after > found.before / 10).all()
    assert torch.allclose(score(wanted), torch.zeros(2))
    smooth = search(nearness(one, one(wanted), 5.0), Search("pixels", 200, 0.05), start, from_noise=True)
    rough = search(score, Search("pixels", 200, 0.05), start, from_noise=True)
    assert smooth.pixels.diff(dim=3).abs().mean() < 0.8 * rough.pixels.diff(dim=3).abs().mean()


def test_spectra_and_phases_start_from_images() -> None:
    x = 0.1 + 0.8 * functional.interpolate(images(2, 8), 32, mode="bilinear")
    assert torch.allclose(coloured(planes_of(x)), x, atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    assert torch.allclose(Fourier(x, x.shape, generator)(), x, atol=1e-4)
    small = Fourier(None, x.shape, generator)()
    assert torch.equal(small[0], small[1]) and 0.4 < small.mean() < 0.6 and small.std() < 0.1
    back = Phase(mean_magnitude(x[:1]), x[:1], (1, 3, 32, 32), generator).planes()
    plane = planes_of(x[:1])
    assert torch.allclose(back, (plane - plane.mean()) / plane.std(), atol=1e-3)


def test_maco_keeps_its_magnitude() -> None:
    one, magnitude = layer(net()), mean_magnitude(images(5, seed=8))
    generator = torch.Generator().manual_seed(0)
    written = Phase(magnitude, None, (1, 3, 32, 32), generator)
    before = written.phase.detach().clone()
    optimizer = torch.optim.NAdam(written.parameters(), 0.5)
    for _ in range(5):
        optimizer.zero_grad()
        (-one(written())[:, 1].mean()).backward()
        optimizer.step()
    assert not torch.allclose(written.phase, before, atol=0.1)
    there = torch.fft.rfft2(written.planes())[0].abs()
    # The columns of the lowest and the highest frequency are their own mirror images, as in every real image.
    ratio = (there / magnitude)[:, :, 1:-1]
    assert torch.allclose(ratio, ratio.mean().expand_as(ratio), rtol=1e-3)


def test_falloff() -> None:
    scale = falloff(8, 8)
    assert scale.shape == (8, 5) and scale[0, 0] == scale[0, 1] == 8 and scale[0, 2] == 4
    assert scale[3, 4] == pytest.approx(1 / math.hypot(3 / 8, 4 / 8))


def test_fake_of_numbers() -> None:
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    out = fake(x.relu(), x)
    out.sum().backward()
    assert out.tolist() == [0, 3] and x.grad is not None and x.grad.tolist() == [1, 1]


def test_refused() -> None:
    with pytest.raises(UnknownName, match=r"method 'furier'.*did you mean 'fourier'"):
        Search("furier")
    for bad in (dict(steps=0), dict(step=0.0), dict(eps=-1.0), dict(step=math.inf)):
        with pytest.raises(BadValue, match=f"--{next(iter(bad))}"):
            Search(**bad)  # type: ignore[arg-type]
    assert (Search().steps, Search("maco").step) == (1000, 1.0)
    with pytest.raises(BadValue, match="step 0 is not finite"):
        search(lambda x: x.flatten(1).sum(1) / 0, Search("pixels", 3), images(1), from_noise=True)
