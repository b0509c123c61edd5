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
    from rtx.evaluation.scores import CellFolder
    from rtx.evaluation.summary import write_summary
    from rtx.reports.importing import import_folder

    for found in import_folder(Path(args.folder)):
        dataset = found.card["labels"]["dataset"]
        out = Path(args.out) / f"{dataset}_{found.name.removesuffix('_results')}"
        folder = CellFolder(out, found.card, overwrite=True)
        folder.open()
        for cell in found.cells.values():
            folder.write(cell)
        summary = write_summary(out, found.cells, found.headline, folder.card)
        numbers = ", ".join(f"{name} {100 * summary[name]:.1f}" for name in ("P", "mPC", "rPC"))
        print(f"{out}: {found.headline} {numbers}")
    return 0
