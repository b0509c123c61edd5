"""Score classifiers: top-k accuracy from mmpretrain's samples."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue, DataError
from rtx.evaluation.scorers.base import Scorer, array, floats, listed
from rtx.metrics import accuracy as classification
from rtx.metrics.per_image import RankEvidence
from rtx.results.predictions import guesses_to_bytes

log = logging.getLogger(__name__)


class AccuracyScorer(Scorer):
    """Top-k accuracy, and mean accuracy over classes; the labels come with the predictions.

    Args:
        evaluator: the config's `Accuracy`.
        dataset: the built test set; it gives the classes, and the folder that names of images start at.
        headline: metric that P, mPC and rPC are made of.
    """

    def __init__(self, evaluator: Mapping[str, Any], dataset: Any, *, headline: str = "accuracy_top1") -> None:
        self._topk = tuple(sorted({1, *map(int, listed(evaluator.get("topk", 1)))}))
        thresholds = listed(evaluator.get("thrs", 0.0))
        if len(thresholds) != 1:
            raise BadValue(f"Accuracy thrs={list(thresholds)}: rtx scores one threshold; leave one, or None for none")
        self._threshold = None if thresholds[0] is None else float(thresholds[0])
        if self._topk[0] < 1:
            raise BadValue(f"Accuracy topk={evaluator['topk']!r}: every k must be 1 or more")
        super().__init__(classification.metric_names(self._topk), headline)
        self._classes = [str(name) for name in dataset.metainfo.get("classes") or ()]
        self._root = getattr(dataset, "img_prefix", None) or ""
        self._n_classes: int | None = len(self._classes) or None
        self.reset()
        log.info("scoring %s over %s classes", ", ".join(self.metrics), self._n_classes or "the model's")

    def reset(self) -> None:
        """Forget every prediction."""
        super().reset()
        self._rows: list[tuple[str, int, int]] = []
        self._guesses: list[classification.Guess] = []

    def process(self, data_samples: Sequence[Any]) -> None:
        """Take class scores.

        Raises:
            BadValue: an image comes a second time, or has no class scores, or as many as the data set has no classes.
            DataError: an image has no label or several, or one that is no class.
        """
        for sample in data_samples:
            name = image_name(str(sample.img_path), str(self._root))
            self._count(name)
            label, scores = _label(sample, name), _class_scores(sample, name)
            if self._n_classes not in (None, len(scores)):
                raise BadValue(
                    f"image {name!r}: {len(scores)} class scores for a data set of {self._n_classes} classes; "
                    "the head of the model has another number of classes than the data set"
                )
            if max(self._topk) > len(scores):
                raise BadValue(f"top-{max(self._topk)} accuracy of {len(scores)} classes; name a smaller topk")
            if not 0 <= label < len(scores):
                raise DataError(f"image {name!r}: label {label} is none of the {len(scores)} classes")
            kept = max(classification.KEPT, *self._topk)
            guess = classification.best(name, scores, threshold=self._threshold, kept=kept)
            if not np.isfinite(scores).all():
                self._broken.add(name)
            self._rows.append((name, label, classification.rank_of(guess, label)))
            if self.keep:
                self._guesses.append(guess)

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "accuracy",
            "scorer_version": "rtx.accuracy/1",
            "accuracy": "share of the images whose class is among the k highest scores, lower class first where equal",
            "topk": list(self._topk),
            "threshold": self._threshold,
            "n_classes": self._n_classes,
        }

    def evidence(self) -> RankEvidence:
        """The rank of the right class in each image."""
        return classification.rank_evidence(self._rows, self._topk)

    def predictions(self) -> tuple[str, bytes]:
        """The best classes of each image; see `rtx.results.predictions.read_guesses`.

        Raises:
            BadValue: `keep` was not set.
        """
        if len(self._guesses) != self.n_images:
            raise BadValue("class scores were not kept; set `keep` before the first image")
        return ".npz", guesses_to_bytes(self._guesses, self._classes)

    def _scores(self) -> dict[str, float]:
        found = self.evidence()
        return classification.accuracies(found.labels, found.ranks, self._topk)


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
