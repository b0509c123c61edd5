"""Random steps of a test pipeline: with them a score cannot be reproduced from its protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rtx.errors import BadValue

# What OpenMMLab and torchvision register without "Random" in front of the name.
_DRAWING = frozenset(
    "Albu Albumentations AugMix AutoAugment BEiTMaskGenerator BioMedical3DRandomCrop BioMedical3DRandomFlip "
    "BioMedicalGaussianNoise BioMedicalRandomGamma CachedMixUp CachedMosaic ColorJitter CopyPaste CutOut Cutout "
    "EfficientNetRandomCrop ElasticTransform Expand InstaBoost Lighting MAERandomResizedCrop MinIoURandomCrop MixUp "
    "Mosaic PhotoMetricDistortion RandAugment Rotate Shear ShearX ShearY SimMIMMaskGenerator Translate TranslateX "
    "TranslateY TrivialAugmentWide YOLOXHSVRandomAug".split()
)
_ALL_OR_NOTHING = frozenset(
    {"RandomFlip", "RandomGrayscale", "RandomApply", "RandomHorizontalFlip", "RandomVerticalFlip"}
)


def check_not_random(dataset_cfg: Any) -> None:
    """Refuse a test set whose pipeline has random steps.

    Known are the steps of OpenMMLab and torchvision, by name and settings; one that cannot draw as it is set (a flip
    with probability 0 or 1) passes.

    Raises:
        BadValue: a step draws; it is named with the remedy.
    """
    for step in _steps(dataset_cfg):
        name = step_name(step)
        if (name.startswith("Random") or name in _DRAWING) and not _is_fixed(name, step):
            shown = {key: value for key, value in step.items() if key in ("prob", "p", "direction", "ratio_range")}
            text = "".join(f", {key}={value!r}" for key, value in shown.items())
            raise BadValue(
                f"the test pipeline draws: {name}{text} gives another score at every run; remove it from "
                "test_dataloader, or set its probability to 0 or 1"
            )


def _steps(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        if "type" in node:
            yield node
        for part in node.values():  # wrappers and nested steps have many names for what they hold
            yield from _steps(part)
    elif isinstance(node, (list, tuple)):
        for part in node:
            yield from _steps(part)


def step_name(step: Any) -> str:
    """The bare name of a pipeline step's class, without module or registry; empty for what is no step.

    Example:
        >>> step_name(dict(type="mmpretrain.CenterCrop")), step_name("Resize")
        ('CenterCrop', '')
    """
    kind = step.get("type", "") if isinstance(step, Mapping) else ""
    return re.split(r"[./]", kind if isinstance(kind, str) else kind.__name__)[-1]


def _is_fixed(name: str, step: Mapping[str, Any]) -> bool:
    """Whether a step that can be random is deterministic with these arguments."""
    chance = step.get("prob", step.get("p"))
    one_way = isinstance(step.get("direction", "horizontal"), str)
    if chance == 0 or step.get("test_mode") is True or (name in _ALL_OR_NOTHING and chance == 1 and one_way):
        return True
    if name == "RandomResize":
        one = not isinstance((step.get("scale") or [0])[0], (list, tuple))
        return one and all(end == 1 for end in step.get("ratio_range") or (1,))
    if name in ("RandomChoice", "RandomChoiceResize"):
        return len(step.get("scales") or step.get("transforms") or ()) == 1
    return False
