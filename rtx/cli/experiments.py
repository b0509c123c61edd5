"""`rtx experiments list | show | run | collect`: what the papers ran and printed; doing it, or a grid of one's own."""

from __future__ import annotations

import argparse
import json
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any

from rtx.errors import BadValue
from rtx.experiments import (
    Experiment,
    PlannedRun,
    evaluate_command,
    own_head_command,
    published,
    read,
    read_all,
    run_folder,
    train_command,
)
from rtx.experiments.commands import attack_words
from rtx.experiments.numbers import paper_of, short, together
from rtx.experiments.record import ATTACKS, OWN_HEAD

WIDTH = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    from rtx.cli.evidence import add_evidence
    from rtx.cli.run_experiment import add_collect, add_run
    from rtx.cli.study_tables import add_table

    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|run|collect|table|evidence")
    listing = actions.add_parser("list", help="every experiment in one line")
    listing.add_argument("--format", choices=("table", "json"), default="table")
    show = actions.add_parser("show", help="the runs of one experiment")
    show.add_argument("name", help="an experiment of `list`, or the path of a file of your own")
    show.add_argument(
        "runs", nargs="*", metavar="RUN", help="only these runs, patterns ('l2_*_n3200') or parts of the experiment"
    )
    show.add_argument("--format", choices=("table", "json", "commands"), default="table")
    show.add_argument("--gpus", type=int, metavar="N", help="training commands for N GPUs; default: the leaf's")
    show.add_argument("--data-root", help="put --data-root into the training commands")
    show.add_argument("--work-dirs", default="work_dirs", metavar="DIR", help="folder of the run folders")
    add_run(actions.add_parser("run", help="do what an experiment's table needs and is not there yet"))
    add_collect(actions.add_parser("collect", help="one tidy table of what was done"))
    add_table(
        actions.add_parser("table", help="classification studies in their papers' layout, beside what the papers print")
    )
    add_evidence(actions.add_parser("evidence", help="claims of experiments against their results, as a page"))


def run(args: argparse.Namespace) -> int:
    """Print what was asked for, or do it."""
    from rtx.cli.evidence import evidence
    from rtx.cli.run_experiment import collect, run_experiment
    from rtx.cli.study_tables import study_tables

    if args.action == "evidence":
        return evidence(args)
    if args.action == "table":
        return study_tables(args)
    if args.action in ("run", "collect"):
        return run_experiment(args) if args.action == "run" else collect(args)
    if args.action == "list":
        found = read_all()
        print(json.dumps([_summary(e) for e in found], indent=1) if args.format == "json" else _list(found))
        return 0
    if args.gpus is not None and args.gpus < 1:
        raise BadValue(f"--gpus {args.gpus}: must be 1 or more")
    experiment = read(args.name)
    runs = experiment.select(tuple(args.runs))
    if args.format == "json":
        print(json.dumps({**_summary(experiment), "runs": [_entry(experiment, one, args) for one in runs]}, indent=1))
    elif args.format == "commands":
        print(_commands(experiment, runs, args))
    else:
        print(_table(experiment, runs, args.name))
    return 0


def _list(experiments: Sequence[Experiment]) -> str:
    rows = [("experiment", "runs", "trainings", "what")]
    rows += [(e.name, str(len(e.runs)), str(e.n_models), f"{e.title} ({e.place})") for e in experiments]
    return columns(rows)


