"""What an attack raises: the loss of a model of any kind, as a function of the pixels that it is given.

The model's own preprocessing is part of the function, so that perturbations are those of the picture. The loss of an
image never depends on the other images of its batch: detectors' losses, which are averaged over a batch, are computed
for one image at a time, and what they draw (anchors and proposals to train on) is drawn alike in every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rtx.adversarial.attack import Objective
from rtx.adversarial.losses import CLASSIFIER_LOSSES, IGNORED, SEA, SEGMENTER_LOSSES, classified, segmented
from rtx.errors import BadValue, unknown_name

# Which of a detector's losses belong to which part, by what mmdet calls them.
DETECTOR_LOSSES: dict[str, tuple[str, ...]] = {
    "total": ("",),
    "classification": ("cls", "class", "obj", "dfl_cls"),
    "localisation": ("bbox", "iou", "reg", "centerness"),
}

KINDS = {"mmpretrain": "classifier", "mmdet": "detector", "mmseg": "segmenter"}
"""Framework -> what its models are."""


def kind_of(model: nn.Module) -> str:
    """`classifier`, `detector` or `segmenter`.

    Raises:
        BadValue: it is none of them, so that there is no loss to raise.
    """
    bases = (base.__module__.partition(".")[0] for base in type(model).__mro__)
    found = next((KINDS[name] for name in bases if name in KINDS), None)
    if found is None:
        raise BadValue(f"{type(model).__name__}: an attack needs a classifier, detector or segmenter of OpenMMLab's")
    return found


def usual_losses(kind: str) -> tuple[str, ...]:
    """The losses that an attack on a kind of model raises if nothing is said."""
    return {"classifier": ("ce",), "detector": ("total",), "segmenter": SEA}[kind]


def check_losses(names: Sequence[str], kind: str) -> None:
    """Refuse losses that this kind of model does not have.

    Raises:
        UnknownName: it has not.
    """
    losses: dict[str, Mapping[str, Any]] = {
        "classifier": CLASSIFIER_LOSSES, "detector": DETECTOR_LOSSES, "segmenter": SEGMENTER_LOSSES
    }  # fmt: skip
    known = losses[kind]
    for name in names:
        if name not in known:
            raise unknown_name("loss of an attack", name, place=f"the losses of a {kind}", choices=tuple(known))


def groups(model: nn.Module, images: Sequence[Tensor]) -> list[list[int]]:
    """Positions of images that are attacked together: of one shape, and one at a time for OpenMMLab's detectors."""
    if kind_of(model) == "detector":
        return [[n] for n in range(len(images))]
    return by_shape(images)


def by_shape(images: Sequence[Tensor]) -> list[list[int]]:
    """Positions of images of one shape."""
    found: dict[tuple[int, ...], list[int]] = {}
    for n, image in enumerate(images):
        found.setdefault(tuple(image.shape), []).append(n)
    return list(found.values())


def objective(
    model: nn.Module, samples: Sequence[Any], name: str, *, seed: int, target: int | None = None
) -> Objective:
    """The loss of some images as a function of their pixels, (N, 3, H, W) in [0, 1] in the order of the pipeline.

    Args:
        model: what is attacked.
        samples: the data samples of the images, with their ground truth.
        name: of the loss, see `losses_for`.
        seed: of what the loss draws.
        target: the class that a classifier is to take every image for; None for any wrong one.
    """
    make = {"classifier": _of_classifier, "detector": _of_detector, "segmenter": _of_segmenter}[kind_of(model)]
    return make(model, samples, name, seed, target)


def device_of(model: nn.Module) -> torch.device:
    """Where the model lies."""
    return next(model.parameters()).device


def _prepared(model: Any, pixels: Tensor, samples: Sequence[Any]) -> tuple[Any, Any]:
    """What the model's own preprocessing makes of pixels and copies of the samples."""
    data = dict(inputs=list(pixels * 255), data_samples=[sample.clone() for sample in samples])
    data = model.data_preprocessor(data, False)
    return data["inputs"], data["data_samples"]


