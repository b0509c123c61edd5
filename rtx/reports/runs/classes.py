"""Scores by class, from what an evaluation left beside its cells, or from its evidence while that is small."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue
from rtx.results.by_class import FILE, FIRST_FORMAT, FORMAT, names_are_sure, read_classes
from rtx.results.confidence import evidence_path
from rtx.results.cell import Cell
from rtx.results.protocol import protocol_key
from rtx.types import Condition

log = logging.getLogger(__name__)

EVIDENCE = 1_000_000
"""Bytes of evidence of one run that are read for it."""


def with_classes(
    folder: Path, metric: str, cells: Mapping[Condition, Cell], card: Mapping[str, Any]
) -> dict[Condition, Cell]:
    """The cells with a metric `<metric>/<class>` for every class, where these are known and belong to the scores.

    Raises:
        BadValue: the file of scores by class is damaged.
    """
    names, rows = _rows(folder, metric, cells, card)
    found = {}
    for condition, cell in cells.items():
        row = rows.get(condition)
        if row is not None and any(value is not None for value in row):
            there = {f"{metric}/{name}": value for name, value in zip(names, row, strict=True) if value is not None}
            mean = float(np.mean(list(there.values())))
            if not np.isclose(mean, cell.metrics.get(metric, np.nan), rtol=0, atol=1e-9):
                log.warning("%s: scores by class left out, those of %s belong to other scores", folder, condition.key)
                return dict(cells)
            found[condition] = replace(cell, metrics={**cell.metrics, **there})
        else:
            found[condition] = cell
    return found


def _rows(
    folder: Path, metric: str, cells: Mapping[Condition, Cell], card: Mapping[str, Any]
) -> tuple[list[str], dict[Condition, list[float | None]]]:
    path = folder / FILE
    if path.is_file():
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            if table["format"] not in (FORMAT, FIRST_FORMAT):
                raise ValueError(f"format {table['format']!r}")
            if not names_are_sure(table, card):
                log.warning("%s: its classes may be named wrongly; the evaluation's command writes it again", path)
            elif table["metric"] == metric and table["key"] == protocol_key(card):
                names = [str(name) for name in table["classes"]]
                rows = {Condition.from_key(key): list(row) for key, row in table["cells"].items()}
                if any(len(row) != len(names) for row in rows.values()):
                    raise ValueError("rows of another length than the classes")
                return _unique(names), rows
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadValue(f"{path}: not readable as scores by class ({error}); delete it") from error
    files = [evidence_path(folder, condition) for condition in cells]
    sizes = [file.stat().st_size for file in files if file.is_file()]
    if not sizes or sum(sizes) > EVIDENCE:
        return [], {}
    found = read_classes(folder, cells, metric, protocol_key(card))
    if not found:
        return [], {}
    names = [f"class {number}" for number in range(len(next(iter(found.values()))))]
    return names, {c: [None if np.isnan(v) else float(v) for v in row] for c, row in found.items()}


def _unique(names: list[str]) -> list[str]:
    """Names that come twice get their number: nothing may stand for two classes."""
    return [f"{name} ({n})" if names.count(name) > 1 else name for n, name in enumerate(names)]
