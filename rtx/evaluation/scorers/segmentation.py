"""Score segmentation models: mean IoU from mmseg's samples."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue
from rtx.evaluation.scorers.base import Scorer, array, floats, listed, refuse
from rtx.metrics.calibration import BINS, Bins
from rtx.metrics.metric import truth_sha256
from rtx.metrics.miou import IGNORE_INDEX, NOTHING, MeanIoU, truth_row
from rtx.results.predictions import encode_map, maps_to_bytes

log = logging.getLogger(__name__)

LOOKED_AT = 1024
"""Pixels of an image, about, whose confidences are looked at: evenly spaced rows and columns."""


class IouScorer(MeanIoU, Scorer):
    """Mean IoU from mmseg's samples; the labels come with the predictions."""

    @classmethod
    def from_config(cls, evaluator: Mapping[str, Any], dataset: Any) -> IouScorer:
        """From a config's `IoUMetric`, and the built test set; see `Scorer.from_config`."""
        kinds = listed(evaluator.get("iou_metrics", "mIoU"))
        if "mIoU" not in kinds:
            raise BadValue(f"IoUMetric iou_metrics={list(kinds)}: rtx scores mIoU, aAcc and mAcc; name 'mIoU'")
        refuse(evaluator, "nan_to_num", "classes that are not there are left out of the mean")
        ignore_index = int(evaluator.get("ignore_index", IGNORE_INDEX))
        zero = reduces_zero_label(dataset)
        scorer = cls(dataset.metainfo["classes"], ignore_index=ignore_index, reduce_zero_label=zero)
        log.info("scoring mIoU over %d classes, label %d ignored", len(scorer.class_names), ignore_index)
        return scorer

    def process(self, data_samples: Sequence[Any]) -> None:
        """Count pixels.

        Raises:
            BadValue: an image comes a second time, has no label map, or one of another shape.
            DataError: a label is neither a class nor ignored.
        """
        for sample in data_samples:
            name = str(sample.img_path)
            if "gt_sem_seg" not in sample:
                raise BadValue(f"{name}: no label map; the test pipeline must load annotations after resizing")
            prediction, label = (array(part.data).squeeze(0) for part in (sample.pred_sem_seg, sample.gt_sem_seg))
            lost = _not_finite(sample)
            if lost is not None and lost.any():
                prediction = np.where(lost, NOTHING, prediction.astype(np.int64))
            self.add(name, prediction, label, _sure(sample, label, self.ignore_index))
            if self.keep:
                self._kept.append((Path(name).stem, encode_map(prediction)))

    def predictions(self) -> tuple[str, bytes]:
        """Every label map as PNG; see `rtx.results.predictions.read_maps`."""
        return ".zip", maps_to_bytes(self._all_kept())

    def data_sha256(self, infos: Iterable[Mapping[str, Any]]) -> str:
        """Sha256 over names and content of label maps; see `Scorer.data_sha256`."""
        files = [Path(str(info.get("seg_map_path") or info.get("img_path"))) for info in infos]
        return truth_sha256(map(truth_row, files))


def reduces_zero_label(dataset: Any) -> bool:
    """Whether the test set reads labels by ADE20K's rule: what its `LoadAnnotations` says, else what it says itself."""
    steps = getattr(getattr(dataset, "pipeline", None), "transforms", None) or ()
    stated = [getattr(step, "reduce_zero_label", None) for step in steps]
    own = next((value for value in stated if value is not None), None)
    return bool(getattr(dataset, "reduce_zero_label", False) if own is None else own)


def _not_finite(sample: Any) -> Any:
    """(H, W) True where the best class score is NaN or infinite; None where a model gives no scores."""
    if "seg_logits" not in sample:
        return None
    # Reduced on the model's device: the scores of 150 classes are 75 times the size of the label map.
    return ~np.isfinite(floats(sample.seg_logits.data.amax(0)))


def _sure(sample: Any, label: Any, ignore_index: int) -> Bins | None:
    """A grid of pixels of an image by the confidence of their class; None where there are no logits.

    The softmax of 150 classes at every pixel would take longer than finding the highest of them, and what neighbours
    say is much the same.
    """
    step = max(1, math.isqrt(label.size // LOOKED_AT))
    guess, truth = sample.pred_sem_seg.data[0, ::step, ::step], label[::step, ::step]
    scores = sample.seg_logits.data[:, ::step, ::step].contiguous().float() if "seg_logits" in sample else None
    if scores is None or len(scores) < 2 or scores.shape[1:] != guess.shape:
        return None
    if scores.amin() >= 0:  # of logits some are negative; sums of probabilities, as mask classifiers give, are not
        return None
    guess = guess.long()
    highest, chosen = scores.amax(0), scores.gather(0, guess.clamp(0, len(scores) - 1)[None])[0]
    confidence, finite = floats((scores - highest).exp().sum(0).reciprocal()), array(highest.isfinite())
    chosen, guess = array(chosen == highest), array(guess)
    if (finite & ~chosen).mean() > 0.001:  # the labels are not those of the highest scores
        return None
    counted = (truth != ignore_index) & finite & chosen
    return Bins.of(confidence[counted], guess[counted] == truth[counted], BINS)
