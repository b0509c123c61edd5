"""The numbers that a paper printed for a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from rtx.errors import BadValue, unknown_name
from rtx.experiments.record import Experiment, PlannedRun
from rtx.reports.published import PAPERS, Paper, Record, all_records

_FIELDS = tuple(f.name for f in fields(Record))


def paper_of(experiment: Experiment) -> Paper:
    """The paper of an experiment.

    Raises:
        UnknownName: rtx has no paper of that key.
    """
    if experiment.paper not in PAPERS:
        raise unknown_name("paper", experiment.paper, place="rtx/reports/published", choices=PAPERS)
    return PAPERS[experiment.paper]


def published(experiment: Experiment, run: PlannedRun | None = None) -> tuple[Record, ...]:
    """The printed numbers that a run is to be held against, or those of the experiment that belong to no single run.

    Raises:
        UnknownName: a query names a field that records do not have.
        BadValue: a query matches no record.
    """
    found: list[Record] = []
    for query in (run or experiment).published:
        for key in query:
            if key not in _FIELDS:
                raise unknown_name("field", key, place="rtx.reports.published.Record", choices=_FIELDS)
        asked = {"paper": experiment.paper, **query}
        matches = [r for r in all_records() if all(getattr(r, key) == value for key, value in asked.items())]
        if not matches:
            where = f"{experiment.name}, run {run.name!r}" if run else experiment.name
            raise BadValue(f"{where}: no published record has {asked}")
        found += [record for record in matches if record not in found]
    return tuple(found)


def short(record: Record) -> str:
    """One record in a few characters, in percent.

    Example:
        >>> short(Record("p", "Table 1", "coco_val2017", "m", "", "", "", "bbox_mAP", "drop:noise", 0.3609))
        'bbox_mAP drop:noise 36.09'
    """
    return f"{record.metric} {_quantity(record)}"


def together(records: Sequence[Record]) -> str:
    """Several records, each metric named once."""
    by_metric: dict[str, list[str]] = {}
    for record in records:
        by_metric.setdefault(record.metric, []).append(_quantity(record))
    return "; ".join(f"{metric}: {', '.join(values)}" for metric, values in by_metric.items())


def _quantity(record: Record) -> str:
    spread = "" if record.spread is None else f"+-{100 * record.spread:.2f}"
    return f"{record.quantity} {100 * record.value:.2f}{spread}"
