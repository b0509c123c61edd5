"""`rtx compare A B`: the paired difference of two evaluations, with an exit code for CI.

Exit codes: 0 passes, 1 a --fail-if limit is exceeded, 2 the two cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("a", help="evaluation folder: the reference")
    parser.add_argument("b", help="evaluation folder: what is compared with it")
    parser.add_argument("--names", nargs=2, default=[], metavar=("A", "B"), help="what to call the two")
    parser.add_argument("--fail-if-mpc-drops", type=_points, metavar="POINTS", help="exit with 1 if mPC falls by more")
    parser.add_argument("--fail-if-rpc-drops", type=_points, metavar="POINTS", help="exit with 1 if rPC falls by more")
    parser.add_argument("--fail-if-clean-drops", type=_points, metavar="POINTS", help="exit with 1 if P falls by more")
    parser.add_argument(
        "--only-if-sure", action="store_true", help="fail only where the whole 95 %% interval lies below the limit"
    )
    parser.add_argument(
        "--markdown", metavar="FILE", help="write the table as Markdown; - prints it instead of the text"
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and judge."""
    from rtx.errors import BadValue
    from rtx.evaluation.scores import write_atomic
    from rtx.reports import compare as comparing
    from rtx.reports.runs import load_runs
    from rtx.reports.tables import markdown

    runs = load_runs([Path(args.a), Path(args.b)], names=args.names)
    if len(runs) != 2:
        raise BadValue(
            f"compare takes two evaluations, but {args.a!r} and {args.b!r} hold {len(runs)}; name one folder each"
        )
    comparison = comparing.compare(*runs)
    table = comparing.table(comparison)
    text = f"{comparing.sentence(comparison)}.\n\n{markdown(table)}"
    if args.markdown == "-":
        print(text)
    else:
        print(_terminal(comparing.sentence(comparison), table))
        if args.markdown:
            write_atomic(Path(args.markdown), text)
    if args.json:
        write_atomic(Path(args.json), json.dumps(comparing.to_dict(comparison), indent=1) + "\n")
    limits = (("mPC", args.fail_if_mpc_drops), ("rPC", args.fail_if_rpc_drops), ("P", args.fail_if_clean_drops))
    failed = 0
    for name, points in limits:
        if points is None:
            continue
        line = comparison.line(name)
        if comparing.drops_more(line, points, surely=args.only_if_sure):
            print(f"FAIL: {name} changes by {100 * line.change:+.2f} points, {points:g} is the limit", file=sys.stderr)
            failed = 1
        elif args.only_if_sure and line.interval is None:
            print(f"note: {name} has no paired interval; the difference itself was judged", file=sys.stderr)
    return failed


def _points(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a fall in points, 0 or more")
    return value


def _terminal(sentence: str, table: object) -> str:
    from rtx.reports.tables import Table

    assert isinstance(table, Table)
    rows = [[f"{e.text} {e.below}".strip() for e in entries] for entries in table.rows]
    widths = [max(len(r[i]) for r in [list(table.head), *rows]) for i in range(len(table.head))]
    lines = [sentence + ".", ""]
    for cells in [list(table.head), *rows]:
        padded = [
            cell.ljust(width) if i < table.words or i == len(widths) - 1 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join([*lines, "", *table.notes])
