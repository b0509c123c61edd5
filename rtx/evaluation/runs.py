"""Finished evaluations on disk: confidence of one, and the difference of two that saw the same pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, MissingConditions, RunConflict
from rtx.evaluation.bootstrap import LEVEL, RESAMPLES, Confidence, confidence, paired
from rtx.evaluation.scores import Cell, CellFolder, write_atomic
from rtx.types import Condition

PIXEL_FIELDS = (
    "corruption_engine",
    "corruption_engine_version",
    "channel_order",
    "corruption_seed",
    "corruption_at",
    "image_key",
    "limit",
    "n_images",
    "data_sha256",
    "metric",
)
"""Fields of a protocol card that must agree before two models are compared image by image."""


def evidence_path(root: Path, condition: Condition) -> Path:
    """Where the evidence of a cell lies: beside the cell."""
    return root / "cells" / f"{condition.key}.npz"


def read_run(root: Path) -> tuple[dict[str, Any], dict[Condition, Cell]]:
    """Protocol card and cells of an output folder.

    Raises:
        BadValue: it is no output folder of an evaluation, or a file in it is damaged.
    """
    path = root / "protocol.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadValue(f"{path}: cannot be read ({error}); give the output folder of an evaluation") from error
    names = sorted(p.stem for p in (root / "cells").glob("*.json"))
    return card, CellFolder(root, card).read([Condition.from_key(name) for name in names])


def run_confidence(
    root: Path, metric: str, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Confidence:
    """Intervals over images for one finished evaluation, from the evidence beside its cells.

    Raises:
        MissingConditions: cells have no evidence.
        BadValue: evidence does not belong to its cell.
    """
    _, cells = read_run(root)
    files = _evidence(root, cells)
    expected = {condition: cell.metrics[metric] for condition, cell in cells.items() if metric in cell.metrics}
    return confidence(files, metric, resamples=resamples, seed=seed, level=level, expected=expected)


def write_confidence(root: Path, metric: str, *, resamples: int = RESAMPLES, seed: int = 0) -> Confidence:
    """The same, written to `confidence.json` in the folder."""
    found = run_confidence(root, metric, resamples=resamples, seed=seed)
    write_atomic(root / "confidence.json", json.dumps(found.to_dict(), indent=1) + "\n")
    return found


def compare_runs(
    first: Path, second: Path, metric: str, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Confidence:
    """Intervals for first minus second.

    Raises:
        RunConflict: the two did not see the same pixels, or were not scored alike; the fields are named.
        MissingConditions: cells have no evidence, or none is common.
    """
    runs = [read_run(root) for root in (first, second)]
    same_pixels(runs[0][0], runs[1][0])
    sides = [_evidence(root, cells) for root, (_, cells) in zip((first, second), runs, strict=True)]
    return paired(sides[0], sides[1], metric, resamples=resamples, seed=seed, level=level)


def same_pixels(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Check that two protocol cards describe the same corrupted images, scored alike.

    Raises:
        RunConflict: they differ in a field of `PIXEL_FIELDS`.
    """
    differ = [
        f"{name}: {first.get(name)!r} and {second.get(name)!r}"
        for name in PIXEL_FIELDS
        if first.get(name) != second.get(name)
    ]
    if differ:
        raise RunConflict(f"the two evaluations cannot be compared image by image ({'; '.join(differ)})")


def _evidence(root: Path, cells: dict[Condition, Cell]) -> dict[Condition, Path]:
    files = {condition: evidence_path(root, condition) for condition in cells}
    missing = [condition.key for condition, path in files.items() if not path.is_file()]
    if missing:
        raise MissingConditions(
            f"{root}: {len(missing)} cells have no evidence for intervals, e.g. {missing[0]}; evaluate them again"
        )
    return files
