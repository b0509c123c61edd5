"""What a layer gives for an image, with gradients that a dead unit lets pass.

A unit behind a ReLU that is silent on the start image has gradient 0, so that nothing could ever wake it. As Engstrom
et al. (2019, "Adversarial robustness as a prior for learned representations") and Utrera et al. (2021, A.1) do, the
ReLU that makes a layer's output, and no other, passes gradients backwards as if it were the identity ("fake ReLU").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from rtx.adversarial.input_gradients import InputGradients
from rtx.errors import BadValue

_RELUS = {torch.relu, torch.relu_, functional.relu, Tensor.relu, Tensor.relu_}
_CLIPPED = {functional.hardtanh, functional.relu6}


def fake(output: Tensor, given: Tensor) -> Tensor:
    """The output of an activation, with the gradient of the identity for what it was given."""
    return output.detach() + (given - given.detach())


class _LastRelu(TorchFunctionMode):
    """Runs ReLUs (and those that are clipped above) out of place, and keeps what the last one was given and gave."""

    given: Tensor
    output: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in _RELUS:
            result: Any = torch.relu(args[0])
        elif func in _CLIPPED:
            low, high = args[1:3] if len(args) > 2 else (options.get("min_val", -1.0), options.get("max_val", 1.0))
            low, high = (0.0, 6.0) if func is functional.relu6 else (low, high)
            result = torch.clamp(args[0], low, high)
            if low != 0:
                return result
        else:
            return func(*args, **options)
        self.given, self.output = args[0], result
        return result


class _Reached(Exception):
    """The layer has given its output; what follows need not run."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a network.

    Attributes:
        name: as people call it.
        network: takes RGB images (N, 3, H, W) in [0, 1].
        module: one of its modules; of several outputs the last one counts.
        channels: where they are not the second axis of a map, how many there are on the last one.
        pooled: the average over positions is the layer's output.
        fake_relu: see above.
    """

    name: str
    network: nn.Module
    module: nn.Module
    channels: int | None = None
    pooled: bool = False
    fake_relu: bool = True

    def __call__(self, images: Tensor) -> Tensor:
        """Outputs (N, units, positions) of images (N, 3, H, W).

        Raises:
            BadValue: the layer is not on the way of an image.
        """
        found: list[Tensor] = []
        relus = _LastRelu()

        def seen(module: nn.Module, given: Any, output: Any) -> None:
            one: Tensor = output[-1] if isinstance(output, list | tuple) else output
            if self.fake_relu and one is relus.output:
                one = fake(one, relus.given)
            found.append(one)
            raise _Reached

        hook = self.module.register_forward_hook(seen)
        try:
            with InputGradients(), relus:
                self.network(images)
        except _Reached:
            pass
        finally:
            hook.remove()
        if not found:
            raise BadValue(f"layer {self.name!r}: no image passes it; name another (features, stage1 to stage4)")
        return self._units_first(found[0])

    def _units_first(self, one: Tensor) -> Tensor:
        if one.ndim == 2:
            return one[..., None]
        last = one.ndim == 3 or (self.channels is not None and one.shape[1] != self.channels == one.shape[-1])
        flat = one.flatten(1, -2).transpose(1, 2) if last else one.flatten(2)
        return flat.mean(2, keepdim=True) if self.pooled else flat
