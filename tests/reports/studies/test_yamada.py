"""Degree of fine-tuning: P, mPC and the drop by learning rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.reports.studies.figures import draw_degree
from rtx.reports.studies.rows import read_study
from rtx.reports.studies.yamada import degree
from tests.reports.studies.made_tables import NATURAL, trained, write_table


def test_scores_stand_by_learning_rate_and_the_drop_is_made_for_each_seed(tmp_path: Path) -> None:
    scores = {0.1: [(0.9, 0.45), (0.8, 0.6)], 0.01: [(0.7, 0.35), (0.7, 0.35)]}
    rows = [
        trained(NATURAL, "full", "cifar10", seed, p, recipe="yamada", lr=rate, **{"score.mPC": mpc})
        for rate, pairs in scores.items()
        for seed, (p, mpc) in enumerate(pairs)
    ]
    rows.append(trained(NATURAL, "fixed", "cifar10", 0, 0.5, recipe="yamada", lr=0.1, **{"score.mPC": 0.4}))
    study = read_study([write_table(tmp_path / "a.csv", rows)])
    table, figure = degree(study), draw_degree(study)
    assert table is not None and figure is not None
    curves = [[tuple(point) for point in line.get_xydata()] for axes in figure.axes for line in axes.get_lines()]
    assert curves == [
        [(0.01, pytest.approx(low)), (0.1, pytest.approx(high))] for low, high in ((70, 85), (35, 52.5), (50, 37.5))
    ]
    slow, fast = ([entry.text for entry in row] for row in table.rows)
    assert slow == [NATURAL, "CIFAR-10", "all", "full", "yamada", "0.01", "2", "70.00", "35.00", "50.00"]
    assert fast[5:] == ["0.1", "2", "85.00", "52.50", "37.50"], "1 - mPC / P is 50 % and 25 %"
    assert table.rows[1][7].best and table.rows[1][8].best and not table.rows[0][7].best


def test_one_rate_or_no_corruption_is_no_table(tmp_path: Path) -> None:
    one = [trained(NATURAL, "full", "cifar10", 0, 0.9, lr=0.1, **{"score.mPC": 0.5})]
    clean = [trained(NATURAL, "full", "cifar10", 0, 0.9, lr=rate) for rate in (0.1, 0.2)]
    for rows in (one, clean):
        study = read_study([write_table(tmp_path / "a.csv", rows)])
        assert degree(study) is None and draw_degree(study) is None
