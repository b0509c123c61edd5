"""A model whose batch norms take the statistics of other images for a while, see `rtx.evaluation.norm_adaptation`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rtx.errors import BadValue
from rtx.evaluation.norm_adaptation import NormAdaptation
from rtx.evaluation.sweep.batches import CorruptedView
from rtx.types import Condition

if TYPE_CHECKING:
    from rtx.evaluation.sweep.forward import Forward, Job


@contextmanager
def adapting(
    job: Job, forward: Forward, plan: Callable[[Job], list[list[int]]]
) -> Iterator[Callable[[Condition], None]]:
    """What to call before the first batch of a cell; afterwards the model has its own statistics again.

    Args:
        job: what is evaluated.
        forward: its forward pass.
        plan: cuts the images of a job into batches.
    """
    if job.adapt is None:
        yield lambda condition: None
        return
    adapted, view = Adapted(job.model, job.adapt), CorruptedView(job.dataset)
    batches = plan(replace(job, indices=job.adapt.chosen(job.indices)))

    def one(condition: Condition, batch: Sequence[int]) -> None:
        forward(pseudo_collate([view[condition, index][1] for index in batch]), condition)

    def adapt(condition: Condition) -> None:
        adapted.estimate((len(batch), partial(one, condition, batch)) for batch in batches)

    try:
        yield adapt
    finally:
        adapted.restore()


def norms_of(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a model that normalise by stored statistics.

    Raises:
        BadValue: there is none.
    """
    found = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not found:
        raise BadValue(
            f"--adapt-norm: {type(model).__name__} has no batch norm with statistics of its training (layer norm and "
            "group norm keep none); leave it away"
        )
    return found


class Adapted:
    """A model in evaluation mode whose batch norms take the statistics of other images for a while.

    Args:
        model: that is changed in place.
        adaptation: how.
    """

    def __init__(self, model: nn.Module, adaptation: NormAdaptation) -> None:
        self.prior = adaptation.prior
        self.layers = [_Layer(layer) for layer in norms_of(model)]

    def estimate(self, passes: Iterable[tuple[int, Callable[[], object]]]) -> None:
        """Put the statistics of some images in place.

        Args:
            passes: number of images and forward pass of each batch.
        """
        self.restore()
        images = 0
        for count, forward in passes:
            images += count
            share = images / (images + self.prior)
            handles = [layer.norm.register_forward_pre_hook(layer.adds(count, share)) for layer in self.layers]
            try:
                forward()
            finally:
                for handle in handles:
                    handle.remove()

    def restore(self) -> None:
        """Put the statistics of training back."""
        for layer in self.layers:
            layer.restore()


class _Layer:
    """One batch norm: its trained statistics, and the moments of what has passed."""

    def __init__(self, norm: _BatchNorm) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        self.norm, self.mean, self.var = norm, norm.running_mean, norm.running_var
        self.trained = self.mean.clone(), self.var.clone()
        self.moments, self.weight = torch.zeros(2, *self.mean.shape, dtype=torch.float64), 0

    def restore(self) -> None:
        self.mean.copy_(self.trained[0])
        self.var.copy_(self.trained[1])
        self.moments, self.weight = torch.zeros_like(self.moments), 0

    def adds(self, images: int, share: float) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        """What a forward pass over so many images does to the statistics, which get this share of the mixture."""

        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].detach().float()
            var, mean = torch.var_mean(values, [n for n in range(values.dim()) if n != 1], correction=0)
            mean, var = mean.double().cpu(), var.double().cpu()
            self.weight += images  # a head that all levels share is passed several times by each image
            self.moments += (torch.stack([mean, var + mean.square()]) - self.moments) * (images / self.weight)
            found = self.moments[0], (self.moments[1] - self.moments[0].square()).clamp(min=0)
            for buffer, old, new in zip((self.mean, self.var), self.trained, found, strict=True):
                buffer.copy_((1 - share) * old.double().cpu() + share * new)

        return add
