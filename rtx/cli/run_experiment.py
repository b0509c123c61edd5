"""`rtx experiments run NAME [RUN ...]` and `rtx experiments collect NAME`.

Exit status: 0 where all is done, 1 where a run failed or is missing, 2 for an error.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.cli.engine import add_engine_arguments, add_track_argument, engine_of
from rtx.errors import BadValue, DeviceError, MissingDependency

if TYPE_CHECKING:
    from rtx.engines import Engine
    from rtx.experiments.units import Unit

INCOMPLETE = 1
CSV, PARQUET = "runs.csv", "runs.parquet"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` takes."""
    parser.add_argument("name", help="an experiment of `list`, or the path of a file of your own")
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="only these runs, patterns ('l2_*_n3200') or parts of the experiment"
    )
    parser.add_argument(
        "--plan", action="store_true", help="print what would be done as JSON, with costs, and do nothing"
    )
    parser.add_argument("--only", choices=("train", "evaluate"), help="of a paper's runs: only this step")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="only these seeds")
    parser.add_argument("--limit-runs", type=int, metavar="N", help="at most N pairs of run and seed")
    parser.add_argument("--gpus", type=int, metavar="N", help="GPUs of a training; default: the leaf's")
    parser.add_argument("--data-root", help="--data-root of the trainings; of targets, the folder of their folders")
    parser.add_argument("--work-dirs", default="work_dirs", metavar="DIR", help="folder of all experiments")
    add_engine_arguments(parser)
    add_track_argument(parser)


def add_collect(parser: argparse.ArgumentParser) -> None:
    """Declare what `collect` takes."""
    parser.add_argument("name", help="an experiment, or the path of a file of your own")
    parser.add_argument("--work-dirs", default="work_dirs", metavar="DIR", help="folder of all experiments")
    parser.add_argument("--out", metavar="DIR", help=f"folder for {CSV} and {PARQUET}; default: the experiment's")


def run_experiment(args: argparse.Namespace) -> int:
    """Do what is missing, or print the plan."""
    from rtx.cli.grid_table import GridTable
    from rtx.engines import Begun, Outcome, Retried
    from rtx.evaluation.sweep.interrupt import exit_status, sigterm_raises
    from rtx.evaluation.tracking import Tracker
    from rtx.experiments.plan import as_json, in_words, units_of
    from rtx.experiments.read import read_any
    from rtx.experiments.run import Tally, run_units, step_of
    from rtx.experiments.store import check_unchanged
    from rtx.experiments.units import check_units

    for flag, value in (("--limit-runs", args.limit_runs), ("--gpus", args.gpus)):
        if value is not None and value < 1:
            raise BadValue(f"{flag} {value}: must be 1 or more")
    engine, experiment = engine_of(args), read_any(args.name)
    options = dict(gpus=args.gpus, data_root=args.data_root, work_dirs=args.work_dirs)
    units = units_of(experiment, args.runs, seeds=args.seeds, limit=args.limit_runs, **options)
    root = Path(args.work_dirs) / experiment.name
    total = sum(args.only is None or u.name.endswith(f"/{args.only}") for u in units)
    if not total:
        raise BadValue(f"{args.name}: no run is left by --seeds, --only and the names of runs")
    check_units(units)
    if args.plan:
        states = check_unchanged(root, units)
        plan = as_json(experiment.name, step_of(units, args.only, states), states, root)
        print(json.dumps(plan, indent=1))
        print(in_words(plan), file=sys.stderr)
        return 0
    _check_gpus(units, engine)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    again = f"go on with the same command; see it with: rtx status {root}"
    try:
        with (
            sigterm_raises(),
            Tracker(args.track, root, experiment.name) as tracker,
            GridTable(total) as table,
        ):
            if args.track:
                tracker.identity({"experiment": experiment.name, "units": {u.name: dict(u.settings) for u in units}})

            def changed(tally: Tally, unit: Unit, event: Outcome | Begun | Retried) -> None:
                table(tally, unit, event)
                if isinstance(event, Outcome) and unit.name not in tally.failed:
                    tracker.scalars({f"{unit.run}/{k}": v for k, v in event.result.items()}, unit.seed)

            every = units_of(experiment, **options)
            tally = run_units(root, experiment.name, units, engine, changed, only=args.only, every=every)
    except KeyboardInterrupt as error:
        print(f"\nstopped; finished runs are kept in {root}; {again}", file=sys.stderr)
        return exit_status(error)
    failed, blocked = len(tally.failed), len(tally.blocked)
    print(f"{root}: {tally.done} done now, {tally.cached} before, {failed} failed, {blocked} blocked")
    by_reason: dict[str, list[str]] = {}
    for name, reason in tally.failed.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, (first, *more) in list(by_reason.items())[:8]:
        like_it = f" and {len(more)} more" if more else ""
        print(f"  failed {first}{like_it}: {reason} (log: {root / first}.error.json)")
    return INCOMPLETE if tally.failed or tally.blocked else 0


def _check_gpus(units: list[Unit], engine: Engine) -> None:
    """See that a training gets the GPUs that it is made for."""
    import torch

    wanted = max((int(u.settings.get("gpus", 0)) for u in units if "words" in u.settings), default=0)
    if wanted <= 1:
        return
    held = (engine.per_gpu or 1) if engine.is_ray else torch.cuda.device_count()
    if held < wanted:
        raise DeviceError(
            f"a training of {wanted} GPUs, and {'a Ray worker has' if engine.is_ray else 'here are'} {held:g}: give "
            + (f"--per-gpu {wanted}, or " if engine.is_ray else "")
            + "--gpus 1 (the learning rate is scaled to the batch)"
        )


def collect(args: argparse.Namespace) -> int:
    """Write the tables, and say what is broken or missing."""
    from rtx.experiments.collect import (
        columns_of_runs,
        counts,
        faults_of,
        mixture_of,
        rows_of,
        write_csv,
        write_parquet,
    )
    from rtx.experiments.plan import units_of
    from rtx.experiments.read import read_any
    from rtx.experiments.store import state_of

    experiment = read_any(args.name)
    root = Path(args.work_dirs) / experiment.name
    if not root.is_dir():
        raise BadValue(f"{root}: no such folder; `rtx experiments run {args.name}` makes it")
    states = [state_of(root, unit) for unit in as_planned(root, units_of(experiment, work_dirs=args.work_dirs))]
    rows, out = rows_of(experiment.name, states, columns_of_runs(experiment)), Path(args.out or root)
    write_csv(out / CSV, rows)
    written = [CSV]
    with suppress(MissingDependency):
        write_parquet(out / PARQUET, rows)
        written.append(PARQUET)
    print(f"{out}: {', '.join(written)}: {len(rows)} rows, {counts(states)['done']} done")
    if PARQUET not in written:
        print(f"no {PARQUET}: pip install 'rtx-robustness[parquet]'", file=sys.stderr)
    if mixed := mixture_of(states):
        print(mixed, file=sys.stderr)
    faults = faults_of(states)
    for fault in faults:
        print(fault, file=sys.stderr)
    return INCOMPLETE if faults else 0


def as_planned(root: Path, units: list[Unit]) -> list[Unit]:
    """The units as they were run, where flags such as --gpus and --data-root have changed their commands."""
    from rtx.experiments.store import PLAN, planned_units

    if not (root / PLAN).is_file():
        return units
    planned = {unit.name: unit for unit in planned_units(root)[1]}
    return [planned.get(u.name, u) if "words" in u.settings else u for u in units]
