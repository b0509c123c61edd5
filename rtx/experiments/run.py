"""Doing the units of an experiment that are not there yet, on an engine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtx.engines import Begun, Engine, Outcome, Retried, opened
from rtx.engines.pool import Task, Work
from rtx.errors import BadValue, DataError, RtxError
from rtx.evaluation.sweep.locks import driving
from rtx.experiments.store import DONE, PLAN, State, check_unchanged, maker_of, write_failure, write_plan, write_result
from rtx.experiments.units import Unit, check_units, function_of

log = logging.getLogger(__name__)


@dataclass
class Tally:
    """How a command's units stand.

    Attributes:
        left: units that are neither done nor failed.
        done: done by this command.
        cached: done before.
        failed: name -> error.
        running: name -> worker.
        blocked: units whose needs have failed.
    """

    left: int = 0
    done: int = 0
    cached: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)


OnChange = Callable[[Tally, Unit, Outcome | Begun | Retried], None]


@dataclass(frozen=True)
class UnitSetup:
    """A worker for units of every kind; what their functions cache stays from one to the next.

    Attributes:
        paths: what must be there.
    """

    paths: tuple[str, ...] = ()

    def __call__(self, device: str) -> tuple[Work, dict[str, Any]]:
        """Its facts are the device's name ("cpu" for any processor) and PyTorch's version.

        Raises:
            DataError: this node does not see a path.
        """
        import torch

        for path in self.paths:
            if not os.path.exists(path):
                raise DataError(
                    f"{path!r} is not there, and runs name it; each node must see it under the same path (a shared "
                    "folder, or a mount of the container; a relative one counts from where Ray was started)"
                )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        name = torch.cuda.get_device_name() if device == "cuda" else device
        return lambda task: function_of(task[0])(task[1], device), {"device": name, "torch": str(torch.__version__)}


def paths_of(units: Sequence[Unit]) -> tuple[str, ...]:
    """Files and folders that are here and that settings name: texts with a slash, alone or in lists."""
    found: dict[str, None] = {}
    for unit in units:
        for value in unit.settings.values():
            texts = value if isinstance(value, list | tuple) else [value]
            found |= dict.fromkeys(text for text in texts if isinstance(text, str) and "/" in text)
    return tuple(text for text in found if os.path.exists(text))


def run_units(
    root: Path,
    name: str,
    units: Sequence[Unit],
    engine: Engine,
    on_change: OnChange = lambda *told: None,
    *,
    only: str | None = None,
    every: Sequence[Unit] | None = None,
) -> Tally:
    """Do what is missing; a failure is recorded and the rest goes on.

    Args:
        root: the experiment's folder.
        name: of the experiment.
        units: in the order in which they should begin; what a unit needs may come after it.
        engine: where.
        on_change: called when a unit begins, is tried again or ends.
        only: of `units`, only those of this step, see `step_of`.
        every: all units that the experiment has, see `rtx.experiments.store.write_plan`.

    Raises:
        BadValue: see `rtx.experiments.units.check_units` and `step_of`.
        RunConflict: the experiment has changed since a unit was done, or another process works in this folder.
        EngineError, OutputError: workers do not start or all die; a result cannot be written. What is done stays.
    """
    check_units(units)
    with driving(root, more="give the one that runs more --ray-workers, or choose another --work-dirs"):
        states = check_unchanged(root, units)
        units = step_of(units, only, states)
        write_plan(root, name, units, every)
        todo = [u for u in units if states[u.name].what != DONE]
        tally = Tally(left=len(todo), cached=len(units) - len(todo))
        if not todo:
            return tally
        queue = _Queue(todo, {name for name, state in states.items() if state.what == DONE})
        by_name = {u.name: u for u in todo}

        def told(event: Begun | Retried) -> None:
            if isinstance(event, Begun):
                tally.running[event.name] = event.worker
            else:
                tally.running.pop(event.name, None)
            on_change(tally, by_name[event.name], event)

        # What a command writes must come to one folder.
        shared = (str(root / PLAN),) if any("words" in u.settings for u in todo) else ()
        with opened(engine, UnitSetup((*paths_of(todo), *shared))) as pool:
            _warn_of_others(root, states, pool.facts)
            for outcome in pool.outcomes(queue.take, told):
                unit = by_name[outcome.name]
                tally.running.pop(unit.name, None)
                tally.left -= 1
                error = outcome.error
                try:
                    if error is None:
                        facts = pool.facts.get(outcome.worker)
                        write_result(
                            root,
                            unit,
                            outcome.result,
                            seconds=outcome.seconds,
                            processor_seconds=outcome.processor_seconds,
                            worker=outcome.worker,
                            facts=facts,
                        )
                except BadValue as fault:
                    error = fault
                if error is None:
                    queue.done.add(unit.name)
                    tally.done += 1
                else:
                    write_failure(root, unit, error, outcome.log, worker=outcome.worker)
                    first = str(error).splitlines()[0] if str(error) else ""
                    tally.failed[unit.name] = (
                        first if isinstance(error, RtxError) else f"{type(error).__name__}: {first}"
                    )
                on_change(tally, unit, outcome)
        tally.blocked = [u.name for u in queue.waiting]
        return tally


def step_of(units: Sequence[Unit], step: str | None, states: Mapping[str, State]) -> list[Unit]:
    """The units of one step ("train", "evaluate"), or all where it is None.

    Raises:
        BadValue: one needs a unit of another step that is not done.
    """
    if step is None:
        return list(units)
    chosen = [u for u in units if u.name.endswith(f"/{step}")]
    for unit in chosen:
        absent = [need for need in unit.needs if states[need].what != DONE]
        if absent:
            raise BadValue(f"--only {step}: {unit.name} needs {absent[0]}, which is not done; leave --only away")
    return chosen


def _warn_of_others(root: Path, states: Mapping[str, State], facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Say so where finished units were made by something else than these workers are."""
    there = {maker_of(state.record) for state in states.values() if state.what == DONE and state.record}
    here = {maker_of(each) for each in facts.values()}
    if len(there | here) > 1:
        log.warning(
            "%s: workers compute on %s%s; scores may differ a little with that, and `rtx experiments collect` has a "
            "column for it",
            root,
            " and ".join(sorted(here)),
            f", finished results were made on {' and '.join(sorted(there))}" if there else "",
        )


class _Queue:
    """Units in order, each once what it needs is done."""

    def __init__(self, units: Sequence[Unit], done: set[str]) -> None:
        self.waiting, self.done = list(reversed(units)), done

    def take(self) -> Task | None:
        for place in range(len(self.waiting) - 1, -1, -1):
            if self.done.issuperset(self.waiting[place].needs):
                unit = self.waiting.pop(place)
                return unit.name, (unit.kind, dict(unit.settings))
        return None
