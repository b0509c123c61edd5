"""Rows of probes by size; differences pair the seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import ttest_rel

from rtx.probe.results import HeadRow, Results
from rtx.probe.summary import by_images, differences


def results(name: str, scores: dict[tuple[int, int], float]) -> Results:
    rows = tuple(HeadRow(n, seed, score, score / 2, "held-out", 1.0) for (n, seed), score in scores.items())
    return Results(Path(name), {"source": name}, rows)


def test_differences_pair_seeds() -> None:
    a = results("a", {(10, 0): 0.5, (10, 1): 0.7, (10, 2): 0.6, (20, 0): 0.8})
    b = results("b", {(10, 2): 0.65, (10, 0): 0.56, (10, 1): 0.74, (40, 0): 0.9})
    found = differences(b, a, "accuracy")
    assert list(found) == [10] and found[10].n == 3
    theirs = ttest_rel([0.56, 0.74, 0.65], [0.5, 0.7, 0.6]).confidence_interval()
    assert found[10].t == pytest.approx(tuple(theirs))
    assert by_images(a, "mean_per_class")[20].mean == pytest.approx(0.4)
