"""Cells that were damaged on disk are moved aside, so that they are evaluated again and not believed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rtx.errors import BadValue
from rtx.results import evidence_file as evidence
from rtx.results.cell import Cell, CellFolder
from rtx.results.confidence import evidence_path
from rtx.types import Condition

log = logging.getLogger(__name__)


def sound_cells(
    folder: CellFolder, conditions: Iterable[Condition], *, with_evidence: bool = True, aside: bool = True
) -> dict[Condition, Cell]:
    """The cells that are there and whole; others are renamed to `<name>.damaged`, with their evidence.

    Args:
        folder: the output folder.
        conditions: which cells.
        with_evidence: look into the evidence files too.
        aside: rename what is damaged; else it is only left out.

    Raises:
        RunConflict: a cell was made under another protocol.
    """
    cells: dict[Condition, Cell] = {}
    for condition in conditions:
        beside = evidence_path(folder.root, condition)
        try:
            found = folder.read([condition])
            if found and with_evidence:
                evidence.load(beside, key=folder.key)
            cells.update(found)
        except BadValue as error:
            if not aside:
                continue
            log.warning("%s; it is moved aside and evaluated again", error)
            for path in (folder.path(condition), beside):
                _set_aside(path)
    return cells


def remove_halves(root: Path) -> None:
    """Remove the temporary files of writers that were killed; only where no process is writing."""
    for part in (root, root / "cells", root / "predictions"):
        for ending in ("json", "npz", "zip", "md", "csv"):
            for path in part.glob(f".*.{ending}.*"):
                path.unlink(missing_ok=True)
    for part in (root / "claims", root / "claims" / "alive"):
        for path in part.glob(".*"):
            path.unlink(missing_ok=True)


def _set_aside(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.replace(path.with_name(path.name + ".damaged"))
