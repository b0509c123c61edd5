"""Scores by class, from what an evaluation left beside its cells, or from its evidence while that is small."""

from __future__ import annotations

from dataclasses import replace

from rtx.results.by_class import evidence_scores, read_classes
from rtx.results.cell import Cell
from rtx.results.evaluation import Evaluation
from rtx.types import Condition

EVIDENCE = 1_000_000
"""Bytes of evidence of one run that are read for it."""


def with_classes(evaluation: Evaluation, metric: str) -> dict[Condition, Cell]:
    """The cells with a metric `<metric>/<class>` for every class, where these are known and belong to the scores.

    Raises:
        BadValue: the file of scores by class is damaged.
    """
    names, rows = read_classes(evaluation, metric)
    if not rows:
        sizes = [size for condition in evaluation.cells if (size := evaluation.evidence.size(condition)) is not None]
        rows = evidence_scores(evaluation, metric) if sizes and sum(sizes) <= EVIDENCE else {}
        names = [f"class {number}" for number in range(max(map(len, rows.values()), default=0))]
    names, found = _unique(names), {}
    for condition, cell in evaluation.cells.items():
        row = rows.get(condition, ())
        there = {f"{metric}/{name}": value for name, value in zip(names, row, strict=False) if value is not None}
        found[condition] = replace(cell, metrics={**cell.metrics, **there}) if there else cell
    return found


def _unique(names: list[str]) -> list[str]:
    """Names that come twice get their number: nothing may stand for two classes."""
    return [f"{name} ({n})" if names.count(name) > 1 else name for n, name in enumerate(names)]
