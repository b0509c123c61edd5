"""Published numbers to stand beside one's own: figures and where they were printed, nothing recalled or guessed."""

from __future__ import annotations

from functools import cache

from rtx.reports.published import benchmark, robustness, salman, sources, utrera, yamada
from rtx.reports.published.record import OURS, Paper, Record, departures, published_metric

__all__ = ["OURS", "PAPERS", "Paper", "Record", "all_records", "departures", "published_metric", "trend_points"]

PAPERS: dict[str, Paper] = {
    paper.key: paper
    for paper in (salman.PAPER, utrera.PAPER, yamada.PAPER, benchmark.PAPER, robustness.PAPER, *sources.PAPERS)
}


@cache
def all_records() -> tuple[Record, ...]:
    """Every record of every paper."""
    return (
        *salman.records(),
        *utrera.records(),
        *yamada.records(),
        *benchmark.records(),
        *robustness.records(),
        *sources.records(),
    )


def trend_points(dataset: str, metric: str) -> list[tuple[str, float, float]]:
    """Published detectors on a test set, trained in the usual way: (name, P, mPC); `metric` as rtx calls it.

    Example:
        >>> len(trend_points("coco_val2017", "bbox_mAP"))
        12
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for record in benchmark.records():
        if (record.dataset, record.metric, record.note) == (dataset, published_metric(metric), ""):
            found.setdefault((record.method, record.backbone), {})[record.quantity] = record.value
    return [(f"{method} {backbone}", row["P"], row["mPC"]) for (method, backbone), row in found.items()]
