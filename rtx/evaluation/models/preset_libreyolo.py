"""`libreyolo:FILE`: checkpoints of LibreYOLO (YOLOX, YOLOv9, RT-DETR, D-FINE, RF-DETR and many more), MIT-licensed."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import libreyolo
import torch
from libreyolo.utils.serialization import validate_checkpoint_metadata
from torch import nn

from rtx.errors import BadValue, WeightsError, WeightsMismatch
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.presets import Asked, wrong_task
from rtx.sources.reading.read import read_checkpoint

_TASKS: dict[str, type[Adapter]] = {
    "detect": Detector,
    "segment": Detector,
    "semantic": Segmenter,
    "classify": Classifier,
}
# What its own `val` takes: every box that it could count.
_VALIDATION: dict[str, Any] = dict(conf=0.001, iou=0.6, max_det=300)


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`."""
    path = Path(asked.what).expanduser()
    if asked.weights is not None:
        raise BadValue(f"--model {asked.spec}: names its weights itself; leave --weights away")
    content = read_checkpoint(path)
    if faults := validate_checkpoint_metadata(content):
        raise WeightsError(
            f"--model {asked.spec}: is no checkpoint of LibreYOLO 1.0 ({faults[0]}); open it there and write it again: "
            "LibreYOLO(FILE).save(NEW)"
        )
    if _TASKS.get(content["task"]) is not asked.kind:
        raise wrong_task(asked, f"is a model of the task {content['task']!r}")
    model = _opened(asked, path, content)
    names = asked.classes or tuple(str(model.names[n]) for n in range(len(model.names)))
    if len(names) != len(model.names):
        raise BadValue(f"--model-classes: {len(names)} names for a model of {len(model.names)} classes ({asked.spec})")
    version = f"libreyolo {libreyolo.__version__}, {content['model_family']} {content['size']} {content['imgsz']}"
    options: dict[str, Any] = {}
    if asked.kind is Detector:
        options = dict(masks=content["task"] == "segment")
    elif asked.kind is Classifier:
        options = dict(resize=None, crop=None)
    return asked.adapter(LibreYoloModel(model, content["task"]), names, version, **options)


def _opened(asked: Asked, path: Path, content: dict[str, Any]) -> Any:
    """The model, from a copy of the file with nothing but tensors and plain values: some families unpickle anything.

    Raises:
        WeightsMismatch: the weights do not fit the family and size that the file names.
    """
    missing: list[str] = []

    class Warned(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Non-strict load" in record.msg:
                missing.append(record.getMessage())

    log, handler = logging.getLogger("libreyolo"), Warned(logging.WARNING)
    log.addHandler(handler)
    try:
        with TemporaryDirectory() as folder:
            copy = Path(folder, f"{path.stem}.pt")
            torch.save(content, copy)
            model = libreyolo.LibreYOLO(str(copy), device=asked.device)
    except (RuntimeError, ValueError, KeyError, ImportError) as error:
        raise WeightsMismatch(
            f"--model {asked.spec}: LibreYOLO cannot open it ({' '.join(str(error).split())[:500]})"
        ) from error
    finally:
        log.removeHandler(handler)
    if missing:
        raise WeightsMismatch(f"--model {asked.spec}: the weights do not fit: {' '.join(missing[0].split())[:500]}")
    return model


class LibreYoloModel(nn.Module):
    """A model as its own `predict` runs it, under the thresholds of its own `val`."""

    def __init__(self, model: Any, task: str) -> None:
        super().__init__()
        self.network, self.model, self.task = model.model, model, task

    def forward(self, images: list[Any]) -> list[Any]:
        """Boxes and masks, a label map or class scores for each image, RGB uint8 (H, W, 3)."""
        self.model.device = next(self.network.parameters()).device
        found = self.model.predict(images, color_format="rgb", batch=len(images), **_VALIDATION)
        return [self._row(result) for result in (found if isinstance(found, list) else [found])]

    def _row(self, result: Any) -> Any:
        if self.task == "classify":
            return result.probs.data
        if self.task == "semantic":
            return result.semantic_mask.data
        boxes = result.boxes
        row = {"boxes": boxes.xyxy, "scores": boxes.conf, "labels": boxes.cls}
        if self.task == "segment" and result.masks is not None:
            row["masks"] = result.masks.data
        return row
