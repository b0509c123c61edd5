"""`rtx experiments table CSV [CSV ...]`: classification studies in the layouts of Salman et al. and Utrera et al.

The files are runs.csv of `rtx experiments collect` and probe.csv of `rtx probe`. What there are rows for is printed:
Table 1 and the best eps of Salman et al. (2020), Table 7 and Figures 2 to 5 of Utrera et al. (2021), beside the numbers
that are published.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.errors import BadValue

if TYPE_CHECKING:
    from rtx.reports.runs.naming import SourceName


MOST_ROWS = 40


def add_table(parser: argparse.ArgumentParser) -> None:
    """Declare what `table` takes."""
    parser.add_argument("files", nargs="+", type=Path, metavar="CSV", help="tables of `collect` or `rtx probe`")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write tables, figures and scores over seeds there")
    parser.add_argument(
        "--reference",
        metavar="SOURCE",
        help="what sources are compared with; default: the standard one of their architecture",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="print only these tables, whole; e.g. salman_table1")


def study_tables(args: argparse.Namespace) -> int:
    """Print the tables, and write them."""
    from rtx.reports.studies.build import LAYOUTS, ON_TEST, build, tables_of
    from rtx.reports.studies.rows import read_study
    from rtx.reports.tables.table import plain

    for name in args.only or ():
        if not any(name.startswith(layout) for layout in LAYOUTS):
            raise BadValue(f"--only {name}: must be one of {', '.join(LAYOUTS)}")
    study = read_study(args.files)
    tables = tables_of(study, args.reference, published_top1)
    for table in tables:
        if not args.only or any(table.name.startswith(name) for name in args.only):
            shown = replace(table, rows=table.rows[:MOST_ROWS])
            more = len(table.rows) - MOST_ROWS
            tail = f"... and {more} more rows, see --out" if more > 0 and not args.only else ""
            shown = table if args.only else shown
            print(f"{table.title} [{table.name}]\n\n{plain(shown)}\n{tail}\n")
    if study.selected_on_test:
        print(f"! {ON_TEST}\n")
    if not tables:
        print("no table: the rows are of one source, size and transfer mode; scores.csv has them")
    if args.out:
        names = build(study, args.out, tables, args.reference)
        print(f"{args.out}: {', '.join(names)}")
    return 0


def published_top1(source: SourceName) -> float | None:
    """ImageNet top-1 of a catalogued source, a fraction."""
    from rtx.errors import UnknownName
    from rtx.sources.catalog.rows import find

    try:
        return find(source.text).clean_top1
    except UnknownName:
        return None
