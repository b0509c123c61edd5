"""Gradients of pixels are those of PyTorch, and less is kept for them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rtx.adversarial.input_gradients import InputGradients


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), nn.BatchNorm2d(8, affine=False), nn.ReLU(),
            nn.Conv2d(8, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 2),
        )  # fmt: skip
        net(torch.rand(32, 3, 12, 12))
    return net.eval().requires_grad_(False)


def gradient(net: nn.Module, images: torch.Tensor, *, mode: bool) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Output, gradient of its squared sum, and how many bytes were kept for it."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    pixels = images.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if mode:
            with InputGradients():
                out = net(pixels)
        else:
            out = net(pixels)
    (found,) = torch.autograd.grad(out.square().sum(), pixels)
    return out.detach(), found, sum(kept.values())


def test_outputs_and_gradients_are_pytorchs_and_half_is_kept(network: nn.Module) -> None:
    images = torch.rand(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    out, usual, whole = gradient(network, images, mode=False)
    same, found, less = gradient(network, images, mode=True)
    torch.testing.assert_close(same, out)
    torch.testing.assert_close(found, usual, rtol=1e-4, atol=1e-6)
    assert less < 0.7 * whole


def test_weights_that_train_and_batch_statistics_are_left_to_pytorch(network: nn.Module) -> None:
    images = torch.rand(4, 3, 12, 12).requires_grad_()
    network.requires_grad_().train()
    with InputGradients():
        network(images).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert int(network[1].num_batches_tracked) == 2
