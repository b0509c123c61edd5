"""Gradients of the pixels alone, in about half the memory: layers whose weights are frozen do not keep their inputs.

PyTorch's convolution and batch norm keep their input for the gradient of their weights, also where none is asked for.
The gradient of the input needs the weights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode


class _Convolution(torch.autograd.Function):
    """`torch.conv2d` for a weight without gradient."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.settings = image.shape, settings
        return torch.conv2d(image, weight, bias, *settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        found = conv2d_input(ctx.shape, weight, gradients[0].to(weight.dtype), *ctx.settings)  # type: ignore[no-untyped-call]
        return found, None, None, None


def _conv2d(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    wanted = image.requires_grad and not weight.requires_grad and (bias is None or not bias.requires_grad)
    if not wanted or isinstance(padding, str) or image.ndim != 4 or torch.is_autocast_enabled(image.device.type):
        return None
    found: Tensor = _Convolution.apply(image, weight, bias, (stride, padding, dilation, groups))  # type: ignore[no-untyped-call]
    return found


def _batch_norm(
    image: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if training or running_mean is None or running_var is None or not image.requires_grad:
        return None
    if any(part is not None and part.requires_grad for part in (weight, bias)):
        return None
    scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - running_mean * scale
    shape = (1, -1, *[1] * (image.ndim - 2))
    return image * scale.view(shape).to(image) + shift.view(shape).to(image)


_OWN: dict[Any, Callable[..., Tensor | None]] = {torch.conv2d: _conv2d, functional.batch_norm: _batch_norm}


class InputGradients(TorchFunctionMode):
    """While it is on, frozen convolutions and batch norms in evaluation mode keep nothing but their weights."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, or what stands for it."""
        own = _OWN.get(func)
        found = None if own is None or not torch.is_grad_enabled() else own(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is None else found
