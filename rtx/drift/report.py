"""The drift of several runs: one table, one figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtx.files import json_ready, write_atomic
from rtx.reports.figures.drift import by_corruption, by_layer, drift_point
from rtx.reports.figures.style import save, settings
from rtx.results.drift import Drift, Similarity
from rtx.types import CLEAN

COMPARISON = "comparison.json"


def draw_one(drift: Drift, folder: Path) -> None:
    """Draw a run's heat map of corruptions and layers into its folder; nothing where only clean images were seen."""
    if any(condition != CLEAN for condition in drift.cells):
        with settings():
            save(by_corruption(drift), folder / "by_corruption")


def compare(drifts: Sequence[Drift], out: Path) -> dict[str, Any]:
    """Draw all runs into one figure; write and return means, and differences to the first run, paired by image.

    Returns:
        `point`, one sentence, and `runs`: for each `name`, `layers`, and lists by layer of `run` and `source` (clean
        against corrupted images; mean over the corrupted conditions), `source_to_run_clean`, `source_to_run`, each of
        value, low, high, and `minus_first` where the images are those of the first.
    """
    with settings():
        save(by_layer(drifts), out / "drift")
    rows = []
    for drift in drifts:
        row: dict[str, Any] = {"name": drift.name, "layers": list(drift.layers)}
        row["run"] = drift.mean("run", "cka")
        row["source"] = drift.mean("source", "cka") if drift.has("source") else None
        row["source_to_run_clean"] = row["source_to_run"] = None
        if drift.has("source_to_run"):
            row["source_to_run_clean"] = drift.mean("source_to_run", "cka", lambda c: c == CLEAN)
            row["source_to_run"] = drift.mean("source_to_run", "cka")
        first = drifts[0]
        row["minus_first"] = None if drift is first else drift.minus(first, "run", "cka", lambda c: c != CLEAN)
        rows.append({key: _plain(value) for key, value in row.items()})
    found = json_ready({"point": drift_point(drifts), "runs": rows})
    write_atomic(out / COMPARISON, json.dumps(found, indent=1) + "\n")
    result: dict[str, Any] = found
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], Similarity):
        return [vars(one) for one in value]
    return value
