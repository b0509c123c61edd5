"""One tidy table of an experiment: a row for each run and seed (and step), its settings and scores."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rtx.errors import MissingDependency, RtxError
from rtx.experiments.grid import Grid
from rtx.experiments.record import OWN_HEAD, Experiment
from rtx.experiments.store import DONE, State, maker_of
from rtx.files import write_atomic, write_whole
from rtx.sources.catalog.spec import SUFFIXES, written_out

Row = dict[str, Any]


def rows_of(name: str, states: Sequence[State], runs: Mapping[str, Row] | None = None) -> list[Row]:
    """A row for each unit; settings under `set.`, scores under `score.`; what is not done has no scores.

    Args:
        name: of the experiment.
        states: of its units.
        runs: name of a run -> more columns, see `columns_of_runs`.

    Example:
        >>> from rtx.experiments.units import Unit
        >>> unit = Unit("n5/seed0", "m:f", {"n": 5, "seed": 0}, run="n5")
        >>> record = {"result": {"accuracy": 0.5}, "seconds": 2, "processor_seconds": 3, "worker": "a/1"}
        >>> rows_of("g", [State(unit, DONE, record=record)])[0]
        {'experiment': 'g', 'unit': 'n5/seed0', 'run': 'n5', 'seed': 0, 'state': 'done', 'reason': '', 'seconds': 2, \
'processor_seconds': 3, 'worker': 'a/1', 'device': None, 'torch': None, 'set.n': 5, 'score.accuracy': 0.5}
    """
    rows = []
    for state in states:
        unit, record = state.unit, state.record if state.what == DONE and state.record else {}
        row: Row = dict(experiment=name, unit=unit.name, run=unit.run, seed=unit.seed, state=state.what)
        row |= (runs or {}).get(unit.run, {})
        row |= dict(reason=state.reason, seconds=record.get("seconds"))
        row |= dict(processor_seconds=record.get("processor_seconds"), worker=record.get("worker"))
        row |= dict(device=record.get("device"), torch=record.get("torch"))
        row |= {f"set.{k}": _plain(v) for k, v in unit.settings.items() if k != "seed"}
        row |= {f"score.{k}": _plain(v) for k, v in record.get("result", {}).items()}
        rows.append(row)
    return rows


def columns_of_runs(experiment: Experiment | Grid) -> dict[str, Row]:
    """Run of a paper -> source, transfer, norm, options and flags, which its commands hold as words.

    A grid has settings.
    """
    if isinstance(experiment, Grid):
        return {}
    untrained = OWN_HEAD if experiment.evaluation == OWN_HEAD else None
    return {
        run.name: dict(
            source=_spelled(run.source),
            transfer=untrained or run.transfer,
            norm=run.norm,
            options=" ".join(f"{key}={value}" for key, value in run.options.items()) or None,
            **run.flags,
        )
        for run in experiment.runs
    }


def _spelled(source: str) -> str:
    """As training and probes write it down; as it was given where the file has gone."""
    if source.endswith(SUFFIXES):
        from rtx.sources.spelling import full_spec  # loads PyTorch, which a table of published sources does not need

        with suppress(RtxError):
            return full_spec(source)
    return written_out(source)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every column, in the order in which they first come, scores last."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return sorted(names, key=lambda name: name.startswith("score."))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """As CSV, whole; what a row lacks is empty.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns_of(rows), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """As Parquet; a column of several types is text.

    Raises:
        MissingDependency: pyarrow is not installed.
        OutputError: it cannot be written.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependency(f"Parquet needs pyarrow ({error}); pip install 'rtx-robustness[parquet]'") from error
    columns = {name: _one_type([row.get(name) for row in rows]) for name in columns_of(rows)}
    content = io.BytesIO()
    parquet.write_table(arrow.table(columns), content)
    write_whole(path, content.getvalue())


def _one_type(values: Sequence[Any]) -> list[Any]:
    kinds = {type(v) for v in values if v is not None}
    if len(kinds) <= 1:
        return list(values)
    if kinds <= {int, float}:
        return [None if v is None else float(v) for v in values]
    return [None if v is None else str(v) for v in values]


def faults_of(states: Sequence[State]) -> list[str]:
    """What is broken, failed or missing, a line each; runs that are only missing share one."""
    bad = [f"{s.what}: {s.unit.name}: {s.reason.splitlines()[0]}" for s in states if s.what in ("broken", "failed")]
    absent = [s.unit.name for s in states if s.what == "missing"]
    if absent:
        shown = ", ".join(absent[:8]) + (f" ... ({len(absent)})" if len(absent) > 8 else "")
        bad.append(f"missing: {shown}")
    return bad


def mixture_of(states: Sequence[State]) -> str | None:
    """A warning where results of one grid come from different devices or versions of PyTorch; None where they agree."""
    makers = Counter(maker_of(s.record) for s in states if s.what == DONE and s.record)
    if len(makers) < 2:
        return None
    each = "; ".join(f"{count} on {maker}" for maker, count in sorted(makers.items()))
    return (
        f"warning: results come from {len(makers)} kinds of workers, and scores may differ a little with that: {each} "
        "(columns device and torch); remove the files of one kind to have them made again"
    )


def counts(states: Sequence[State]) -> Mapping[str, int]:
    """State -> how many."""
    return {what: sum(s.what == what for s in states) for what in ("done", "failed", "missing", "broken")}
