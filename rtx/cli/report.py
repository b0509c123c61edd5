"""`rtx report RUN [RUN ...] --out DIR`: one page, figures, tables and the long form of finished evaluations."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="evaluation folder, run folder, or a folder of either")
    parser.add_argument("--out", required=True, metavar="DIR", help="where report.html, figures/ and tables/ go")
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="what to call the runs, in order")
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="what others are compared with; default: the first run from a standard source, else the first",
    )
    parser.add_argument("--title", default="Robustness report", help="heading of the page")


def run(args: argparse.Namespace) -> int:
    """Write the report, say where it is and what it warns of."""
    from rtx.reports.build import build
    from rtx.reports.runs.runs import load_runs

    runs = load_runs([Path(path) for path in args.runs], names=args.names, baseline=args.baseline)
    report = build(runs, Path(args.out), title=args.title)
    for group in report.summary["groups"]:
        for model in group["models"]:
            print(f"{model['name']}: {model['verdict']}")
    for banner in report.banners:
        if banner.level != "note":
            print(f"! {banner.title}. {banner.text}", file=sys.stderr)
    print(f"report: {report.page}")
    return 0
