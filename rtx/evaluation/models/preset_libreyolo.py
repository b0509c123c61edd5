"""`libreyolo:FILE`: detectors of LibreYOLO (YOLOX, YOLOv9, RT-DETR, D-FINE, RF-DETR and many more), MIT-licensed."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import libreyolo
import numpy as np
import torch
from libreyolo.data.cache import ImageCacheMixin
from libreyolo.utils.serialization import validate_checkpoint_metadata
from libreyolo.validation import DetectionValidator, SegmentationValidator, ValidationConfig

from rtx.errors import WeightsError, WeightsMismatch
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.models.library import Asked, LibraryNetwork, refusing, wrong_task
from rtx.sources.reading.read import read_checkpoint
from rtx.sources.reading.unpickle import Inert

_TASKS = ("detect", "segment")


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`."""
    path = asked.place()
    content = read_checkpoint(path)
    if faults := validate_checkpoint_metadata(content):
        raise WeightsError(
            f"--model {asked.spec}: is no checkpoint of LibreYOLO 1.0 ({faults[0]}); open it there and write it again: "
            "LibreYOLO(FILE).save(NEW)"
        )
    if content["task"] not in _TASKS or asked.kind is not Detector:
        raise wrong_task(asked, f"is a model of the task {content['task']!r} (evaluated are {' and '.join(_TASKS)})")
    model = _opened(asked, path, content)
    names = asked.names(model.names, len(model.names))
    version = f"libreyolo {libreyolo.__version__}, {content['model_family']} {content['size']} {content['imgsz']}"
    masks = content["task"] == "segment"
    return asked.adapter(LibreYoloDetector(model, masks=masks), names, version, masks=masks)


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
        with TemporaryDirectory() as folder, refusing(asked, "LibreYOLO cannot open it", WeightsMismatch):
            copy = Path(folder, f"{path.stem}.pt")
            torch.save(_without_stubs(content), copy)
            model = libreyolo.LibreYOLO(str(copy), device=asked.device)
    finally:
        log.removeHandler(handler)
    if missing:
        raise WeightsMismatch(f"--model {asked.spec}: the weights do not fit: {' '.join(missing[0].split())[:500]}")
    return model


def _without_stubs(value: Any) -> Any:
    """A copy of containers without what the reader left unread."""
    if isinstance(value, dict):
        return {key: _without_stubs(item) for key, item in value.items() if not isinstance(item, Inert)}
    if isinstance(value, list):
        return [_without_stubs(item) for item in value if not isinstance(item, Inert)]
    return value


class LibreYoloDetector(LibraryNetwork):
    """A detector as its own `val` runs it: that prepares images otherwise than `predict`, and keeps every box.

    Args:
        model: of LibreYOLO.
        masks: whether it gives masks too.
    """

    def __init__(self, model: Any, *, masks: bool) -> None:
        super().__init__(model.model)
        self.model, self.masks = model, masks
        size = model._get_input_size()
        self.size: tuple[int, int] = (size[0], size[1]) if isinstance(size, (list, tuple)) else (size, size)
        kind = SegmentationValidator if masks else DetectionValidator
        settings = ValidationConfig(data_dir=".", imgsz=size, device=str(model.device), verbose=False)
        self.validator = kind(model=model, config=settings)
        self.validator._actual_imgsz = size
        self.validator.val_preproc = model._get_val_preprocessor(img_size=size)

    def forward(self, images: list[Any]) -> list[dict[str, Any]]:
        """Boxes in pixels of each image, RGB uint8 (H, W, 3), and masks."""
        self.validator.device = self.model.device = self.device
        inputs = torch.from_numpy(np.stack([self._prepared(image) for image in images]))
        sizes, nothing = [image.shape[:2] for image in images], torch.zeros(len(images), 0, 5)
        batch = self.validator._preprocess_batch((inputs, nothing, sizes, list(range(len(images)))))
        found = self.validator._postprocess_predictions(self.validator._inference(batch[0]), batch)
        return [self._row(row, size) for row, size in zip(found, sizes, strict=True)]

    def _prepared(self, image: Any) -> Any:
        """The input of the network, (3, h, w), as its validation data set makes it from a BGR image."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        if not self.validator.val_preproc.wants_unresized_image:
            bgr = ImageCacheMixin._resize_decoded(SimpleNamespace(img_size=self.size), bgr)
        return self.validator.val_preproc(bgr, np.zeros((0, 5)), self.size)[0]

    def _row(self, found: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        row = {"boxes": found["boxes"], "scores": found["scores"], "labels": found["classes"]}
        if self.masks:
            row["masks"] = found["masks"] if "masks" in found else np.zeros((0, *size), bool)
        return row
