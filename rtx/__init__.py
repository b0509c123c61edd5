"""rtx: does the robustness of an ImageNet backbone survive transfer to detection and segmentation?

    import rtx

    def predict(images):                      # a list of RGB uint8 arrays (H, W, 3)
        return [dict(boxes=..., scores=..., labels=...) for image in images]

    rtx.evaluate(rtx.Detector(predict, ["car", "dog"], name="mine v3"), "data/coco", "runs/mine")

Importing this package imports no framework and registers nothing; each name below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtx.evaluation.evaluate import evaluate
    from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
    from rtx.evaluation.pixels.attacked import Attacked
    from rtx.sources.load import load_source

__version__ = "0.1.0"
__all__ = ["Attacked", "Classifier", "Detector", "Segmenter", "evaluate", "load_source"]

_HOMES = {
    "Attacked": "rtx.evaluation.pixels.attacked",
    "Classifier": "rtx.evaluation.models.adapters",
    "Detector": "rtx.evaluation.models.adapters",
    "Segmenter": "rtx.evaluation.models.adapters",
    "evaluate": "rtx.evaluation.evaluate",
    "load_source": "rtx.sources.load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rtx' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
