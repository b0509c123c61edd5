"""AutoAttack of classifiers (Croce & Hein, 2020) by the package pyautoattack, which is not a dependency."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from rtx.adversarial.attack import Perturbed
from rtx.adversarial.losses import margin
from rtx.adversarial.threat import L2, Threat
from rtx.errors import BadValue, MissingDependency

NAME = "autoattack"
_PACKAGE = "pyautoattack"
_LEAST_SIDE = 25


def package() -> str:
    """Name and version of the package.

    Raises:
        MissingDependency: it is not installed, or cannot be imported.
    """
    try:
        importlib.import_module(_PACKAGE)
        return f"{_PACKAGE} {version(_PACKAGE)}"
    except ImportError as error:
        raise MissingDependency(
            f"--method {NAME} needs the package {_PACKAGE} ({error}): pip install 'rtx-robustness[autoattack]'"
        ) from error


def autoattack(
    scores: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, seeds: Sequence[int], *, threat: Threat
) -> Perturbed:
    """Perturb a batch by the standard version: APGD on CE, targeted APGD, targeted FAB, Square.

    Each image is searched by itself, since the package draws for a batch: so no result depends on other images.

    Args:
        scores: logits (N, C) of images in [0, 1]; call this within `rtx.adversarial.attack.frozen`.
        images: (N, C, H, W) in [0, 1].
        labels: (N,).
        seeds: one for each image.
        threat: the ball.

    Raises:
        BadValue: fewer than four classes, for which the targeted loss has no definition; scores that are no numbers;
            or, in L2, images that the package's Square cannot tile.
        MissingDependency: see `package`.
    """
    package()
    attack_class: Any = importlib.import_module(_PACKAGE).AutoAttack
    with torch.no_grad():
        first = scores(images)
    classes = first.shape[1]
    if classes < 4:
        raise BadValue(f"--method {NAME}: its targeted loss compares four classes, the network has {classes}; use apgd")
    if not first.isfinite().all():
        raise BadValue(f"--method {NAME}: the network's scores are no finite numbers")
    height, width = images.shape[-2:]
    if isinstance(threat, L2) and (height != width or height < _LEAST_SIDE):
        raise BadValue(
            f"--method {NAME} in L2 on images of {width}x{height}: the package's Square wants square ones of "
            f"{_LEAST_SIDE} pixels or more; take apgd"
        )
    norm, log = "L2" if isinstance(threat, L2) else "Linf", logging.getLogger("auto-attack")
    devices, level = [images.device] if images.is_cuda else [], log.level
    log.setLevel(logging.ERROR)  # it repeats its warnings for each image
    found = []
    try:
        for image, label, seed in zip(images, labels, seeds, strict=True):
            with torch.random.fork_rng(devices=devices):
                attack = attack_class(scores, device=images.device, eps=threat.eps, norm=norm, seed=int(seed))
                # Its nine targets are those of ten classes and more.
                attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, classes - 1)
                found.append(attack.run_standard_evaluation(image[None], label[None])[0][0])
    finally:
        log.setLevel(level)
    # The package keeps the ball up to rounding of its own.
    moved = (images + threat.project(torch.stack(found) - images)).clamp(0, 1)
    with torch.no_grad():
        harm = margin(scores(moved), labels)
    return Perturbed(moved, harm, torch.zeros(len(images), dtype=torch.bool, device=images.device))
