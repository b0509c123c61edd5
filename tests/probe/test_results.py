"""A file of results goes on under the same settings and under no others."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from rtx.errors import DataError, RunConflict
from rtx.probe.results import HeadRow, file_name, open_results, read_results, write_csv

SETTINGS = {"source": "a", "target": "t", "head": "logistic", "cache": "k", "decays": (0.1, 1.0)}


def test_rows_stay_and_missing_ones_are_known(tmp_path: Path) -> None:
    path = tmp_path / file_name("t", "resnet18:random", "logistic")
    assert path.name == "t_resnet18-random_logistic.json"
    found = open_results(path, SETTINGS)
    assert found.missing(100, range(3)) == [0, 1, 2] and not path.exists()
    found.with_rows([HeadRow(100, 1, 0.5, 0.4, "held-out", 1.0), HeadRow(50, 0, 0.3, 0.3, "held-out", 1.0)])
    again = open_results(path, SETTINGS)
    assert again.missing(100, range(3)) == [0, 2] and [row.images for row in again.rows] == [50, 100]
    assert again == read_results(path)
    write_csv(tmp_path / "all.csv", [again])
    lines = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert [(line["source"], line["images"], line["accuracy"]) for line in lines] == [
        ("a", "50", "0.3"),
        ("a", "100", "0.5"),
    ]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    open_results(path, SETTINGS).with_rows([HeadRow(100, 1, 0.5, 0.4, "held-out", 1.0)])
    with pytest.raises(RunConflict, match=r"another cache \(cache: 'k' there, 'x' asked for\)"):
        open_results(path, {**SETTINGS, "cache": "x"})
    path.write_text("{}")
    with pytest.raises(DataError, match="no file of probe results"):
        open_results(path, SETTINGS)
