"""Show what is installed, what clashes, and one line that mends each red row; exit 1 if any row is red."""

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
    """Print the table, then each remedy on a line of its own that can be copied."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        for row in rows:
            print(f"{row.status:<4}  {row.name:<22}  {row.found}")
    else:
        table = Table("", "what", "found", title="rtx doctor", title_justify="left")
        colours = {"ok": "green", "note": "yellow", "bad": "bold red"}
        for row in rows:
            table.add_row(f"[{colours[row.status]}]{row.status}[/]", row.name, _plain(row.found))
        Console().print(table)
    remedies = [row for row in rows if row.remedy]
    for row in remedies:
        print(f"{row.name}: {row.remedy}")
    bad = sum(row.status == "bad" for row in rows)
    print(f"{bad} of {len(rows)} rows are red" if bad else f"no red row among {len(rows)}")


def _plain(text: str) -> str:
    """An error text may hold brackets, which rich would read as markup."""
    from rich.markup import escape

    return escape(text)
