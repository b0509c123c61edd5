"""Score detectors on COCO and VOC at full precision."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue, unknown_name
from rtx.evaluation.scorers.base import Scorer, array, floats, listed, refuse
from rtx.metrics.coco import KINDS, CocoAP, Detections
from rtx.metrics.coco_truth import category_ids, encode_mask, read_truth
from rtx.metrics.metric import truth_sha256
from rtx.metrics.run_lengths import encode_masks
from rtx.metrics.voc import VocAP, VocTruth
from rtx.results.predictions import detections_to_bytes

log = logging.getLogger(__name__)


class CocoScorer(CocoAP, Scorer):
    """COCO AP of boxes, of masks, or of both, from mmdet's samples."""

    reads_annotations = False

    @classmethod
    def from_config(cls, evaluator: Mapping[str, Any], dataset: Any) -> CocoScorer:
        """From a config's `CocoMetric`, and the built test set; see `Scorer.from_config`."""
        kinds = listed(evaluator.get("metric", "bbox"))
        wrong = [kind for kind in kinds if kind not in KINDS]
        if wrong or not kinds:
            raise unknown_name("CocoMetric metric", wrong[0] if wrong else "", place="rtx", choices=KINDS)
        refuse(evaluator, "iou_thrs", "AP is defined over IoU .50:.05:.95")
        if annotated := getattr(dataset, "annotated", None):  # of a folder that has no COCO file
            path, truth = annotated.place, read_truth(annotated.tables, place=annotated.place)
        else:
            path = evaluator.get("ann_file") or getattr(dataset, "ann_file", None)
            if not path:
                raise BadValue("neither test_evaluator nor the test set names an ann_file: there is no ground truth")
            truth = read_truth(Path(path))
        categories = category_ids(truth, dataset.metainfo["classes"])
        ascending = tuple(sorted(categories))
        order = None
        if evaluator.get("sort_categories") and categories != ascending:  # as in mmdet: labels count through these
            categories, order = ascending, "ascending category ids"
        labels = getattr(dataset, "cat_ids", None)
        if labels is not None and list(labels) != list(categories):
            raise BadValue(
                f"{path}: the test set's labels stand for categories {_first(labels)}, CocoMetric's for "
                f"{_first(categories)}; set sort_categories=True where the data set sorts them (Objects365), and "
                "give both the same ann_file"
            )
        scorer = cls(truth, categories, kinds=kinds, headline="bbox_mAP")
        scorer.label_order = order
        log.info("scoring %s over %d classes against %s", " and ".join(kinds), len(categories), path)
        return scorer

    def process(self, data_samples: Sequence[Any]) -> None:
        """Take detections; masks become run lengths at once, since full masks of a data set fill the memory."""
        for sample in data_samples:
            self.add(sample.img_id, _detections(sample, with_masks="segm" in self.kinds))

    def predictions(self) -> tuple[str, bytes]:
        """Every detection, compactly; see `rtx.results.predictions.read_detections`."""
        found = [by_kind[self.kinds[0]] for by_kind in self._images.values()]
        return ".npz", detections_to_bytes(found, self.categories)

    def data_sha256(self, infos: Iterable[Mapping[str, Any]]) -> str:
        """Sha256 over names and annotations of images; see `Scorer.data_sha256`."""
        return truth_sha256(self.truth_rows(info["img_id"] for info in infos))


class VocScorer(VocAP, Scorer):
    """VOC AP under every definition of `rtx.metrics.voc`, from mmdet's samples."""

    reads_annotations = False

    @classmethod
    def from_config(cls, evaluator: Mapping[str, Any], dataset: Any) -> VocScorer:
        """From a config's `VOCMetric`, and the built test set, whose annotations are the ground truth.

        The headline is `AP50_07` of "11points", `AP50_area` of "area"; see `Scorer.from_config`.
        """
        kinds = listed(evaluator.get("metric", "mAP"))
        if kinds != ("mAP",):
            raise BadValue(f"VOCMetric metric={evaluator.get('metric')!r}: rtx scores 'mAP' only")
        if listed(evaluator.get("iou_thrs", 0.5)) != (0.5,):
            raise BadValue(f"VOCMetric iou_thrs={evaluator['iou_thrs']!r}: AP50 is at 0.5, see also AP_d2 and AP_coco")
        refuse(evaluator, "scale_ranges", "AP counts objects of every size")
        modes = {"11points": "AP50_07", "area": "AP50_area"}
        mode = evaluator.get("eval_mode", "11points")
        if mode not in modes:
            raise unknown_name("VOCMetric eval_mode", mode, place="rtx.evaluation.scorers.build", choices=modes)
        truths = map(_voc_truth, map(dataset.get_data_info, range(len(dataset))))
        scorer = cls(truths, dataset.metainfo["classes"], headline=modes[mode])
        log.info("scoring VOC AP over %d classes, headline %s", len(scorer.class_names), scorer.headline)
        return scorer

    def process(self, data_samples: Sequence[Any]) -> None:
        """Take detections.

        Raises:
            BadValue: an image is not in the data set.
        """
        for sample in data_samples:
            self.add(sample.img_id, _detections(sample, with_masks=False))

    def predictions(self) -> tuple[str, bytes]:
        """Every detection, compactly; see `rtx.results.predictions.read_detections`."""
        return ".npz", detections_to_bytes(list(self._images.values()), self.class_names)

    def data_sha256(self, infos: Iterable[Mapping[str, Any]]) -> str:
        """Sha256 over names and objects of images; see `Scorer.data_sha256`."""
        return truth_sha256(self.truth_rows(info["img_id"] for info in infos))


def _first(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (" ..." if len(ids) > 5 else "")


def _detections(sample: Any, *, with_masks: bool) -> Detections:
    """The detections of an image that can be ranked; `broken` where some cannot."""
    if "pred_instances" not in sample:
        raise BadValue(f"image {sample.img_id!r}: the model returned no pred_instances; is it a detector?")
    pred = sample.pred_instances
    boxes = floats(getattr(pred.bboxes, "tensor", pred.bboxes)).reshape(-1, 4)
    scores, labels = floats(pred.scores), array(pred.labels)
    mask_scores = floats(pred.mask_scores) if "mask_scores" in pred else None
    masks: Any = None
    if with_masks and "masks" in pred:
        masks = pred.masks
        if getattr(masks, "is_cuda", False):
            masks = encode_masks(masks)
        elif not isinstance(masks, list | tuple):
            masks = array(masks)
    good = np.ones(len(scores), bool)
    for values in (boxes, scores, mask_scores):
        if values is not None and len(values) == len(scores):  # else `Detections` says what does not fit
            finite = np.isfinite(values)
            good &= finite if finite.ndim == 1 else finite.all(axis=1)
    broken = not good.all()
    if broken:
        boxes, scores, labels = boxes[good], scores[good], labels[good]
        mask_scores = None if mask_scores is None else mask_scores[good]
        masks = None if masks is None else [mask for mask, keep in zip(masks, good, strict=True) if keep]
    if masks is not None:
        masks = [dict(mask) if isinstance(mask, Mapping) else encode_mask(mask) for mask in masks]
    return Detections(sample.img_id, boxes, scores, labels, masks, mask_scores, broken)


def _voc_truth(info: Mapping[str, Any]) -> VocTruth:
    rows = info["instances"]
    return VocTruth(
        info["img_id"],
        np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4),
        np.array([row["bbox_label"] for row in rows], np.int64),
        np.array([bool(row.get("ignore_flag", 0)) for row in rows], bool),
    )
