"""`rtx weights interpolate A B`: run folders between two trained models, and one sweep over them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rtx.errors import BadValue
from rtx.files import read_json, write_atomic

CURVE = "curve.csv"


def add_interpolate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("a", metavar="A", help="run folder or checkpoint of one end, or `source`: B's own at its start")
    parser.add_argument("b", metavar="B", help="run folder or checkpoint of the other end, the fine-tuned model")
    parser.add_argument(
        "--alpha", default="0:1:0.1", help="share of B: START:STOP:STEP, or numbers with commas; default %(default)s"
    )
    parser.add_argument("--out", type=Path, help="where the run folders go; default: interpolated/ beside B's files")
    parser.add_argument(
        "--sweep",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="evaluate each of them; what follows goes to rtx corrupt_eval (--limit 200 --severities 1 3 5)",
    )


def run_interpolate(args: argparse.Namespace) -> int:
    """Write the models, evaluate them where asked to, and print the curve of clean against corrupted score."""
    # Here, so that `rtx weights list` loads nothing heavy.
    from rtx.interpolation import SOURCE, check_ends, interpolate, parse_alphas, read_end, source_end
    from rtx.results.command import shell_line

    alphas = parse_alphas(args.alpha)
    b = read_end(args.b)
    a = source_end(b) if args.a == SOURCE else read_end(args.a)
    check_ends(a, b)
    place = Path(args.b)
    out = args.out or (place if place.is_dir() else place.parent) / "interpolated"
    folders = []
    for alpha, folder in zip(alphas, interpolate(a, b, alphas, out), strict=True):
        print(f"{folder}: {1 - alpha:.3g} {a.name} + {alpha:.3g} {b.name}", flush=True)
        folders.append(folder)
    if args.sweep is None:
        print(f"evaluate them: {shell_line(_again(args, out))}\na page: rtx report {out} --out DIR")
        return 0
    from rtx.cli.main import main

    for folder in folders:
        if status := main(["corrupt_eval", str(folder), *args.sweep]):
            return status
    rows = curve(folders, alphas)
    lines = ["alpha,P,mPC,rPC", *(",".join("" if v is None else f"{v:.6f}" for v in row) for row in rows)]
    write_atomic(out / CURVE, "\n".join(lines) + "\n")
    print(f"\n{'alpha':>7} {'P':>7} {'mPC':>7} {'rPC':>7}   in percent")
    for alpha, *scores in rows:
        print(f"{alpha:7.3g} " + " ".join("      -" if v is None else f"{100 * v:7.2f}" for v in scores))
    print(f"\n{out / CURVE}   a page: rtx report {out} --out DIR")
    return 0


def curve(folders: list[Path], alphas: tuple[float, ...]) -> list[tuple[Any, ...]]:
    """(alpha, P, mPC, rPC) of each evaluated folder, fractions; None where a grid is not whole.

    Raises:
        BadValue: a folder has no summary.
    """
    from rtx.results.folder import INSIDE_RUN, SUMMARY

    rows = []
    for alpha, folder in zip(alphas, folders, strict=True):
        path = folder / INSIDE_RUN / SUMMARY
        if not path.is_file():
            raise BadValue(f"{path}: not there; --sweep takes no --out, --dry-run or --shard")
        found = read_json(path)
        rows.append((alpha, *(found.get(name) for name in ("P", "mPC", "rPC"))))
    return rows


def _again(args: argparse.Namespace, out: Path) -> list[str]:
    words = ["rtx", "weights", "interpolate", args.a, args.b, "--alpha", args.alpha]
    return [*words, *(["--out", str(out)] if args.out else []), "--sweep"]