def labels_of(samples: Sequence[Any], device: torch.device) -> Tensor:
    """The classes of images, (N,).

    Raises:
        BadValue: an image has another number of labels than one.
    """
    rows = [torch.as_tensor(sample.gt_label).flatten() for sample in samples]
    for sample, row in zip(samples, rows, strict=True):
        if len(row) != 1:
            raise BadValue(
                f"image {str(sample.img_path)!r} has {len(row)} labels; attacks are on classifiers of one label"
            )
    return torch.cat(rows).to(device)


def targets_like(labels: Tensor, target: int | None) -> Tensor | None:
    """The class that every image is to be taken for, (N,), or None."""
    return None if target is None else torch.full_like(labels, target)


def scores_of(model: Any, pixels: Tensor, samples: Sequence[Any]) -> Tensor:
    """Logits (N, classes) of a classifier of OpenMMLab's, of pixels (N, 3, H, W) in [0, 1]."""
    scores: Tensor = model(_prepared(model, pixels, samples)[0], mode="tensor")
    return scores


def _of_classifier(model: Any, samples: Sequence[Any], name: str, seed: int, target: int | None) -> Objective:
    labels = labels_of(samples, device_of(model))

    def loss(pixels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        return classified(name, scores_of(model, pixels, samples), labels, targets_like(labels, target))

    return loss


def _of_segmenter(model: Any, samples: Sequence[Any], name: str, seed: int, target: int | None) -> Objective:
    labels = [sample.gt_sem_seg.data.long().to(device_of(model)) for sample in samples]

    def loss(pixels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        inputs, prepared = _prepared(model, pixels, samples)
        whole = all(label.shape[-2:] == tuple(sample.ori_shape) for sample, label in zip(samples, labels, strict=True))
        if whole:  # as it is scored
            scores = [sample.seg_logits.data for sample in model.predict(inputs, prepared)]
        else:  # crops of a training
            scores = list(model.encode_decode(inputs, [sample.metainfo for sample in prepared]))
        rows = [
            segmented(name, _enough_classes(row)[None], _counted(label, row))
            for row, label in zip(scores, labels, strict=True)
        ]
        values, harm = zip(*rows, strict=True)
        return torch.cat(values), torch.cat(harm)

    return loss


def _enough_classes(scores: Tensor) -> Tensor:
    if len(scores) < 2:
        raise BadValue("a segmenter with a single output (sigmoid): attacks are on one score for each class")
    return scores


def _counted(label: Tensor, scores: Tensor) -> Tensor:
    """Labels that are no class count nowhere."""
    return torch.where(label < len(scores), label, IGNORED)


def _of_detector(model: Any, samples: Sequence[Any], name: str, seed: int, target: int | None) -> Objective:
    devices = [device_of(model)] if device_of(model).type == "cuda" else []

    def loss(pixels: Tensor, done: float) -> tuple[Tensor, Tensor]:
        rows = []
        for image, sample in zip(pixels, samples, strict=True):
            inputs, prepared = _prepared(model, image[None], [sample])
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(seed)
                rows.append(_part(model.loss(inputs, prepared), name))
        values = torch.stack(rows)
        return values, values.detach()

    return loss


def _part(losses: Mapping[str, Any], name: str) -> Tensor:
    """The sum of those losses that belong to a part, as mmengine sums them all."""
    every = {key: value for key, value in losses.items() if "loss" in key}
    mine = [value for key, value in every.items() if any(word in key for word in DETECTOR_LOSSES[name])]
    if not mine:
        raise BadValue(f"this detector has no loss of its {name}; it has {', '.join(every)}: use total")
    return torch.stack([part.mean() for value in mine for part in _listed(value)]).sum()


def _listed(value: Any) -> Sequence[Tensor]:
    return value if isinstance(value, list | tuple) else [value]
