"""Targets of classification transfer: list the rows, check a folder against one.

rtx targets list
rtx targets check NAME FOLDER [--subset] [--decode]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.datasets.classification import TARGETS, find_target
from rtx.datasets.target_data import check_target
from rtx.datasets.target_reading import ARCHIVES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two subcommands."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="list|check")
    commands.add_parser("list", help="the rows as a table")
    checking = commands.add_parser("check", help="count the images of each class in both splits")
    checking.add_argument("name", metavar="NAME", help="a target of the list; 'folder' is any class folder")
    checking.add_argument("folder", type=Path, metavar="FOLDER", help="the data folder")
    checking.add_argument("--subset", action="store_true", help="accept fewer images than the row says")
    checking.add_argument("--decode", action="store_true", help="open every image file, some 5 ms each")


def run(args: argparse.Namespace) -> int:
    """Run one subcommand."""
    return _list() if args.what == "list" else _check(args)


def _list() -> int:
    print(f"{'name':<18} {'classes':>7}  {'metric':<14}  {'layout':<8}  split; preprocessing")
    for row in TARGETS.values():
        note = f" ({row.note})" if row.note else ""
        print(
            f"{row.name:<18} {row.classes or 'any':>7}  {row.metric:<14}  {row.layout:<8}  "
            f"{row.split}; {row.preprocessing}{note}"
        )
    return 0


def _check(args: argparse.Namespace) -> int:
    target = find_target(args.name)
    counts = check_target(target, args.folder, subset=args.subset, decode=args.decode)
    for split, found in counts.items():
        print(f"{split:<5}  {found.sum()} images, {len(found)} classes of {found.min()} to {found.max()} images")
    if target.layout not in ARCHIVES:
        print("every image was decoded" if args.decode else "image files were looked for, not opened: --decode does")
    return 0
