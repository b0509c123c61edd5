"""`rtx experiments evidence NAME ...`: the claims of experiments against their results, as a page.

What they gave is kept in a file beside the page, so that experiments can be measured one by one, on several machines.
"""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.errors import BadValue
from rtx.files import write_atomic

if TYPE_CHECKING:
    from rtx.evidence.claim import Claim
    from rtx.evidence.kept import Measured
    from rtx.evidence.rows import Result
    from rtx.reports.runs.runs import Run


def add_evidence(parser: argparse.ArgumentParser) -> None:
    """Declare what `evidence` takes."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="experiments whose files have `claims`, or files")
    parser.add_argument("--work-dirs", default="work_dirs", metavar="DIR", help="folder of all experiments")
    out = "the page; FILE.json beside it keeps what each experiment gave, and the page has all that are kept there"
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.md", help=out)


def evidence(args: argparse.Namespace) -> int:
    """Write the page, its figure and what they are made of; 1 where claims lack results.

    Raises:
        BadValue: an experiment without claims, two claims of one name, or results that cannot be told apart.
    """
    from rtx.evidence.kept import read_kept, write_kept
    from rtx.evidence.page import FIGURE, draw, page, short
    from rtx.reports.figures.style import save
    from rtx.results.command import shell_line

    path = args.out.with_suffix(".json")
    before = read_kept(path)
    found = {Path(name).stem: measure(name, args.work_dirs) for name in args.names}
    for name, one in found.items():
        if name in before and one.models < before[name].models:
            kept = found[name] = before[name]
            there = f"{one.models} of its models in {args.work_dirs}"
            print(f"{name}: {there}; the {kept.models} of {kept.date} stay (remove them from {path} to drop them)")
    experiments = [*found.values(), *(one for name, one in before.items() if name not in found)]
    findings = [finding for one in experiments for finding in one.findings]
    places: dict[str, str] = {}
    for one in experiments:
        for name in (finding.claim.name for finding in one.findings):
            if name in places:
                raise BadValue(f"claim {name!r} is in {places[name]} and in {one.name}; give it another name")
            places[name] = one.name
    figure = args.out.parent / "figures" / FIGURE
    save(draw(findings), figure.with_suffix(""), ("png",))
    words = shell_line(["rtx", "experiments", "evidence", *(one.name for one in experiments), "--out", str(args.out)])
    write_atomic(args.out, page(experiments, command=words, figure=f"figures/{FIGURE}"))
    write_kept(path, experiments)
    for finding in findings:
        print(f"{finding.verdict:<12} {finding.claim.claim}: {short(finding)}")
    print(f"{args.out}, {path}, {figure}")
    return 1 if any(not f.estimates and not f.models for f in findings) else 0


def measure(name: str, work_dirs: str) -> Measured:
    """What an experiment gave until now."""
    from rtx.evidence.kept import Measured
    from rtx.evidence.measure import measured
    from rtx.evidence.tables import table
    from rtx.experiments.read import read_any

    claims = read_claims(name)
    trained, runs = results(name, work_dirs)
    command = f"rtx experiments run {name}"
    findings = (replace(measured(claim, trained, runs), command=command) for claim in claims)
    spent = [result.processor_seconds for result in trained]
    return Measured(
        Path(name).stem,
        read_any(name).title,
        f"{datetime.now(timezone.utc):%Y-%m-%d}",
        tuple(findings),
        tuple(table(trained)) if trained else (),
        len(trained),
        sum(result.seconds for result in trained),
        sum(spent) if all(spent) else None,
    )


def read_claims(name: str) -> list[Claim]:
    """The claims of an experiment's file.

    Raises:
        BadValue, UnknownName: there are none, or one has another form.
    """
    from rtx.evidence.claim import Claim
    from rtx.experiments.read import folder, read_any

    read_any(name)  # says what is wrong with the file
    path = Path(name) if name.endswith(".py") else folder() / f"{name}.py"
    entries = runpy.run_path(str(path)).get("claims")
    if not isinstance(entries, list) or not entries:
        raise BadValue(f"{path}: has no list `claims`; there is nothing to test")
    return [Claim.of(entry, str(path)) for entry in entries]


def results(name: str, work_dirs: str) -> tuple[list[Result], Mapping[str, Run]]:
    """What an experiment's trainings and probes scored, and its evaluated runs as RUN/seedN; of sources as RUN."""
    from rtx.cli.run_experiment import as_planned
    from rtx.evidence.rows import results_of
    from rtx.experiments.collect import columns_of_runs, rows_of
    from rtx.experiments.plan import units_of
    from rtx.experiments.read import read_any
    from rtx.experiments.store import state_of
    from rtx.reports.runs.runs import load_run
    from rtx.results.folder import INSIDE_RUN

    experiment = read_any(name)
    root = Path(work_dirs) / experiment.name
    states = [state_of(root, unit) for unit in as_planned(root, units_of(experiment, work_dirs=work_dirs))]
    rows: list[dict[str, Any]] = rows_of(experiment.name, states, columns_of_runs(experiment))
    runs = {}
    for place in sorted([*root.glob(f"*/seed*/{INSIDE_RUN}"), *root.glob(f"*/{INSIDE_RUN}")]):
        runs[place.parent.relative_to(root).as_posix()] = load_run(place)
    return results_of(rows), runs
