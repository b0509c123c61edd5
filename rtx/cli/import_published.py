"""`rtx import_published FOLDER --out DIR`: published result files as evaluations, for reports and comparisons."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", help="folder of published result files (*_results.json), or one such file")
    parser.add_argument("--out", required=True, metavar="DIR", help="where an evaluation folder for each file goes")


def run(args: argparse.Namespace) -> int:
    """Write one evaluation folder for each file."""
    from rtx.reports.text.wording import percent
    from rtx.results.evaluation import Evaluation
    from rtx.results.folder import CellFolder
    from rtx.results.published_files import import_folder
    from rtx.results.summary import write_summary

    root = Path(args.out)
    # All are read before any is written: a file that cannot be taken leaves no half of its neighbours behind.
    for name, found in import_folder(Path(args.folder)).items():
        out = root / name
        folder = CellFolder(out, found.card, overwrite=True)
        folder.open()
        for cell in found.cells.values():
            folder.write(cell)
        summary = write_summary(Evaluation(out, folder.card, found.cells, folder.key), found.headline)
        numbers = f"P {percent(summary['P'])}, {summary['label']} {percent(summary['mPC'])}"
        whole = f", rPC {percent(summary['rPC'])}" if summary["complete"] else ""
        print(f"{out}: {found.headline} {numbers}{whole}")
    return 0
