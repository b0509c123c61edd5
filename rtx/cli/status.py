"""`rtx status RUN [RUN ...]`: how far evaluations are, and the command that finishes them.

Reads the folder only, so it works while the evaluation runs and from any machine that sees the folder. RUN is an
evaluation folder, a run folder, a folder of either, or an experiment's folder. Exit status: 0 where everything that was
asked for is there, 1 where something is missing or damaged, 2 for an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rtx.cli.words import bar, duration

COMPLETE, INCOMPLETE = 0, 1
_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="evaluation folder, run folder, or a folder of either")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects instead of text")


def run(args: argparse.Namespace) -> int:
    """Print the state of each evaluation."""
    from rtx.evaluation.sweep.progress import read_progress
    from rtx.experiments.store import PLAN
    from rtx.results.folder import PROTOCOL, find_evaluations

    folders, grids = [], []
    for path in map(Path, args.runs):
        if not (path / PLAN).is_file():
            folders += find_evaluations(path)
            continue
        grids.append(grid_state(path))
        folders += [f for f in map(Path, grids[-1]["evaluations"]) if (f / PROTOCOL).is_file()]
    states = [read_progress(folder) for folder in folders]
    if args.json:
        print(json.dumps([*grids, *(as_json(state) for state in states)], indent=1))
    else:
        print("\n\n".join([*map(grid_text, grids), *(as_text(state) for state in states)]))
    complete = all(grid["complete"] for grid in grids) and all(state.complete for state in states)
    return COMPLETE if complete else INCOMPLETE


def grid_state(root: Path) -> dict[str, Any]:
    """The runs of an experiment as JSON values."""
    from rtx.experiments.collect import counts, faults_of, mixture_of
    from rtx.experiments.store import planned_units, state_of
    from rtx.results.folder import INSIDE_RUN

    name, units = planned_units(root)
    states = [state_of(root, unit) for unit in units]
    found = counts(states)
    return {
        "folder": str(root),
        "experiment": name,
        "complete": found["done"] == len(states),
        "runs": {"total": len(states), **found},
        "faults": faults_of(states),
        "mixture": mixture_of(states),
        # Beside the results, wherever the folder has been moved to.
        "evaluations": [
            str((root / state.unit.name).parent / INSIDE_RUN) for state in states if "summary" in state.unit.settings
        ],
    }


def grid_text(state: dict[str, Any]) -> str:
    """The runs of an experiment in a few lines."""
    from rich.console import Console

    runs = state["runs"]
    drawn = bar(runs["done"], runs["total"], 20, ascii_only=Console(file=sys.stdout).options.ascii_only)
    words = ", ".join(f"{runs[what]} {what}" for what in ("failed", "missing", "broken") if runs[what])
    lines = [f"{state['folder']}: {'complete' if state['complete'] else 'INCOMPLETE: ' + words}"]
    lines.append(f"  runs      {drawn} {runs['done']}/{runs['total']}")
    lines += [f"  {fault}" for fault in state["faults"][:_SHOWN]]
    lines += [f"  {state['mixture']}"] if state["mixture"] else []
    return "\n".join("".join(c if c.isprintable() else "\ufffd" for c in line) for line in lines)


def as_json(state: Any) -> dict[str, Any]:
    """The state as JSON values; times are seconds."""
    return {
        "folder": str(state.folder),
        "key": state.key,
        "complete": state.complete,
        "preview": _preview(state),
        "whole_grid": state.whole_grid,
        "wanted": [c.key for c in state.wanted],
        "wanted_is_a_guess": state.guessed,
        "done": sorted(c.key for c in state.done),
        "missing": [c.key for c in state.missing],
        "damaged": {c.key: reason for c, reason in state.damaged.items()},
        **({"shifts": state.shifts} if state.shifts else {}),
        "without_evidence": [c.key for c in state.without_evidence],
        "n_images": state.card.get("n_images"),
        "cell_seconds": state.cell_seconds,
        "images_per_second": state.images_per_second,
        "seconds_left": state.seconds_left,
        "seconds_since_last_cell": state.newest,
        "commands": [{"words": list(c.words), "folder": c.folder} for c in state.finishing()],
    }


def as_text(state: Any) -> str:
    """The state in a few lines."""
    from rich.console import Console

    from rtx.evaluation.sweep.progress import STALLED_SECONDS
    from rtx.results.summary import protocol_line

    total, done = len(state.wanted), len(state.wanted) - len(state.missing)
    waiting = [name for name, done in state.shifts.items() if not done]
    lacking = [f"{len(state.missing)} of {total} cells missing"] if state.missing or not waiting else []
    lacking += [f"{len(waiting)} of {len(state.shifts)} shifts missing"] if waiting else []
    words = ["complete" if state.complete else f"INCOMPLETE: {', '.join(lacking)}"]
    words += ["PREVIEW"] if _preview(state) else []
    attacked = any(condition.is_attack for condition in state.wanted)
    words += [] if state.whole_grid or attacked else ["part of the benchmark only: its mean is no mPC"]
    drawn = bar(done, total, 20, ascii_only=Console(file=sys.stdout).options.ascii_only)
    lines = [f"{state.folder}: {', '.join(words)}", f"  cells     {drawn} {done}/{total}"]
    lines[-1] += " (nothing says which were asked for; the whole benchmark is assumed)" if state.guessed else ""
    extra = [c for c in state.done if c not in state.wanted]
    lines += [f"  also      {len(extra)} cells that were not asked for: {_keys(extra)}"] if extra else []
    lines += [f"  missing   {_keys(state.missing)}"] if state.missing else []
    if state.shifts:
        lines.append(f"  shifts    {', '.join(n if d else f'{n} (missing)' for n, d in state.shifts.items())}")
    for condition, reason in list(state.damaged.items())[:_SHOWN]:
        lines.append(f"  damaged   {condition.key}: {reason}")
    if state.without_evidence:
        lines.append(f"  evidence  none beside {_keys(state.without_evidence)}: no intervals")
    lines += _pace_lines(state, STALLED_SECONDS) if state.missing else []
    line = protocol_line(state.card, state.key).replace("`", "")
    lines.append(f"  protocol  {state.card.get('n_images')} images. {line}")
    if not state.complete:
        found = state.finishing()
        for command in found[:3]:
            lines.append(f"  finish    {command.line}")
        if not found:
            lines.append("  finish    the same command again, without --overwrite; it is not recorded in the folder")
    # Names and commands come from files: no control character of theirs reaches the terminal.
    return "\n".join("".join(c if c.isprintable() else "\ufffd" for c in line) for line in lines)


def _pace_lines(state: Any, stalled: float) -> list[str]:
    lines = []
    each, left, pace = state.cell_seconds, state.seconds_left, state.images_per_second
    if each is None:
        lines.append("  pace      not known before the first cell is there")
    else:
        lines.append(f"  pace      {duration(each)} a cell, {pace:.1f} img/s; {duration(left)} left with one process")
    if state.newest is not None and state.newest > max(stalled, 3 * (each or 0.0)):
        lines.append(f"  last      cell written {duration(state.newest)} ago")
    return lines


def _preview(state: Any) -> bool:
    return state.card.get("limit") is not None


def _keys(conditions: Any) -> str:
    keys = [condition.key for condition in conditions]
    return " ".join(keys[:_SHOWN]) + (f" ... ({len(keys)})" if len(keys) > _SHOWN else "")
