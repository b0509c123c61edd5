"""Score classifiers: top-k accuracy and its mean over classes, from mmpretrain's samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue, DataError
from rtx.evaluation.scorers.base import Scorer, array, floats, listed, refuse
from rtx.metrics.accuracy import KEPT, Accuracy, best
from rtx.metrics.metric import truth_sha256
from rtx.results.predictions import guesses_to_bytes

log = logging.getLogger(__name__)


class AccuracyScorer(Accuracy, Scorer):
    """Top-k accuracy from mmpretrain's samples.

    Args:
        classes: names of the classes in the order of the labels; empty for as many as the model has.
        root: the folder that names of images start at.
        options: those of `rtx.metrics.accuracy.Accuracy` (topk, threshold, headline).
    """

    def __init__(self, classes: Sequence[str], root: str = "", **options: Any) -> None:
        self._classes, self._root = [str(name) for name in classes], root
        super().__init__(len(self._classes) or None, **options)
        log.info("scoring %s over %s classes", ", ".join(self.metrics), self.n_classes or "the model's")

    @classmethod
    def from_config(cls, evaluator: Mapping[str, Any], dataset: Any) -> AccuracyScorer:
        """From a config's `Accuracy`, and the built test set; see `Scorer.from_config`."""
        thresholds = listed(evaluator.get("thrs", 0.0))
        if len(thresholds) != 1:
            raise BadValue(f"Accuracy thrs={list(thresholds)}: rtx scores one threshold; leave one, or None for none")
        threshold = None if thresholds[0] is None else float(thresholds[0])
        topk = tuple(map(int, listed(evaluator.get("topk", 1))))
        return cls(*_classes_and_root(dataset), topk=topk, threshold=threshold)

    def process(self, data_samples: Sequence[Any]) -> None:
        """Take class scores.

        Raises:
            BadValue: an image comes a second time, or has no class scores, or as many as the data set has no classes.
            DataError: an image has no label or several, or one that is no class.
        """
        for sample in data_samples:
            name = image_name(str(sample.img_path), self._root)
            label, scores = _label(sample, name), _class_scores(sample, name)
            if self.n_classes not in (None, len(scores)):
                raise BadValue(
                    f"image {name!r}: {len(scores)} class scores for a data set of {self.n_classes} classes; "
                    "the head of the model has another number of classes than the data set"
                )
            if max(self.topk) > len(scores):
                raise BadValue(f"top-{max(self.topk)} accuracy of {len(scores)} classes; name a smaller topk")
            if not 0 <= label < len(scores):
                raise DataError(f"image {name!r}: label {label} is none of the {len(scores)} classes")
            guess = best(name, scores, threshold=self.threshold, kept=max(KEPT, *self.topk))
            self.add(guess, label)
            if self.keep:
                self._kept.append(guess)

    def predictions(self) -> tuple[str, bytes]:
        """The best classes of each image; see `rtx.results.predictions.read_guesses`."""
        return ".npz", guesses_to_bytes(self._all_kept(), self._classes)

    def data_sha256(self, infos: Iterable[Mapping[str, Any]]) -> str:
        """Sha256 over names and classes of images; see `Scorer.data_sha256`."""
        names = dict(enumerate(self._classes))
        rows = []
        for info in infos:
            labels = np.atleast_1d(array(info.get("gt_label", []))).tolist()
            name = image_name(str(info.get("img_path")), self._root)
            rows.append((name, [names.get(int(label), label) for label in labels]))
        return truth_sha256(rows)


class MacroRecallScorer(AccuracyScorer):
    """The same accuracies, with the mean over classes as the headline."""

    @classmethod
    def from_config(cls, evaluator: Mapping[str, Any], dataset: Any) -> MacroRecallScorer:
        """From a config's `SingleLabelMetric` that asks for the macro average of recall, which is that mean.

        Raises:
            BadValue: it asks for something else.
        """
        items = listed(evaluator.get("items", ("precision", "recall", "f1-score")))
        average = evaluator.get("average", "macro")
        if items != ("recall",) or average != "macro":
            raise BadValue(
                f"SingleLabelMetric items={list(items)}, average={average!r}: rtx scores items=('recall',) with "
                "average='macro', the accuracy averaged over classes; or name Accuracy"
            )
        refuse(evaluator, "thrs", "rtx scores the class of the highest score")
        classes, root = _classes_and_root(dataset)
        return cls(classes, root, topk=(1, 5) if len(classes) >= 5 else (1,), headline="mean_class_accuracy")


def _classes_and_root(dataset: Any) -> tuple[Sequence[str], str]:
    return dataset.metainfo.get("classes") or (), str(getattr(dataset, "img_prefix", None) or "")


def image_name(path: str, root: str) -> str:
    """The file below the data set's folder, without suffix: images of two classes may share a file name.

    Example:
        >>> image_name("data/val/cat/1.jpg", "data/val/")
        'cat/1'
    """
    file = Path(path)
    inside = file.relative_to(root) if root and file.is_relative_to(root) else Path(*file.parts[-2:])
    return inside.with_suffix("").as_posix()


def _label(sample: Any, name: str) -> int:
    if "gt_label" not in sample:
        raise DataError(f"image {name!r}: has no label; the test set must be a labelled one (with_label=True)")
    labels = array(sample.gt_label).reshape(-1)
    if len(labels) != 1:
        raise DataError(f"image {name!r}: has {len(labels)} labels; accuracy is defined for exactly one")
    return int(labels[0])


def _class_scores(sample: Any, name: str) -> Any:
    if "pred_score" not in sample:
        raise BadValue(f"image {name!r}: the model returned no pred_score; is it a classifier?")
    scores = floats(sample.pred_score)
    if scores.ndim != 1:
        raise BadValue(f"image {name!r}: class scores of shape {scores.shape}; expected one score for each class")
    return scores
