"""Resampling the images of an evaluation: the draws, and the score of every cell under each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, MissingConditions, RtxError, unknown_name
from rtx.metrics.accuracy import resampled_accuracy
from rtx.metrics.metric import ratio
from rtx.metrics.per_image import DetectionEvidence, Evidence, Measure, PixelEvidence, RankEvidence
from rtx.types import Condition

RESAMPLES = 1000

Floats = NDArray[np.float64]
Weights = NDArray[np.uint16]
Array = NDArray[Any]
Table = dict[Condition, Floats]
"""Condition -> the score itself, then that of each resampling."""

NOT_KEPT = "the evidence does not hold it"

COCO_POINTS = np.linspace(0, 1, 101).astype(np.float64)
VOC_POINTS = np.arange(0, 1 + 1e-3, 0.1).astype(np.float64)  # with the rounding errors that both references have


def draw(n_images: int, resamples: int = RESAMPLES, seed: int = 0) -> Weights:
    """How often each image is drawn in each resampling; depends on nothing but the three numbers.

    Returns:
        (resamples, n_images); every row sums to `n_images`.

    Raises:
        BadValue: fewer than one image or one resampling, or more than a million of either.
    """
    if not 1 <= n_images <= 1_000_000 or not 1 <= resamples <= 1_000_000:
        raise BadValue(f"{resamples} resamplings of {n_images} images: both must be 1 or more, at most a million")
    rng = np.random.Generator(np.random.Philox(key=seed))
    rows = np.empty((resamples, n_images), np.uint16)
    for row in rows:  # one at a time: a whole table of draws would be four times the size
        row[:] = np.bincount(rng.integers(n_images, size=n_images), minlength=n_images)
    return rows


def resampled_tables(
    evidence: Mapping[Condition, Evidence],
    metrics: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
    *,
    expected: Mapping[Condition, Mapping[str, float]],
    faults: Mapping[str, dict[Condition, str]] | None = None,
) -> tuple[dict[str, Table], int]:
    """Scores of every resampling, for several metrics in one pass over the evidence.

    Args:
        evidence: of the cells; looked up one after the other, a few ahead.
        metrics: which metrics, the one that must not be missing first; of the others the table may be empty.
        resamples: how many resamplings.
        seed: of the draws.
        expected: condition -> metric -> the score that the cell file holds; evidence that gives another one is refused.
        faults: metric -> takes the reason for each cell that cannot be resampled, which is left out then; an error when
            None.

    Returns:
        Metric -> condition -> (1 + resamples,) the score itself, then that of each resampling; the number of images.

    Raises:
        BadValue: cells were scored on different images, or a cell's evidence does not give its score.
        UnknownName: the evidence does not hold the metric.
        MissingConditions: there is no cell, or none without a fault.
    """

    def note(names: Sequence[str], condition: Condition, error: RtxError) -> None:
        if faults is None:
            raise error
        for name in names:
            faults[name][condition] = str(error)

    image_ids: tuple[str, ...] | None = None
    weights: Weights | None = None
    tables: dict[str, Table] = {metric: {} for metric in metrics}
    for condition, found in _read_ahead(evidence):
        try:
            if isinstance(found, RtxError):
                raise found
            if image_ids is not None and image_ids != found.image_ids:
                raise BadValue(
                    f"{condition.key} was scored on {len(found.image_ids)} images, another cell on {len(image_ids)} "
                    "that are not the same; paired resampling needs the same images"
                )
            if weights is None:
                n_images = len(found.image_ids)
                weights = np.concatenate([np.ones((1, n_images), np.uint16), draw(n_images, resamples, seed)])
        except RtxError as error:
            note(metrics, condition, error)
            continue
        image_ids = found.image_ids
        for metric in metrics:
            if faults is not None and metric != metrics[0] and metric not in found.metrics:
                faults[metric][condition] = NOT_KEPT
                continue
            value = expected.get(condition, {}).get(metric)
            try:
                tables[metric][condition] = _checked(scores(found, weights, metric), value, condition, metric)
            except RtxError as error:
                note([metric], condition, error)
    first = metrics[0]
    if weights is None or not tables[first]:
        reason = f" ({next(iter(faults[first].values()))})" if faults and faults[first] else ""
        raise MissingConditions(f"no cell with evidence: there is nothing to resample{reason}")
    return tables, weights.shape[1]


def _checked(row: Floats, value: float | None, condition: Condition, metric: str) -> Floats:
    """A row of a table whose first number is the score in the cell file."""
    if value is not None and not np.isclose(row[0], value, rtol=0, atol=1e-9, equal_nan=True):
        raise BadValue(
            f"the evidence of {condition.key} gives {metric} {row[0]!r}, its cell {value!r}; "
            "delete both files and run again"
        )
    return row


def _read_ahead(evidence: Mapping[Condition, Evidence]) -> Iterator[tuple[Condition, Evidence | RtxError]]:
    """Each cell's evidence, or why there is none; the next file is unpacked while the last one is resampled."""

    def look_up(condition: Condition) -> Evidence | RtxError:
        try:
            return evidence[condition]
        except RtxError as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        coming: deque[tuple[Condition, Future[Evidence | RtxError]]] = deque()
        for condition in evidence:
            coming.append((condition, pool.submit(look_up, condition)))
            if len(coming) > 2:
                first, later = coming.popleft()
                yield first, later.result()
        for condition, later in coming:
            yield condition, later.result()


