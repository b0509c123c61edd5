"""rtx: does the robustness of an ImageNet backbone survive transfer to detection and segmentation?

    import rtx

    def predict(images):                      # a list of RGB uint8 arrays (H, W, 3)
        return [dict(boxes=..., scores=..., labels=...) for image in images]

    rtx.evaluate(rtx.Detector(predict, ["car", "dog"], name="mine v3"), "data/coco", "runs/mine")

Importing this package imports no framework and registers nothing; each name below is imported when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtx.backbones.registered import register_backbone
    from rtx.evaluation.evaluate import evaluate
    from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
    from rtx.evaluation.pixels.attacked import Attacked
    from rtx.sources.load import load_source

__version__ = "0.1.0"
__all__ = ["Attacked", "Classifier", "Detector", "Segmenter", "evaluate", "load_source", "register_backbone"]

_HOMES = {
    "Attacked": "rtx.evaluation.pixels.attacked",
    "Classifier": "rtx.evaluation.models.adapters",
    "Detector": "rtx.evaluation.models.adapters",
    "Segmenter": "rtx.evaluation.models.adapters",
    "evaluate": "rtx.evaluation.evaluate",
    "load_source": "rtx.sources.load",
    "register_backbone": "rtx.backbones.registered",
}


_IMAGE_TEXT = "mmpretrain.models.multimodal"


def _spare_image_text_models() -> None:
    """Let OpenMMLab be imported beside transformers 5, which no longer has what mmpretrain's image-text models need.

    mmdet, mmseg and mmpretrain all import these models where transformers is installed, and end with a TypeError. An
    empty module stands in their place then; with transformers 4, or without it, nothing is done.
    """
    if _IMAGE_TEXT not in sys.modules and find_spec("transformers") is not None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            major = version("transformers").partition(".")[0]
        except PackageNotFoundError:
            return
        if major.isdigit() and int(major) >= 5:
            sys.modules[_IMAGE_TEXT] = ModuleType(_IMAGE_TEXT, "Left out by rtx, see rtx/__init__.py.")


_spare_image_text_models()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rtx' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
