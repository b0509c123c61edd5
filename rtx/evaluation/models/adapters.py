"""Evaluate what is no OpenMMLab model: a plain Python function, or any torch module.

    from rtx.evaluation.evaluate import evaluate
    from rtx.evaluation.models.adapters import Detector

    def predict(images):                      # a list of RGB uint8 arrays (H, W, 3)
        return [dict(boxes=..., scores=..., labels=...) for image in images]

    evaluate(Detector(predict, ["car", "dog"], name="mine v3"), "data/coco", "runs/mine")

An adapter turns what the function returns into what the sweep scores, and says in plain words, with the image's name,
what does not fit. NaN and infinity are no error: such predictions count as not made, and the cell is flagged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import CenterCrop
from mmengine.structures import InstanceData, PixelData

from rtx.errors import BadValue, some
from rtx.evaluation.models.adapter import Adapter, Function
from rtx.evaluation.models.class_names import near
from rtx.evaluation.models.folders import CLASS_FOLDERS, MAPS, Held
from rtx.evaluation.scorers.base import Scorer, array
from rtx.evaluation.scorers.classification import AccuracyScorer
from rtx.evaluation.scorers.detection import CocoScorer, VocScorer
from rtx.evaluation.scorers.segmentation import IouScorer
from rtx.metrics.coco_truth import CocoTruth, category_ids
from rtx.metrics.miou import NOTHING

log = logging.getLogger(__name__)


class Detector(Adapter):
    """A detector: returns for each image a dict of boxes, scores, labels and perhaps masks.

    `boxes` (n, 4) left, top, right, bottom in pixels of the image that it was given; `scores` (n,); `labels` (n,)
    indices into `classes`; `masks` (n, H, W), of bools or of numbers that are cut at 0.5, or n run-length dicts.
    torchvision's detectors return this form, but count labels from 1: wrap them.

    Args, beside those of `Adapter`:
        masks: whether masks are scored too.
    """

    scope = "mmdet"
    layouts = ("coco", "yolo", "cityscapes", "voc")
    returns = "dict(boxes, scores, labels)"

    def __init__(self, fn: Function, classes: Sequence[str], *, masks: bool = False, **options: Any) -> None:
        super().__init__(fn, classes, **options)
        self.masks = masks
        self._said: set[str] = set()

    def scorer(self, held: Held) -> Scorer:
        """The AP of 2007 on VOC, COCO AP elsewhere."""
        if not isinstance(held.truth, CocoTruth):
            return VocScorer(held.truth or [], held.classes)
        kinds = ("bbox", "segm") if self.masks else ("bbox",)
        return CocoScorer(held.truth, category_ids(held.truth, held.classes), kinds=kinds)

    def _fill(self, sample: Any, row: Any, size: tuple[int, int]) -> None:
        if not isinstance(row, Mapping) or not {"boxes", "scores", "labels"} <= set(row):
            got = f"a dict with {', '.join(row)}" if isinstance(row, Mapping) else f"a {type(row).__name__}"
            raise self._fault(sample, f"{got}; return a dict with boxes, scores and labels")
        boxes, scores, labels = (np.asarray(array(row[key])) for key in ("boxes", "scores", "labels"))
        n = len(scores) if scores.ndim else -1
        boxes = boxes.reshape(0, 4) if not boxes.size and n == 0 else boxes
        if scores.ndim != 1 or boxes.shape != (n, 4) or labels.shape != (n,):
            raise self._fault(
                sample,
                f"boxes {boxes.shape}, scores {scores.shape} and labels {labels.shape}; expected (n, 4), (n,) and (n,)",
            )
        if n and (boxes[:, 2:] < boxes[:, :2] - 1).any():
            wrong = boxes[(boxes[:, 2:] < boxes[:, :2] - 1).any(axis=1)][0].round(1).tolist()
            raise self._fault(sample, f"the box {wrong}; boxes are left, top, right, bottom, not width and height")
        if n and 0 < boxes[np.isfinite(boxes)].max(initial=0) <= 1:
            self._say_once(
                "image %r: every box lies within one pixel; boxes are pixels, not fractions", sample.img_path
            )
        outside = (boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, 0] >= size[1]) | (boxes[:, 1] >= size[0])
        if n and outside.mean() > 0.5:
            self._say_once(
                "image %r: %d of %d boxes lie outside of its %d x %d pixels; boxes are in pixels of the image that %s "
                "was given, not of the network's input",
                sample.img_path, outside.sum(), n, size[1], size[0], self.name,
            )  # fmt: skip
        known = self._known(sample, labels) if n else labels.astype(np.int64)
        keep = known >= 0
        pred = InstanceData(
            bboxes=torch.from_numpy(boxes[keep].astype(np.float32)),
            scores=torch.from_numpy(scores[keep].astype(np.float32)),
            labels=torch.from_numpy(known[keep].astype(np.int64)),
        )
        if self.masks:
            pred.masks = self._masks(sample, row.get("masks"), keep, size)
        sample.pred_instances = pred

    def _say_once(self, text: str, *values: Any) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning(f"{text} (said once)", *values)

    def _masks(self, sample: Any, masks: Any, keep: Any, size: tuple[int, int]) -> list[Any]:
        if masks is None and len(keep):
            raise self._fault(sample, "no masks; return them, or leave out masks=True")
        if masks is None or not len(keep):
            return []
        if isinstance(masks[0], Mapping):
            rows: list[Any] = list(masks)
        else:
            whole = np.stack([np.asarray(array(mask)) for mask in masks])
            whole = whole[:, 0] if whole.ndim == 4 and whole.shape[1] == 1 else whole  # torchvision's (n, 1, H, W)
            if whole.shape[1:] != size:
                raise self._fault(
                    sample, f"masks of shape {whole.shape} for an image of {size} (H, W); return them in its size"
                )
            rows = list(whole if whole.dtype == bool else whole > 0.5)
        if len(rows) != len(keep):
            raise self._fault(sample, f"{len(rows)} masks for {len(keep)} boxes")
        return [mask for mask, kept in zip(rows, keep, strict=True) if kept]


class Segmenter(Adapter):
    """A segmenter: returns for each image a label map (H, W) of class indices, or class scores (classes, H, W)."""

    scope = "mmseg"
    layouts = ("ade", f"{MAPS}cityscapes")
    returns = "a label map (H, W)"

    def scorer(self, held: Held) -> Scorer:
        """Mean IoU."""
        return IouScorer(held.classes, reduce_zero_label=held.rule is not None and held.rule.reduce)

    def _fill(self, sample: Any, row: Any, size: tuple[int, int]) -> None:
        found = np.asarray(array(row))
        lost = None
        if found.ndim == 3 and len(found) == len(self.classes):
            lost = ~np.isfinite(found.max(axis=0))
            found = found.argmax(axis=0)
        if found.shape != size:
            raise self._fault(
                sample,
                f"a map of shape {found.shape} for an image of {size} (H, W); return one label for each pixel of the "
                f"image, or scores of {len(self.classes)} classes, enlarged to its size",
            )
        labels = self._known(sample, found)
        labels = np.where(labels < 0, NOTHING, labels)
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(labels.astype(np.int64))[None])
        if lost is not None and lost.any():
            # What the scorer looks at to tell a class from a number that is none.
            sample.seg_logits = PixelData(data=torch.from_numpy(np.where(lost, np.nan, 0).astype(np.float32))[None])


@dataclass(frozen=True)
class ResizeEdge:
    """mmpretrain's step of that name for the shorter side, without its package: pixels are the same.

    Attributes:
        scale: the shorter side in pixels.
    """

    scale: int

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize `results["img"]`, uint8 (H, W, 3), by bilinear interpolation."""
        height, width = results["img"].shape[:2]
        least = min(height, width)
        size = int(self.scale * width / least), int(self.scale * height / least)
        image = cv2.resize(results["img"], size, interpolation=cv2.INTER_LINEAR)
        return {**results, "img": image, "img_shape": image.shape[:2]}


