"""What an attack on a model under evaluation raises: OpenMMLab's losses, or those of an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rtx.adversarial.attack import Objective
from rtx.adversarial.losses import classified, segmented
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.models.adapter import Adapter
from rtx.transfer import objectives
from rtx.transfer.objectives import (
    KINDS,
    by_shape,
    check_losses,
    device_of,
    kind_of,
    labels_of,
    scores_of,
    targets_like,
    usual_losses,
)

OWN = "own"
"""The loss that the user of an adapter has given."""


def losses_for(model: nn.Module, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The losses that an attack on a model raises, one after the other; the worst result of each image counts.

    Args:
        model: what is attacked.
        wanted: their names; the usual ones of the kind of model when empty.

    Raises:
        UnknownName: this kind of model has no such loss.
        BadValue: an adapter through which no gradient passes, or a detector without a loss.
    """
    if not isinstance(model, Adapter):
        check_losses(wanted, kind_of(model))
        return tuple(dict.fromkeys(wanted)) or usual_losses(kind_of(model))
    if not isinstance(model.fn, nn.Module) or model.inputs != "tensor":
        raise BadValue(
            f"{model.name} is given arrays, through which no gradient passes: an attack needs a torch module that "
            'takes tensors (inputs="tensor")'
        )
    if model.loss is not None:
        if strange := [name for name in wanted if name != OWN]:
            raise unknown_name("loss of an attack", strange[0], place="an adapter with loss=...", choices=(OWN,))
        return (OWN,)
    kind = KINDS[model.scope]
    if kind == "detector":
        raise BadValue(f"{model.name} has no loss to raise: give Detector(..., loss=...), see its docstring")
    check_losses(wanted, kind)
    return tuple(dict.fromkeys(wanted)) or usual_losses(kind)


def groups(model: nn.Module, images: Sequence[Tensor]) -> list[list[int]]:
    """Positions of images that are attacked together, see `rtx.transfer.objectives.groups`."""
    return by_shape(images) if isinstance(model, Adapter) else objectives.groups(model, images)


def attacked_kind(model: nn.Module) -> str:
    """`classifier`, `detector` or `segmenter`, of adapters too.

    Raises:
        BadValue: see `rtx.transfer.objectives.kind_of`.
    """
    return KINDS[model.scope] if isinstance(model, Adapter) else kind_of(model)


Logits = Callable[[Tensor], Tensor]


def logits_of(model: nn.Module) -> Callable[[Sequence[Any]], tuple[Logits, Tensor]]:
    """From the samples of some images to their logits as a function of their pixels, and to their labels.

    Raises:
        BadValue: the model is no classifier, or an adapter with a loss of its own, whose outputs may be no logits.
    """
    if attacked_kind(model) != "classifier" or (isinstance(model, Adapter) and model.loss is not None):
        raise BadValue("autoattack is on the logits of classifiers; take pgd or apgd")

    def of(samples: Sequence[Any]) -> tuple[Logits, Tensor]:
        labels = labels_of(samples, device_of(model))
        if isinstance(model, Adapter):
            return model.fn, labels
        # Logits of one image depend on no sample, and the attack asks for some of the images.
        return lambda pixels: scores_of(model, pixels, [samples[0]] * len(pixels)), labels

    return of


def objective(
    model: nn.Module, samples: Sequence[Any], name: str, *, seed: int, target: int | None = None
) -> Objective:
    """The loss of some images as a function of their pixels, see `rtx.transfer.objectives.objective`."""
    if not isinstance(model, Adapter):
        return objectives.objective(model, samples, name, seed=seed, target=target)

    def loss(pixels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        if model.loss is not None:
            values = model.loss(pixels, [model.truth(sample) for sample in samples])
            return values, values.detach()
        scores = model.fn(pixels)
        if KINDS[model.scope] == "classifier":
            labels = labels_of(samples, pixels.device)
            return classified(name, scores, labels, targets_like(labels, target))
        return segmented(name, scores, torch.cat([model.truth(sample)["labels"] for sample in samples]))

    return loss