def scores(evidence: Evidence, weights: Weights, metric: str) -> Floats:
    """One metric for each resampling.

    Args:
        evidence: of one cell.
        weights: (resamplings, images) how often each image was drawn; a row of ones is the data set itself.
        metric: its name.

    Returns:
        (resamplings,) fractions; NaN where a resampling holds nothing that defines the metric.

    Raises:
        BadValue: the weights are for another number of images.
        UnknownName: the evidence does not hold that metric.
    """
    if weights.ndim != 2 or weights.shape[1] != len(evidence.image_ids):
        raise BadValue(f"weights of shape {weights.shape} for {len(evidence.image_ids)} images")
    if metric not in evidence.metrics:
        raise unknown_name("metric", metric, place="the evidence of this cell", choices=evidence.metrics)
    if isinstance(evidence, PixelEvidence):
        return _pixel_scores(evidence, weights, metric)
    if isinstance(evidence, RankEvidence):
        return resampled_accuracy(evidence, weights, metric)
    measure = evidence.measures[metric]
    return _precision_scores(evidence, measure, weights)


def _precision_scores(evidence: DetectionEvidence, measure: Measure, weights: Weights) -> Floats:
    from rtx.results.resample_ap import class_sums  # numba takes a second to import, and few callers resample

    ranking = evidence.rankings[measure.ranking]
    points = {"101 points": COCO_POINTS, "11 points": VOC_POINTS, "area": np.zeros(0)}[measure.rule]
    # COCO's precision is tp / (tp + fp + eps), which makes a perfect score 1 - 2e-16.
    eps = float(np.spacing(1)) if measure.rule == "101 points" else 0.0
    total, counted = class_sums(ranking, measure.thresholds, weights, points, eps)
    if measure.absent == "zero":
        return np.asarray(total / (len(ranking.starts) - 1))
    # Without any object, VOC's means are 0 and COCO's undefined.
    return ratio(total, counted, np.nan if measure.rule == "101 points" else 0.0)


def _pixel_scores(evidence: PixelEvidence, weights: Weights, metric: str) -> Floats:
    n = evidence.n_classes
    table = np.zeros((len(evidence.image_ids), 3, n))
    place = evidence.rows[:, 0] * n + evidence.rows[:, 1]
    for part in range(3):
        sums = np.bincount(place, evidence.rows[:, 2 + part], minlength=len(table) * n)
        table[:, part] = sums.reshape(-1, n)
    # Whole numbers below 2**53, so the sums are exact in any order.
    counts = (weights.astype(np.float64) @ table.reshape(len(table), -1)).reshape(-1, 3, n)
    both, predicted, labelled = counts[:, 0], counts[:, 1], counts[:, 2]
    if metric == "aAcc":
        return ratio(both.sum(axis=1), labelled.sum(axis=1))
    whole = predicted + labelled - both if metric == "mIoU" else labelled
    return ratio(ratio(both, whole, 0.0).sum(axis=1), (whole > 0).sum(axis=1))
