"""Score detectors on COCO and VOC at full precision."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue, unknown_name
from rtx.evaluation.scorers.base import Scorer, array, floats, listed, refuse
from rtx.metrics import coco, voc
from rtx.metrics.coco_backends import choose_backend, version
from rtx.metrics.coco_match import coco_evidence
from rtx.metrics.coco_truth import category_ids, encode_mask, read_truth
from rtx.metrics.per_image import DetectionEvidence
from rtx.metrics.run_lengths import encode_masks
from rtx.metrics.voc_evidence import voc_evidence
from rtx.metrics.voc_match import VocCounts
from rtx.results.predictions import detections_to_bytes

log = logging.getLogger(__name__)


class _DetectionScorer(Scorer):
    """What COCO and VOC share: boxes with scores and labels for each image id."""

    def __init__(
        self, metrics: Iterable[str], headline: str, *, with_masks: bool, backend: str | None, classes: Sequence[Any]
    ) -> None:
        super().__init__(metrics, headline)
        self._with_masks = with_masks
        self._backend = choose_backend(backend)
        self._classes = list(classes)
        self._found: list[coco.Detections] = []

    def reset(self) -> None:
        """Forget every prediction; the ground truth stays."""
        super().reset()
        self._found = []

    def process(self, data_samples: Sequence[Any]) -> None:
        """Take detections; masks become run lengths at once, since full masks of a data set fill the memory."""
        for sample in data_samples:
            self._count(sample.img_id)
            found, broken = _detections(sample, with_masks=self._with_masks)
            self._found.append(found)
            if broken:
                self._broken.add(sample.img_id)

    def flags(self) -> list[str]:
        """Whether nothing was predicted, and how many images had boxes or scores that are no numbers."""
        empty = not any(len(image.scores) for image in self._found)
        return [*(["no predictions"] if empty else []), *super().flags()]

    def predictions(self) -> tuple[str, bytes]:
        """Every detection, compactly; see `rtx.results.predictions.read_detections`."""
        return ".npz", detections_to_bytes(self._found, self._classes, not_finite=sorted(self._broken, key=str))


class CocoScorer(_DetectionScorer):
    """COCO AP of boxes, and of masks where the config asks for them.

    Args:
        evaluator: the config's `CocoMetric`.
        dataset: the built test set.
        headline: metric that P, mPC and rPC are made of.
        max_detections: how many detections of a class in an image count.
        backend: which package scores; the fastest that is there when None.
    """

    def __init__(
        self,
        evaluator: Mapping[str, Any],
        dataset: Any,
        *,
        headline: str = "bbox_mAP",
        max_detections: int = coco.MAX_DETECTIONS,
        backend: str | None = None,
    ) -> None:
        kinds = listed(evaluator.get("metric", "bbox"))
        wrong = [kind for kind in kinds if kind not in coco.KINDS]
        if wrong or not kinds:
            raise unknown_name("CocoMetric metric", wrong[0] if wrong else "", place="rtx", choices=coco.KINDS)
        refuse(evaluator, "iou_thrs", "AP is defined over IoU .50:.05:.95")
        path = evaluator.get("ann_file") or getattr(dataset, "ann_file", None)
        if not path:
            raise BadValue("neither test_evaluator nor the test set names an ann_file: there is no ground truth")
        self._truth = read_truth(Path(path))
        self._categories = category_ids(self._truth, dataset.metainfo["classes"])
        self._sorted = bool(evaluator.get("sort_categories")) and list(self._categories) != sorted(self._categories)
        if self._sorted:  # as in mmdet: labels count through ascending ids
            self._categories = tuple(sorted(self._categories))
        labels = getattr(dataset, "cat_ids", None)
        if labels is not None and list(labels) != list(self._categories):
            raise BadValue(
                f"{path}: the test set's labels stand for categories {_first(labels)}, CocoMetric's for "
                f"{_first(self._categories)}; set sort_categories=True where the data set sorts them (Objects365), and "
                "give both the same ann_file"
            )
        metrics = (f"{k}_{i}" for k in kinds for i in coco.ITEMS)
        masks = "segm" in kinds
        super().__init__(metrics, headline, with_masks=masks, backend=backend, classes=self._categories)
        self._kinds, self._max_detections = kinds, max_detections
        # Evidence numbers classes by category id, whatever the order of the file and of the config.
        self.class_names = tuple(self._truth.categories[i] for i in sorted(self._categories))
        self.label_names = tuple(self._truth.categories[i] for i in self._categories)
        self._sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        log.info("scoring %s over %d classes against %s", " and ".join(kinds), len(self._categories), path)

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "coco",
            "scorer_version": version(self._backend),
            "ap": "mean over classes and IoU .50:.05:.95, 101 recall points",
            "kinds": list(self._kinds),
            "max_detections": self._max_detections,
            "n_classes": len(self._categories),
            "ground_truth_sha256": self._sha256,
            **({"labels": "ascending category ids"} if self._sorted else {}),
        }

    def _scores(self) -> dict[str, float]:
        return coco.coco_ap(
            self._truth,
            self._found,
            self._categories,
            image_ids=self._seen,
            kinds=self._kinds,
            max_detections=self._max_detections,
            backend=self._backend,
        )

    def evidence(self) -> DetectionEvidence:
        """What AP, AP50 and AP75 of boxes and masks are made of."""
        return coco_evidence(
            self._truth,
            self._found,
            self._categories,
            image_ids=self._seen,
            kinds=self._kinds,
            max_detections=self._max_detections,
        )


class VocScorer(_DetectionScorer):
    """VOC AP under every definition of `rtx.metrics.voc`.

    Args:
        evaluator: the config's `VOCMetric`.
        dataset: the built test set; its annotations are the ground truth.
        headline: metric that P, mPC and rPC are made of; what `eval_mode` stands for when None: `AP50_07` for
            "11points", `AP50_area` for "area".
        backend: which package scores COCO's definition; the fastest that is there when None.
    """

    def __init__(
        self, evaluator: Mapping[str, Any], dataset: Any, *, headline: str | None = None, backend: str | None = None
    ) -> None:
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
        names = dataset.metainfo["classes"]
        headline = headline or modes[mode]
        super().__init__(voc.DEFINITIONS, headline, with_masks=False, backend=backend, classes=names)
        self._n_classes = len(names)
        self.class_names = tuple(map(str, names))
        self._truth = {t.image_id: t for t in map(_voc_truth, map(dataset.get_data_info, range(len(dataset))))}
        self._told = False
        self._counts: VocCounts | None = None
        log.info("scoring VOC AP over %d classes, headline %s", self._n_classes, self.headline)

    def process(self, data_samples: Sequence[Any]) -> None:
        """Take detections.

        Raises:
            BadValue: an image is not in the data set.
        """
        absent = [sample.img_id for sample in data_samples if sample.img_id not in self._truth]
        if absent:
            raise BadValue(f"image {absent[0]!r} is not in the test set that the scorer was built with")
        super().process(data_samples)
        self._counts = None

    def reset(self) -> None:
        """Forget every prediction; the ground truth stays."""
        super().reset()
        self._counts = None

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "voc",
            "scorer_version": "rtx.voc/1",
            "ap": "AP50_07 and AP50_area as mmdet, AP_d2 as detectron2 on VOC2007, AP_coco as pycocotools",
            "coco_scorer": version(self._backend),
            "max_detections": coco.MAX_DETECTIONS,  # of AP_coco; the others count every detection
            "n_classes": self._n_classes,
        }

    def _scores(self) -> dict[str, float]:
        truths = [self._truth[i] for i in self._seen]
        absent = len(voc.absent_classes(truths, self._n_classes))
        if absent and not self._told:  # a property of the images, so once and not beside each of 76 cells
            log.warning("AP_d2 counts %d of %d classes without objects as 0", absent, self._n_classes)
            self._told = True
        return voc.voc_scores(self._counted(), truths, self._found, backend=self._backend)

    def evidence(self) -> DetectionEvidence:
        """What AP is made of, under every definition."""
        truths = (self._truth[i] for i in self._seen)
        return voc_evidence(truths, self._found, self._n_classes, counts=self._counted())

    def _counted(self) -> VocCounts:
        """The images processed since the last reset, matched once for scores and evidence."""
        if self._counts is None:
            self._counts = voc.count((self._truth[i] for i in self._seen), self._found, self._n_classes)
        return self._counts


def _first(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (" ..." if len(ids) > 5 else "")


def _detections(sample: Any, *, with_masks: bool) -> tuple[coco.Detections, int]:
    """The detections of an image that can be ranked, and how many cannot."""
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
    broken = int(np.sum(~good))
    if broken:
        boxes, scores, labels = boxes[good], scores[good], labels[good]
        mask_scores = None if mask_scores is None else mask_scores[good]
        masks = None if masks is None else [mask for mask, keep in zip(masks, good, strict=True) if keep]
    if masks is not None:
        masks = [dict(mask) if isinstance(mask, Mapping) else encode_mask(mask) for mask in masks]
    return coco.Detections(sample.img_id, boxes, scores, labels, masks, mask_scores), broken


def _voc_truth(info: Mapping[str, Any]) -> voc.VocTruth:
    rows = info["instances"]
    return voc.VocTruth(
        info["img_id"],
        np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4),
        np.array([row["bbox_label"] for row in rows], np.int64),
        np.array([bool(row.get("ignore_flag", 0)) for row in rows], bool),
    )
