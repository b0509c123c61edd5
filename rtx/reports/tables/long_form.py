"""Long form: one row a cell, for everyone who wants to plot it again."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from rtx.corruptions import CORRUPTIONS
from rtx.reports.runs.runs import Run
from rtx.results.cell import Cell
from rtx.results.protocol import protocol_key

COLUMNS = (
    "model", "method", "backbone", "source", "norm", "eps", "transfer", "dataset", "metric", "corruption", "family",
    "severity", "value", "low", "high", "n_images", "preview", "flags", "seed", "engine", "engine_version",
    "channel_order", "precision", "scorer", "rtx", "protocol",
)  # fmt: skip
_STATED = ("corruption_seed", "corruption_engine", "corruption_engine_version", "channel_order", "precision")


def results_csv(runs: Sequence[Run]) -> str:
    """The headline metric of every run: one row for each cell, values as fractions at full precision."""
    return _write(row for run in runs for row in _rows(run, [run.metric]))


def metrics_csv(runs: Sequence[Run]) -> str:
    """Every metric of every cell, in the same columns; scores by class have a table of their own."""
    plain = ((run, [metric for metric in run.metrics if "/" not in metric]) for run in runs)
    return _write(row for run, metrics in plain for row in _rows(run, metrics))


def _rows(run: Run, metrics: Sequence[str]) -> Iterator[list[Any]]:
    key = protocol_key(run.card)[:16]
    return (_row(run, cell, metric, key) for metric in metrics for cell in run.cells.values())


def _row(run: Run, cell: Cell, metric: str, key: str) -> list[Any]:
    card = run.card
    value = cell.metrics.get(metric, math.nan)
    span = run.intervals.cell(cell.condition) if metric == run.metric else None
    scorer = card.get("metric") or {}
    stated = [card.get(name) for name in _STATED]
    stated += [scorer.get("scorer_version") or scorer.get("scorer"), card.get("rtx")]
    return [
        run.name,
        run.method,
        run.source.arch,
        run.source.text,
        run.source.norm or "",
        "" if run.source.eps is None else f"{run.source.eps:g}",
        run.transfer,
        run.dataset,
        metric,
        cell.condition.corruption,
        CORRUPTIONS.get(cell.condition.corruption, "clean"),
        cell.condition.severity,
        "" if math.isnan(value) else repr(value),
        *([repr(span[0]), repr(span[1])] if span else ["", ""]),
        cell.n_images or "",
        int(run.preview),
        ";".join(cell.flags),
        *("" if value is None else str(value) for value in stated),
        key,
    ]


def _write(rows: Iterator[list[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_safe(value) for value in row] for row in rows)
    return stream.getvalue()


def _safe(value: Any) -> Any:
    """A cell that stays one, and that a spreadsheet does not run as a formula: a quote in front keeps it a text."""
    if not isinstance(value, str):
        return value
    text = value if value.isprintable() else " ".join(value.split())  # a lone \r would end the row unquoted
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _number(text) else text


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