class Classifier(Adapter):
    """A classifier: returns the scores of the classes, (N, classes), or one row for each image.

    Args, beside those of `Adapter`, whose classes are the names of the class folders:
        resize: the shorter side that images are brought to, None for as they are.
        crop: side of the square that is cut from the middle, None for the whole image.
        prepare: pipeline steps instead of these two, from `results["img"]`, RGB uint8 (H, W, 3), to the pixels that are
            corrupted and handed over, in the same form.
    """

    scope = "mmpretrain"
    layouts = (CLASS_FOLDERS,)
    returns = "one score for each class"

    def __init__(
        self,
        fn: Function,
        classes: Sequence[str],
        *,
        resize: int | None = 256,
        crop: int | None = 224,
        prepare: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fn, classes, **options)
        self.resize, self.crop, self.prepare = resize, crop, prepare

    def match(self, names: Sequence[str]) -> None:
        """As for any adapter; each class folder must be one class of the model.

        Raises:
            UnknownName, BadValue: see `match_names`; a folder is no class of the model, or two classes are one.
        """
        super().match(names)
        absent = [name + near(name, self.classes) for name in names if name not in self.classes]
        if self.class_map is not None and absent:
            raise BadValue(
                f"{len(absent)} of {len(names)} class folders are none of the model's {len(self.classes)} classes: "
                f"{some(absent, 6)}; say which they are: --class-map MODEL=DATA ..."
            )
        if len(set(self.classes)) < len(self.classes):
            raise BadValue("--class-map: two classes of a classifier cannot be one folder; leave one of them away")

    def scorer(self, held: Held) -> Scorer:
        """Top-1 and top-5 accuracy."""
        return AccuracyScorer(held.classes, str(held.root), topk=(1, 5) if len(held.classes) >= 5 else (1,))

    def preparation(self) -> list[Any]:
        """Resize, then crop, as it was asked for."""
        if self.prepare is not None:
            return list(self.prepare)
        resize = [ResizeEdge(self.resize)] if self.resize else []
        return [*resize, *([CenterCrop(self.crop)] if self.crop else [])]

    def _fill(self, sample: Any, row: Any, size: tuple[int, int]) -> None:
        scores = np.asarray(array(row), np.float32)
        if scores.shape != (len(self.classes),):
            raise self._fault(
                sample, f"scores of shape {scores.shape}; expected one for each of {len(self.classes)} classes"
            )
        sample.pred_score = torch.from_numpy(scores)
