"""Scores of probes over seeds, and differences of two sources paired by seed."""

from __future__ import annotations

from rtx.probe.results import Results
from rtx.results.over_seeds import Spread, paired, spread


def metric_name(by_class: bool) -> str:
    """The field of a row that holds the metric of a target."""
    return "mean_per_class" if by_class else "accuracy"


def by_images(results: Results, metric: str) -> dict[int, Spread]:
    """The scores of each size."""
    return {images: spread(scores, resamples=0) for images, scores in _sizes(results, metric).items()}


def differences(results: Results, reference: Results, metric: str) -> dict[int, Spread]:
    """Score minus that of another source, on the same images with the same seeds, for each size that both have."""
    mine, theirs = (_sizes(one, metric) for one in (results, reference))
    return {
        images: paired(scores, theirs[images], resamples=0).difference
        for images, scores in mine.items()
        if scores.keys() & theirs.get(images, {}).keys()
    }


def _sizes(results: Results, metric: str) -> dict[int, dict[int, float]]:
    """Images -> seed -> score."""
    found: dict[int, dict[int, float]] = {}
    for row in results.rows:
        found.setdefault(row.images, {})[row.seed] = getattr(row, metric)
    return found
