"""Accuracy of classifiers, from the rank that the right class got in each image.

A rank is how many classes are preferred to the right one: 0 is a hit of the first guess, less than 5 a hit of five
guesses. Of equal scores the class with the lower number is preferred. Ranks add up over any set of images, so top-k
accuracy of any k, its mean over classes and intervals all come from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue
from rtx.metrics.calibration import of_top_labels
from rtx.metrics.metric import Metric, ratio
from rtx.metrics.per_image import RankEvidence

KEPT = 10
MISS = np.iinfo(np.uint16).max
"""The rank of an image without a usable prediction: a miss for every k."""


@dataclass(frozen=True)
class Guess:
    """The prediction of a classifier for one image.

    Attributes:
        image: name of the image, with its folder where folders are classes.
        labels: (k,) class numbers, most preferred first; empty where no score was a guess.
        scores: (k,) their scores.
        broken: whether its scores were NaN or infinite, so that there is no guess.
        softmax: of all scores, for the first class; None where the other scores are not known.
        logits: whether a score lies outside [0, 1], so that they cannot be probabilities.
    """

    image: str
    labels: NDArray[np.integer[Any]]
    scores: NDArray[np.floating[Any]]
    broken: bool = False
    softmax: float | None = None
    logits: bool = False


class Accuracy(Metric):
    """Top-k accuracy, and mean accuracy over classes; the labels come with the predictions.

    Args:
        n_classes: how many classes there are; None if unknown before the first prediction.
        topk: which k; 1 is always there.
        threshold: classes whose score is not above it were no guess.
        headline: what P, mPC and rPC are made of: "accuracy_top1", or "mean_class_accuracy" (macro recall), which
            Salman et al. (2020) report for targets with classes of unequal size.

    Raises:
        BadValue: a k is less than 1, or more than there are classes.
        UnknownName: no such headline.
    """

    def __init__(
        self,
        n_classes: int | None,
        *,
        topk: Iterable[int] = (1, 5),
        threshold: float | None = None,
        headline: str = "accuracy_top1",
    ) -> None:
        self.topk = tuple(sorted({1, *topk}))
        self.threshold, self.n_classes = threshold, n_classes
        if self.topk[0] < 1:
            raise BadValue(f"topk={list(self.topk)}: every k must be 1 or more")
        super().__init__(metric_names(self.topk), headline)

    def add(self, guess: Guess, label: int) -> None:
        """Take what a classifier says about an image.

        Args:
            guess: its best classes, at least as many as the largest k where its scores were numbers.
            label: the right class.

        Raises:
            BadValue: the image comes a second time.
        """
        sure = (float(guess.scores[0]), guess.softmax, guess.logits) if len(guess.scores) else None
        self._add(guess.image, (label, rank_of(guess, label), sure), broken=guess.broken)

    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""
        return {
            "scorer": "accuracy",
            "scorer_version": "rtx.accuracy/1",
            "accuracy": "share of the images whose class is among the k highest scores, lower class first where equal",
            "topk": list(self.topk),
            "threshold": self.threshold,
            "n_classes": self.n_classes,
            # Left out where it is the usual one, so that the protocol of earlier evaluations stays the same.
            **({} if self.headline == "accuracy_top1" else {"headline": self.headline}),
        }

    def evidence(self) -> RankEvidence:
        """The rank of the right class in each image."""
        return rank_evidence(((name, *row[:2]) for name, row in self._images.items()), self.topk)

    def diagnosis(self) -> dict[str, Any]:
        """Calibration of the highest scores, of logits after a softmax; images without a guess do not count.

        A classifier gives logits where any score of any image lies outside [0, 1]; then all are taken for logits.
        """
        rows = [(*sure, rank == 0) for _, (_, rank, sure) in sorted(self._images.items()) if sure is not None]
        right = np.array([row[3] for row in rows], bool)
        soft = any(row[2] for row in rows) and all(row[1] is not None for row in rows)
        confidence = np.array([row[1] if soft else row[0] for row in rows], float)
        return {"calibration": {"classes": of_top_labels(confidence, right)}}

    def _scores(self) -> dict[str, float]:
        found = self.evidence()
        return accuracies(found.labels, found.ranks, self.topk)


def best(image: str, scores: NDArray[np.floating[Any]], *, threshold: float | None = None, kept: int = KEPT) -> Guess:
    """The most preferred classes of an image.

    Args:
        image: its name.
        scores: (classes,).
        threshold: classes whose score is not above it are no guess, as in mmpretrain's `Accuracy`.
        kept: how many at most.

    Example:
        >>> best("a", np.array([0.1, 0.8, 0.1])).labels.tolist()
        [1, 0, 2]
    """
    if not np.isfinite(scores).all():
        return Guess(image, np.zeros(0, np.int64), np.zeros(0, np.float32), broken=True)
    order = np.argsort(-scores, kind="stable")[:kept]
    softmax = float(1 / np.exp(scores.astype(np.float64) - scores.max()).sum()) if len(scores) else None
    logits = bool(len(scores) and (scores.min() < 0 or scores.max() > 1 + 1e-6))
    if threshold is not None:
        order = order[scores[order] > threshold]
    return Guess(image, order, scores[order], softmax=softmax, logits=logits)


def rank_of(guess: Guess, label: int) -> int:
    """How many classes are preferred to the right one; `MISS` where it is not among the guesses."""
    found = np.flatnonzero(guess.labels == label)
    return int(found[0]) if found.size else int(MISS)


def metric_names(topk: Iterable[int]) -> tuple[str, ...]:
    """Names of what `accuracies` gives.

    Example:
        >>> metric_names([1, 5])
        ('accuracy_top1', 'accuracy_top5', 'mean_class_accuracy')
    """
    return (*(f"accuracy_top{k}" for k in topk), "mean_class_accuracy")


def accuracies(
    labels: NDArray[np.integer[Any]], ranks: NDArray[np.integer[Any]], topk: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Share of the images whose class is among the first k guesses, and the mean over classes of that for k = 1.

    Classes without an image are left out of the mean.

    Args:
        labels: (n,) the right classes.
        ranks: (n,) the rank that each got.
        topk: which k.

    Example:
        >>> accuracies(np.array([0, 0, 1]), np.array([0, 0, 1]), [1])
        {'accuracy_top1': 0.6666666666666666, 'mean_class_accuracy': 0.5}
    """
    found = {f"accuracy_top{k}": int((ranks < k).sum()) / len(ranks) if len(ranks) else math.nan for k in topk}
    means = [int((ranks[labels == c] == 0).sum()) / int((labels == c).sum()) for c in np.unique(labels)]
    return {**found, "mean_class_accuracy": math.fsum(means) / len(means) if means else math.nan}


