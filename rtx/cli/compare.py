"""`rtx compare A B`: the paired difference of two evaluations, with an exit code for CI.

Exit codes: 0 passes, 1 a --fail-if limit is exceeded, 2 the two cannot be compared or a limit cannot be judged,
3 a fault of rtx's own.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtx.reports.runs.compare import Difference

EXCEEDED = 1
UNJUDGED = 2
LIMITS = {"mpc": "mPC", "rpc": "rPC", "clean": "P"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("a", help="evaluation folder: the reference")
    parser.add_argument("b", help="evaluation folder: what is compared with it")
    parser.add_argument("--names", nargs=2, default=[], metavar=("A", "B"), help="what to call the two")
    for option, name in LIMITS.items():
        parser.add_argument(
            f"--fail-if-{option}-drops", type=_points, metavar="POINTS", help=f"exit with 1 if {name} falls by more"
        )
    parser.add_argument(
        "--only-if-sure",
        action="store_true",
        help="fail only where the whole paired 95 %% interval lies beyond the limit; where there is none, the "
        "difference itself decides, and that is said",
    )
    parser.add_argument(
        "--markdown", metavar="FILE", help="write the table as Markdown; - prints it instead of the text"
    )
    parser.add_argument("--json", metavar="FILE", help="write the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and judge."""
    from rtx.errors import BadValue
    from rtx.files import write_atomic
    from rtx.reports.runs import compare as comparing
    from rtx.reports.runs.runs import load_runs
    from rtx.reports.tables.table import markdown, plain, text_in_markdown

    runs = load_runs([Path(args.a), Path(args.b)], names=args.names)
    if len(runs) != 2:
        raise BadValue(
            f"compare takes two evaluations, but {args.a!r} and {args.b!r} hold {len(runs)}; name one folder each"
        )
    comparison = comparing.compare(*runs)
    table = comparing.table(comparison)
    text = f"{text_in_markdown(comparing.sentence(comparison))}.\n\n{markdown(table)}"
    if args.markdown == "-":
        print(text)
    else:
        print(f"{comparing.sentence(comparison)}.\n\n{plain(table)}")
        if args.markdown:
            write_atomic(Path(args.markdown), text)
    if args.json:
        write_atomic(Path(args.json), json.dumps(comparing.to_dict(comparison), indent=1) + "\n")
    limits = (
        (comparison.line(name), option, getattr(args, f"fail_if_{option}_drops")) for option, name in LIMITS.items()
    )
    return max((_judge(line, option, points, args) for line, option, points in limits if points is not None), default=0)


def _judge(line: Difference, option: str, points: float, args: argparse.Namespace) -> int:
    """Whether a limit is exceeded, as an exit code; said where it is, or where it cannot be judged."""
    from rtx.reports.runs.compare import drops_more

    if math.isnan(line.change):
        which = " and ".join(repr(given) for given, value in ((args.a, line.a), (args.b, line.b)) if math.isnan(value))
        print(
            f"--fail-if-{option}-drops cannot be judged: {line.name} of {which} is undefined, as its P is 0; "
            "fix that model, or judge by --fail-if-mpc-drops",
            file=sys.stderr,
        )
        return UNJUDGED
    failed = drops_more(line, points, surely=args.only_if_sure)
    if failed:
        print(f"FAIL: {line.name} changes by {100 * line.change:+.2f} points, {points:g} is the limit", file=sys.stderr)
    if args.only_if_sure and line.interval is None:
        print(f"note: {line.name} has no paired interval; the difference itself was judged", file=sys.stderr)
    return EXCEEDED if failed else 0


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a fall in points, 0 or more, e.g. 0.5")
    return value