def _table(experiment: Experiment, runs: Sequence[PlannedRun], name: str) -> str:
    paper = paper_of(experiment)
    scored = {
        "corruptions": "clean and under 15 corruptions",
        "clean": "on clean images",
        OWN_HEAD: "the source's own classifier on clean images; nothing is trained",
        ATTACKS: "on clean images",
    }[experiment.evaluation]
    scored += f"; and under attack, {' '.join(attack_words(experiment.attack))}" if experiment.attack else ""
    about = [
        experiment.title,
        f"{paper.citation}; {experiment.place}",
        paper.url,
        f"question: {experiment.question}",
        f"scored: {scored}",
    ]
    rows = [("run", "config", "source", "transfer", "options", "seeds", "printed, in percent")]
    for one in runs:
        transfer = " ".join(
            part
            for part in (one.transfer or ("none" if experiment.evaluation == OWN_HEAD else "as the config"), one.norm)
            if part
        )
        options = " ".join(f"{key}={value}" for key, value in {**one.flags, **one.options}.items())
        printed = together(published(experiment, one))
        seeds = ",".join(map(str, one.seeds)) if len(one.seeds) <= 4 else f"{one.seeds[0]},... ({len(one.seeds)})"
        rows.append((one.name, one.config, one.source, transfer, options or "-", seeds, printed or "-"))
    best = [f"{short(r)} ({r.source}{f': {r.note}' if r.note else ''})" for r in published(experiment)]
    most = 6
    best = [*best[:most], f"and {len(best) - most} more"] if len(best) > most else best
    tail = [f"printed for no single run: {'; '.join(best)}"] if best else []
    doubts = [*experiment.doubts, *(f"{one.name}: {doubt}" for one in runs for doubt in one.doubts)]
    item = textwrap.TextWrapper(WIDTH, initial_indent="  - ", subsequent_indent="    ")
    tail += ["not settled by the paper:", *(item.fill(doubt) for doubt in doubts)] if doubts else []
    tail += [f"commands: rtx experiments show {shlex.quote(name)} --format commands"]
    return "\n".join([*about, "", columns(rows), "", *tail])


def _commands(experiment: Experiment, runs: Sequence[PlannedRun], args: argparse.Namespace) -> str:
    lines = [f"# {experiment.title}: {experiment.paper}, {experiment.place}"]
    for one in runs:
        for seed in one.seeds:
            lines += map(shlex.join, _commands_of(experiment, one, seed, args))
    return "\n".join(lines)


def _pair(experiment: Experiment, one: PlannedRun, seed: int, args: argparse.Namespace) -> tuple[list[str], list[str]]:
    train = train_command(experiment, one, seed, gpus=args.gpus, data_root=args.data_root, root=args.work_dirs)
    return train, evaluate_command(experiment, one, seed, root=args.work_dirs)


def _commands_of(experiment: Experiment, one: PlannedRun, seed: int, args: argparse.Namespace) -> tuple[list[str], ...]:
    """Training and evaluation; the training on a target ends with its clean score."""
    if experiment.evaluation == OWN_HEAD:
        return (own_head_command(experiment, one, seed, data_root=args.data_root, root=args.work_dirs),)
    train, evaluate = _pair(experiment, one, seed, args)
    return (train,) if one.flags and experiment.evaluation == "clean" else (train, evaluate)


def _summary(experiment: Experiment) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "title": experiment.title,
        "paper": experiment.paper,
        "citation": paper_of(experiment).citation,
        "place": experiment.place,
        "question": experiment.question,
        "evaluation": experiment.evaluation,
        "trainings": experiment.n_models,
        "doubts": list(experiment.doubts),
        "published": [vars(record) for record in published(experiment)],
        "runs": [one.name for one in experiment.runs],
    }


def _entry(experiment: Experiment, one: PlannedRun, args: argparse.Namespace) -> dict[str, Any]:
    jobs = []
    for seed in one.seeds:
        folder, words = run_folder(experiment, one, seed, root=args.work_dirs), {}
        if experiment.evaluation == OWN_HEAD:
            words["evaluate"] = _commands_of(experiment, one, seed, args)[0]
        else:
            words["train"], words["evaluate"] = _pair(experiment, one, seed, args)
        jobs.append({"seed": seed, "folder": folder, **words})
    return {
        "name": one.name,
        "config": one.config,
        "source": one.source,
        "transfer": one.transfer,
        "norm": one.norm,
        "options": dict(one.options),
        "flags": dict(one.flags),
        "seeds": list(one.seeds),
        "published": [vars(record) for record in published(experiment, one)],
        "doubts": list(one.doubts),
        "jobs": jobs,
    }


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns; the last one is wrapped to the width of the page.

    Example:
        >>> print(columns([("a", "b"), ("long", "c")]))
        a     b
        long  c
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        head = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        # Narrow pages still get a readable last column.
        last = textwrap.wrap(row[-1], max(WIDTH - indent, 40)) or [""]
        lines += [head + last[0], *(" " * indent + more for more in last[1:])]
    return "\n".join(line.rstrip() for line in lines)
