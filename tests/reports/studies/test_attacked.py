"""Tables of attacked networks: Table 1b's layout beside the printed numbers, and what transfer has left."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from rtx.reports.studies.attacked import after_transfer, table_1b
from rtx.reports.studies.rows import read_study
from rtx.reports.tables.table import plain


def rows_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    usual = dict(experiment="e", state="done", seed=0)
    names = list(dict.fromkeys([*usual, *(name for row in rows for name in row)]))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows([{**usual, **row} for row in rows])
    return path


def row(source: str, transfer: str, target: str, clean: float, **cells: float) -> dict[str, Any]:
    shared: dict[str, Any] = {"source": source, "transfer": transfer, "target": target, "score.P": clean}
    return shared | {f"score.cell.{key}": value for key, value in cells.items()}


def test_own_heads_stand_by_eps_beside_what_is_printed(tmp_path: Path) -> None:
    cells = {"l2_0.09375": 0.5, "l2_0.1875": 0.3}
    rows = [row(name, "own_head", "imagenet", 0.7, **cells) for name in ("resnet50_in1k_v1", "resnet50_sin")]
    study = read_study([rows_file(tmp_path / "runs.csv", rows)])
    found = table_1b(study)
    assert found is not None and found.head[2:] == ("resnet50_in1k_v1", "resnet50_sin")
    text = [[(entry.text, entry.below) for entry in line[2:]] for line in found.rows]
    assert text[0] == [("70.00", ""), ("70.00", "")]
    assert text[1] == [("50.00", "(52.10)"), ("50.00", "(39.60)")]
    assert text[2] == [("30.00", "(34.70)"), ("30.00", "(25.50)")]
    assert "do not state the norm" in found.notes[1] and after_transfer(study) is None


def test_transfers_are_ordered_from_fixed_to_full_and_no_printed_number_stands_there(tmp_path: Path) -> None:
    rows = [
        row("resnet50_in1k_v1", mode, "cifar10", 0.9, **{"l2_0.5": score, "l2_0.25": 2 * score})
        for mode, score in (("full", 0.1), ("fixed", 0.3), ("blocks:3", 0.2))
    ]
    study = read_study([rows_file(tmp_path / "runs.csv", [*rows, row("resnet50_in1k_v1", "fixed", "pets", 0.5)])])
    found = after_transfer(study)
    assert found is not None and table_1b(study) is None
    assert found.head[-3:] == ("clean", "L2 0.25", "L2 0.5")
    assert [[entry.text for entry in line][2] for line in found.rows] == ["fixed", "blocks:3", "full"]
    assert [[entry.text for entry in line][-1] for line in found.rows] == ["30.00", "20.00", "10.00"]
    assert "(" not in "".join(plain(found).splitlines()[2:-2])