def rank_evidence(rows: Iterable[tuple[str, int, int]], topk: Sequence[int]) -> RankEvidence:
    """Evidence of accuracies, from (image, right class, rank)."""
    table = sorted(rows)
    labels = np.array([label for _, label, _ in table], np.int64)
    ranks = np.array([rank for *_, rank in table], np.int64)
    return RankEvidence(tuple(name for name, *_ in table), labels, ranks, metric_names(topk))


def resampled_accuracy(
    evidence: RankEvidence, weights: NDArray[np.unsignedinteger[Any]], metric: str
) -> NDArray[np.float64]:
    """One accuracy for each resampling of the images.

    Args:
        evidence: of one cell.
        weights: (resamplings, images) how often each image was drawn.
        metric: one of the evidence's.

    Returns:
        (resamplings,) fractions, NaN where nothing was drawn.
    """
    if metric != "mean_class_accuracy":
        right = evidence.ranks < int(metric.removeprefix("accuracy_top"))
        return ratio(weights[:, right].sum(axis=1, dtype=np.int64), weights.sum(axis=1, dtype=np.int64))
    order = np.argsort(evidence.labels, kind="stable")
    if not order.size:
        return np.full(len(weights), np.nan)
    starts = np.flatnonzero(np.r_[True, np.diff(evidence.labels[order]) > 0])
    drawn = weights[:, order]
    images = np.add.reduceat(drawn, starts, axis=1, dtype=np.int64)
    hits = np.add.reduceat(drawn * (evidence.ranks[order] == 0), starts, axis=1, dtype=np.int64)
    means = np.divide(hits, images, out=np.zeros(hits.shape), where=images > 0)
    # A class without an image in a resample is left out, as one without images is.
    return ratio(means.sum(axis=1), (images > 0).sum(axis=1))
