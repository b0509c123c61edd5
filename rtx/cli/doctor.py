"""Show what is installed, what clashes, and one line that fixes each bad row; exit 1 if any row is bad."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from rtx.diagnosis import Row, diagnose
from rtx.environment import look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `rtx doctor`."""
    parser.add_argument("--json", action="store_true", help="print the rows and the facts behind them as JSON")


def run(args: argparse.Namespace) -> int:
    """Look, judge, print."""
    env = look()
    rows = diagnose(env)
    bad = [row for row in rows if row.status == "bad"]
    if args.json:
        print(json.dumps({"ok": not bad, "rows": [asdict(row) for row in rows], "environment": asdict(env)}, indent=1))
    else:
        show(rows)
    return 1 if bad else 0


def show(rows: list[Row]) -> None:
    """Print the rows, then each remedy on a line of its own that can be copied."""
    for row in rows:
        print(f"{row.status:<4}  {row.name:<22}  {row.found}")
    for row in rows:
        if row.remedy:
            print(f"{row.name}: {row.remedy}")
    bad = sum(row.status == "bad" for row in rows)
    print(f"{bad} of {len(rows)} rows are bad" if bad else f"no bad row among {len(rows)}")
