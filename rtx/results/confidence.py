"""Finished evaluations on disk: confidence of one, and the difference of two that saw the same pixels."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.corruptions import CORRUPTIONS
from rtx.errors import BadValue, MissingConditions, RunConflict
from rtx.files import write_atomic, write_whole
from rtx.results.cell import Cell, CellFolder, protocol_key
from rtx.results.intervals import LEVEL, Confidence, confidence, intervals, paired
from rtx.results.resample import RESAMPLES, Table, resampled_tables
from rtx.results.summary import grid_order, write_summary
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

CONFIDENCE_FORMAT = "rtx.confidence/1"
PIXEL_FIELDS = (
    "corruption_engine",
    "corruption_engine_version",
    "channel_order",
    "corruption_seed",
    "corruption_at",
    "image_key",
    "jpeg_quality",
    "limit",
    "subset",
    "n_images",
    "data_sha256",
    "images_sha256",
    "metric",
)
"""Fields of a protocol card that must agree before two models are compared image by image."""


def evidence_path(root: Path, condition: Condition) -> Path:
    """Where the evidence of a cell lies: beside the cell."""
    return root / "cells" / f"{condition.key}.npz"


def read_run(root: Path, conditions: Iterable[Condition] | None = None) -> tuple[dict[str, Any], dict[Condition, Cell]]:
    """Protocol card and cells of an output folder; of all conditions when None.

    Raises:
        BadValue: it is no output folder of an evaluation, or a file in it is damaged.
    """
    card = read_card(root)
    return card, CellFolder(root, card).read(stored_conditions(root) if conditions is None else conditions)


def read_card(root: Path) -> dict[str, Any]:
    """Protocol card of an output folder.

    Raises:
        BadValue: it is no output folder of an evaluation.
    """
    path = root / "protocol.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadValue(f"{path}: cannot be read ({error}); give the output folder of an evaluation") from error
    return card


def stored_conditions(root: Path) -> list[Condition]:
    """The conditions that an output folder has cells of; other files there are passed over."""
    found = []
    for path in sorted((root / "cells").glob("*.json")):
        try:
            condition = Condition.from_key(path.stem)
        except BadValue:
            condition = None
        if condition is None or (condition != CLEAN and condition.corruption not in CORRUPTIONS):
            log.warning("%s is no cell and is passed over; remove it", path)
            continue
        found.append(condition)
    return found


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


def write_confidence(
    root: Path,
    metric: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    conditions: Iterable[Condition] | None = None,
) -> Confidence:
    """The same, written to `confidence.json`, and what it is made of to `resamples.npz` for differences of runs.

    Unlike `run_confidence` it goes without the cells that cannot be resampled; `missing` says which and why. What is
    there already is kept as it is if it was made of the same cells with the same options.

    Args:
        root: the output folder.
        metric: which metric.
        resamples: how many resamplings.
        seed: of the draws.
        conditions: the cells that count, the ones that P, mPC and rPC are made of; all in the folder when None.

    Raises:
        MissingConditions: no cell at all can be resampled.
        BadValue: a cell file is damaged.
    """
    return write_confidences(root, (metric,), resamples=resamples, seed=seed, conditions=conditions)[metric]


def write_confidences(
    root: Path,
    metrics: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    conditions: Iterable[Condition] | None = None,
) -> dict[str, Confidence]:
    """The same for several metrics in one pass over the evidence.

    The first one is the headline: it is the top level of `confidence.json`, and alone in `resamples.npz`. The others
    lie under `others`; `without` has the reason for those that have no interval at all.

    Returns:
        Metric -> intervals, the headline first; those of `without` are left out.

    Raises:
        MissingConditions, BadValue: see `write_confidence`.
    """
    metric = metrics[0]
    card, cells = read_run(root, conditions)
    cells = {condition: cells[condition] for condition in sorted(cells, key=grid_order)}
    made_from = _digest(root, cells, metrics, resamples, seed)
    path, table_path = root / "confidence.json", root / "resamples.npz"
    if kept := _kept(path, table_path, made_from):
        return kept
    faults: dict[str, dict[Condition, str]] = {name: {} for name in metrics}
    tables, n_images = resampled_tables(
        {condition: evidence_path(root, condition) for condition in cells},
        metrics,
        resamples,
        seed,
        expected={c: {name: cell.metrics.get(name, np.nan) for name in metrics} for c, cell in cells.items()},
        faults=faults,
        key=protocol_key(card),
    )
    found = {
        name: intervals(table, name, n_images, seed=seed, missing=faults[name])
        for name, table in tables.items()
        if table
    }
    draws = f"{resamples} resamples of {n_images} images, seed {seed}, data {card.get('data_sha256')}"
    write_whole(table_path, _table_bytes(tables[metric], metric, draws))
    preview = card.get("limit") is not None
    head = {"format": CONFIDENCE_FORMAT, "preview": preview, "made_from": made_from}
    rest = {name: row.to_dict() for name, row in found.items() if name != metric}
    without = {name: next(iter(faults[name].values())) for name in metrics if name not in found}
    content = head | found[metric].to_dict() | {"others": rest, "without": without}
    write_atomic(path, json.dumps(content, indent=1) + "\n")
    return found


def add_confidence(root: Path, summary: Mapping[str, Any], *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Compute the intervals of a summary's own cells, write all files with them, and return the new summary.

    Raises:
        MissingConditions, BadValue: see `write_confidence`.
    """
    card, cells = read_run(root, map(Condition.from_key, summary["cells"]))
    headline = summary["metric"]
    defined = [name for name, row in summary["metrics"].items() if row["label"] != "undefined"]
    names = list(dict.fromkeys([headline, *defined]))
    return write_summary(
        root, cells, headline, card, write_confidences(root, names, resamples=resamples, conditions=cells)
    )


def _digest(root: Path, cells: Mapping[Condition, Cell], metrics: Iterable[str], resamples: int, seed: int) -> str:
    """Sha256 over everything that decides the intervals."""
    names = tuple(metrics)
    digest = hashlib.sha256(f"{CONFIDENCE_FORMAT}|{names}|{resamples}|{seed}|".encode())
    for condition, cell in cells.items():
        path = evidence_path(root, condition)
        content = path.read_bytes() if path.is_file() else b""
        values = [cell.metrics.get(name) for name in names]
        digest.update(f"{condition.key}|{values!r}|{protocol_key(cell.protocol)}|".encode())
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _kept(path: Path, table_path: Path, made_from: str) -> dict[str, Confidence] | None:
    if not table_path.is_file():
        return None
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["made_from"] != made_from:
            return None
        rows = {row["metric"]: row, **row["others"]}
        return {name: Confidence.from_dict(part) for name, part in rows.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _table_bytes(table: Table, metric: str, draws: str) -> bytes:
    """Columns named by condition, one row for each resampling; the same table gives the same bytes."""
    stream = io.BytesIO()
    values = np.stack([row[1:] for row in table.values()], axis=1)
    columns = {"conditions": np.array([c.key for c in table]), "draws": np.array(draws), metric: values}
    np.savez(stream, **columns)  # type: ignore[arg-type]  # names never equal its own keywords
    return stream.getvalue()


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
