"""The folder of an experiment: one JSON file for each finished unit, one for each that failed, and the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RunConflict, printable
from rtx.experiments.units import Unit
from rtx.files import json_ready, read_json, write_atomic, write_whole

PLAN = "plan.json"
DONE, FAILED, MISSING, BROKEN = "done", "failed", "missing", "broken"


@dataclass(frozen=True)
class State:
    """What the folder says of a unit: done, failed, missing or broken, and why."""

    unit: Unit
    what: str
    reason: str = ""
    record: Mapping[str, Any] | None = None


def result_file(root: Path, unit: Unit) -> Path:
    """Where its result lies."""
    return root / f"{unit.name}.json"


def error_file(root: Path, unit: Unit) -> Path:
    """Where its failure is recorded."""
    return root / f"{unit.name}.error.json"


def state_of(root: Path, unit: Unit) -> State:
    """Read a unit's files."""
    path = result_file(root, unit)
    try:
        record = read_json(path)
        key, _ = record["key"], record["result"]
    except FileNotFoundError:
        return _not_done(root, unit)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return State(unit, BROKEN, f"{path}: cannot be read ({type(error).__name__}: {error}); remove it")
    if key != unit.key:
        changed = [n for n in unit.settings if record.get("settings", {}).get(n) != unit.settings[n]]
        return State(unit, BROKEN, f"{path}: is a result under other settings ({', '.join(changed) or 'kind'})", record)
    return State(unit, DONE, record=record)


def _not_done(root: Path, unit: Unit) -> State:
    try:
        record = read_json(error_file(root, unit))
        return State(unit, FAILED, str(record["error"]), record)
    except (OSError, ValueError, KeyError, TypeError):
        return State(unit, MISSING, "not run yet")


def write_result(
    root: Path,
    unit: Unit,
    result: Mapping[str, Any],
    *,
    seconds: float,
    processor_seconds: float,
    worker: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a result, last of all, and forget an earlier failure.

    Args:
        root: the experiment's folder.
        unit: whose result it is.
        result: scores.
        seconds: that it took.
        processor_seconds: of its process and of those that this one started.
        worker: where it was made.
        facts: about that worker: `device` and `torch`. No part of the unit's identity, but scores may depend on them.

    Raises:
        BadValue: it is no dict of JSON values.
        OutputError: it cannot be written.
    """
    if not isinstance(result, Mapping):
        raise BadValue(f"{unit.kind} returned {type(result).__name__}; a dict of scores is due")
    record = {
        "key": unit.key,
        "kind": unit.kind,
        "run": unit.run,
        "seed": unit.seed,
        "settings": dict(unit.settings),
        "result": json_ready(result),
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "worker": worker,
        **(facts or {}),
    }
    try:
        text = json.dumps(record, indent=1)
    except (TypeError, ValueError) as error:
        raise BadValue(f"{unit.kind} returned no JSON values ({error}); make plain numbers of them") from error
    # Not synced: a result that a power failure takes is computed again, and a sync costs more than a small training.
    write_whole(result_file(root, unit), (text + "\n").encode(), sync=False)
    error_file(root, unit).unlink(missing_ok=True)


def maker_of(record: Mapping[str, Any]) -> str:
    """What a result was made on, in words, from its file or from the facts of a worker.

    Example:
        >>> maker_of({"device": "cpu", "torch": "2.9.0"}), maker_of({})
        ('cpu with PyTorch 2.9.0', 'a device that is not recorded')
    """
    if "device" not in record:
        return "a device that is not recorded"
    return f"{record['device']} with PyTorch {record.get('torch')}"


def write_failure(root: Path, unit: Unit, error: BaseException, log: str, *, worker: str) -> None:
    """Record why a unit failed, with its log."""
    reason = printable(f"{type(error).__name__}: {error}")
    record = {"key": unit.key, "settings": dict(unit.settings), "error": reason, "worker": worker, "log": log}
    write_atomic(error_file(root, unit), json.dumps(record, indent=1) + "\n")


def check_unchanged(root: Path, units: Iterable[Unit]) -> dict[str, State]:
    """The states of units that may go on in this folder.

    Raises:
        RunConflict: a unit was done under other settings: the experiment has changed since.
    """
    states = {unit.name: state_of(root, unit) for unit in units}
    for state in states.values():
        if state.what == BROKEN and state.record is not None:
            raise RunConflict(
                f"{state.reason}: the experiment has changed since; give the run another name, choose another "
                "--work-dirs, or remove the file to have it done again"
            )
    return states


def write_plan(root: Path, name: str, units: Sequence[Unit], every: Sequence[Unit] | None = None) -> None:
    """Leave the list of units, for `rtx status`.

    Args:
        root: the experiment's folder.
        name: of the experiment.
        units: those of this command; units of earlier ones stay in the list.
        every: all that the experiment has today; others leave the list, and settings are today's. None to keep all.
    """
    kept: dict[str, Any] = {}
    with suppress(BadValue):
        kept = {u["name"]: u for u in read_plan(root)["units"]}
    if every is not None:
        # The words of a command depend on flags that an earlier one was given.
        kept = {u.name: kept[u.name] if "words" in u.settings else vars(u) for u in every if u.name in kept}
    kept |= {u.name: vars(u) for u in units}
    write_atomic(root / PLAN, json.dumps({"experiment": name, "units": list(kept.values())}, indent=1) + "\n")


def read_plan(root: Path) -> dict[str, Any]:
    """What `write_plan` wrote.

    Raises:
        BadValue: it is not there or cannot be read.
    """
    try:
        found: dict[str, Any] = read_json(root / PLAN)
        found["units"], found["experiment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadValue(f"{root / PLAN}: no readable plan ({error}); `rtx experiments run` writes it") from error
    return found


def planned_units(root: Path) -> tuple[str, list[Unit]]:
    """The experiment's name, and the units of the plan.

    Raises:
        BadValue: see `read_plan`.
    """
    plan = read_plan(root)
    try:
        return plan["experiment"], [Unit(**{**u, "needs": tuple(u["needs"])}) for u in plan["units"]]
    except (KeyError, TypeError) as error:
        raise BadValue(f"{root / PLAN}: is of another version of rtx ({error}); run the experiment again") from error
