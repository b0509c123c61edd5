"""Losses that attacks raise, one number for each image, from the scores of a network; all are of plain tensors.

Classifiers: scores (N, C), labels (N,). Segmenters: scores (N, C, H, W), labels (N, H, W), 255 where nothing counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from rtx.errors import BadValue

IGNORED = 255


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image, (N,)."""
    return functional.cross_entropy(scores.float(), labels, reduction="none")


def margin(scores: Tensor, labels: Tensor) -> Tensor:
    """Best score of another class minus that of the right one, (N,): above 0 where an image is wrong."""
    right = scores.gather(1, labels[:, None])[:, 0]
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    worst: Tensor = others - right
    return worst


def dlr(scores: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio (Croce & Hein, 2020, equation 6), (N,); it does not change when scores are rescaled.

    Raises:
        BadValue: there are fewer than three classes.
    """
    if scores.shape[1] < 3:
        raise BadValue(f"the loss dlr compares three classes, the network has {scores.shape[1]}; use ce")
    order = scores.sort(dim=1).values
    return margin(scores, labels) / (order[:, -1] - order[:, -3] + 1e-12)


def targeted_dlr(scores: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Targeted DLR (Croce & Hein, 2020, equation 7), (N,): rises as the target overtakes the right class.

    Raises:
        BadValue: there are fewer than four classes.
    """
    if scores.shape[1] < 4:
        raise BadValue(f"the targeted loss dlr compares four classes, the network has {scores.shape[1]}; use ce")
    order = scores.sort(dim=1).values
    right, target = (scores.gather(1, which[:, None])[:, 0] for which in (labels, targets))
    return (target - right) / (order[:, -1] - (order[:, -3] + order[:, -4]) / 2 + 1e-12)


CLASSIFIER_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ce": cross_entropy, "dlr": dlr}


def classified(name: str, scores: Tensor, labels: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Loss and harm of a classifier's scores, see `rtx.adversarial.attack.Objective`.

    Args:
        name: of `CLASSIFIER_LOSSES`.
        scores: (N, C).
        labels: the right classes, (N,).
        targets: the classes that images are to be taken for, (N,); None for any wrong one.

    Raises:
        BadValue: a loss for which there are too few classes, or a target that is out of range or the right class.
    """
    if targets is None:
        return CLASSIFIER_LOSSES[name](scores, labels), margin(scores, labels).detach()
    classes = scores.shape[1]
    if not ((targets >= 0) & (targets < classes)).all():
        raise BadValue(f"target {int(targets[(targets < 0) | (targets >= classes)][0])}: must be 0 to {classes - 1}")
    loss = -cross_entropy(scores, targets) if name == "ce" else targeted_dlr(scores, labels, targets)
    return loss, -margin(scores, targets).detach()


def segmented(name: str, scores: Tensor, labels: Tensor, done: float = 0.0) -> tuple[Tensor, Tensor]:
    """Loss and harm of a segmenter's scores: harm is the share of pixels that are wrong.

    Args:
        name: of `SEGMENTER_LOSSES`.
        scores: (N, C, H, W).
        labels: (N, H, W), `IGNORED` where nothing counts.
        done: share of the attack's steps that are done.
    """
    counts = labels != IGNORED
    known = torch.where(counts, labels, 0)
    right = (scores.argmax(dim=1) == known) & counts
    total = counts.flatten(1).sum(dim=1).clamp_min(1)
    pixels = SEGMENTER_LOSSES[name](scores.float(), known, right, counts)
    wrong = 1 - right.flatten(1).sum(dim=1) / total
    return (pixels * counts).flatten(1).sum(dim=1) / total, wrong


def _ce(scores: Tensor, labels: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    return functional.cross_entropy(scores, labels, reduction="none")


def _js(scores: Tensor, labels: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """Jensen-Shannon divergence between the prediction and the label: it levels off where a pixel is wrong already.

    With p the probability of the right class, and m = (p + 1) / 2 there and half the probability elsewhere:
    JS = (sum_c p_c log(p_c / m_c) + log(1 / m)) / 2; the other classes add (1 - p) log 2.
    """
    right_class = scores.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    middle = (right_class + 1) / 2
    other = (1 - right_class) * math.log(2)
    found: Tensor = (torch.special.xlogy(right_class, right_class / middle) + other - middle.log()) / 2
    return found


def _masked(scores: Tensor, labels: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    return _ce(scores, labels, right, counts) * right


def _balanced(scores: Tensor, labels: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """Masked cross-entropy in which every class of an image weighs the same, however small it is."""
    share = torch.zeros(*scores.shape[:2], device=scores.device)
    share.scatter_add_(1, labels.flatten(1), counts.flatten(1).to(share))
    weight = share.gather(1, labels.flatten(1)).clamp_min(1).reciprocal().view(labels.shape)
    present = (share > 0).sum(dim=1).view(-1, 1, 1)
    total = counts.flatten(1).sum(dim=1).view(-1, 1, 1)
    return _masked(scores, labels, right, counts) * weight * total / present


SEGMENTER_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "ce": _ce,
    "js": _js,
    "masked_ce": _masked,
    "balanced_ce": _balanced,
}
SEA = ("js", "masked_ce", "balanced_ce")
"""The losses of the segmentation ensemble attack (Croce, Singh & Hein, 2024): of each image the worst result counts."""
