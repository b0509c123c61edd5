"""Score the predictions of OpenMMLab models at full precision, from the evaluator that their config names.

The configs keep the stock evaluators, so they stay valid for the stock tools. Here `CocoMetric`, `VOCMetric`,
`IoUMetric` and `Accuracy` say what to score; the numbers come from `coco`, `voc`, `miou` and `classification`, which do
not round, and which give a score to a model that predicts nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue, unknown_name
from rtx.evaluation.scorers.base import Scorer, array, floats, listed, refuse
from rtx.evaluation.scorers.classification import AccuracyScorer
from rtx.evaluation.scorers.detection import CocoScorer, VocScorer
from rtx.metrics import miou
from rtx.metrics.per_image import PixelEvidence
from rtx.results.predictions import encode_map, maps_to_bytes

__all__ = ["SCORERS", "AccuracyScorer", "CocoScorer", "IouScorer", "Scorer", "VocScorer", "build_scorer"]

log = logging.getLogger(__name__)


class IouScorer(Scorer):
    """Mean IoU over the data set; the labels come with the predictions.

    Args:
        evaluator: the config's `IoUMetric`.
        dataset: the built test set.
        headline: metric that P, mPC and rPC are made of.
    """

    def __init__(self, evaluator: Mapping[str, Any], dataset: Any, *, headline: str = "mIoU") -> None:
        kinds = listed(evaluator.get("iou_metrics", "mIoU"))
        if "mIoU" not in kinds:
            raise BadValue(f"IoUMetric iou_metrics={list(kinds)}: rtx scores mIoU, aAcc and mAcc; name 'mIoU'")
        refuse(evaluator, "nan_to_num", "classes that are not there are left out of the mean")
        super().__init__(miou.METRICS, headline)
        self.class_names = tuple(map(str, dataset.metainfo["classes"]))
        self._n_classes = len(self.class_names)
        self._ignore_index = int(evaluator.get("ignore_index", miou.IGNORE_INDEX))
        self.reset()
        log.info("scoring mIoU over %d classes, label %d ignored", self._n_classes, self._ignore_index)

    def reset(self) -> None:
        """Forget every pixel."""
        super().reset()
        self._counts = miou.PixelCounts.empty(self._n_classes)
        self._images: list[tuple[str, miou.PixelCounts]] = []
        self._maps: list[tuple[str, bytes]] = []

    def process(self, data_samples: Sequence[Any]) -> None:
        """Count pixels.

        Raises:
            BadValue: an image comes a second time, has no label map, or one of another shape.
            DataError: a label is neither a class nor ignored.
        """
        for sample in data_samples:
            name = str(sample.img_path)
            self._count(name)
            if "gt_sem_seg" not in sample:
                raise BadValue(f"{name}: no label map; the test pipeline must load annotations after resizing")
            prediction, label = (array(part.data).squeeze(0) for part in (sample.pred_sem_seg, sample.gt_sem_seg))
            lost = _not_finite(sample)
            if lost is not None and lost.any():
                self._broken.add(name)
                prediction = np.where(lost, miou.NOTHING, prediction.astype(np.int64))
            counts = miou.count(prediction, label, self._n_classes, ignore_index=self._ignore_index, name=name)
            self._counts += counts
            self._images.append((name, counts))
            if self.keep:
                self._maps.append((Path(name).stem, encode_map(prediction)))

    def flags(self) -> list[str]:
        """Whether there was nothing to compare with, and how many images had scores that are no numbers."""
        return [*([] if self._counts.labelled.any() else ["no labelled pixels"]), *super().flags()]

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "miou",
            "scorer_version": "rtx.miou/1",
            "iou": "intersections and unions summed over the data set, mean over the classes that are there",
            "ignore_index": self._ignore_index,
            "n_classes": self._n_classes,
        }

    def evidence(self) -> PixelEvidence:
        """The pixel counts of each image."""
        names = miou.image_names([path for path, _ in self._images])
        rows = zip(names, (counts for _, counts in self._images), strict=True)
        return miou.pixel_evidence(rows, self._n_classes)

    def predictions(self) -> tuple[str, bytes]:
        """Every label map as PNG; see `rtx.results.predictions.read_maps`.

        Raises:
            BadValue: `keep` was not set.
        """
        if len(self._maps) != self.n_images:
            raise BadValue("label maps were not kept; set `keep` before the first image")
        return ".zip", maps_to_bytes(self._maps)

    def _scores(self) -> dict[str, float]:
        return miou.scores(self._counts)


def _not_finite(sample: Any) -> Any:
    """(H, W) True where the best class score is NaN or infinite; None where a model gives no scores."""
    if "seg_logits" not in sample:
        return None
    # Reduced on the model's device: the scores of 150 classes are 75 times the size of the label map.
    return ~np.isfinite(floats(sample.seg_logits.data.amax(0)))


SCORERS: dict[str, type[Scorer]] = {
    "CocoMetric": CocoScorer,
    "VOCMetric": VocScorer,
    "IoUMetric": IouScorer,
    "Accuracy": AccuracyScorer,
}
"""Evaluator type in a config -> what scores it here."""


def build_scorer(evaluator: Any, dataset: Any, **options: Any) -> Scorer:
    """Make the scorer for a config's `test_evaluator`.

    Args:
        evaluator: the `test_evaluator` entry: a dict, or a list with one.
        dataset: the built test set; it gives the classes, and for VOC the ground truth.
        options: `headline`; `backend` (a COCO scorer) for COCO and VOC; `max_detections` for COCO; None leaves the
            default.

    Raises:
        UnknownName: rtx has no scorer for this evaluator, or no such metric.
        BadValue: there is not exactly one evaluator, it asks for something else than the standard metric, or it has no
            such option; or the test set leaves images out as for training.
        DataError: the ground truth cannot be read.
    """
    entries = list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]
    if len(entries) != 1 or not isinstance(entries[0], Mapping):
        raise BadValue(f"test_evaluator must be one evaluator, got {evaluator!r}; name one of {', '.join(SCORERS)}")
    entry = entries[0]
    kind = entry.get("type")
    name = kind.rpartition(".")[2] if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))
    if name not in SCORERS:
        raise unknown_name("test_evaluator type", name, place="rtx.evaluation.scorers.build.SCORERS", choices=SCORERS)
    if entry.get("format_only"):
        raise BadValue(f"{name} has format_only=True, so there is no ground truth to score against; remove it")
    given = {key: value for key, value in options.items() if value is not None}
    known = {"CocoMetric": {"headline", "max_detections", "backend"}, "VOCMetric": {"headline", "backend"}}
    unknown = sorted(set(given) - known.get(name, {"headline"}))
    if unknown:
        raise BadValue(f"the scorer of {name} has no option {', '.join(unknown)}")
    if getattr(dataset, "test_mode", True) is False and getattr(dataset, "filter_cfg", None):
        raise BadValue(
            f"the test set has filter_cfg={dict(dataset.filter_cfg)!r} and no test_mode=True, so that it leaves images "
            "out as for training; set test_dataloader.dataset.test_mode=True"
        )
    build: Any = SCORERS[name]
    scorer: Scorer = build(entry, dataset, **given)
    return scorer
