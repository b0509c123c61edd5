"""The command that evaluates what a run lacks: the one that was typed, asked for the missing cells."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rtx.results.command import WHOLE_GRID, read_commands
from rtx.types import Condition

AGAIN = "run again what made it; finished cells are kept"


def remedy(folder: Path, card: Mapping[str, Any], wanted: Iterable[Condition], *, whole: bool = False) -> str:
    """The command that evaluates cells; those that are there are kept.

    Args:
        folder: the evaluation, as it was given.
        card: its protocol card.
        wanted: what is missing, cells of the benchmark; of a preview that is to become whole, every cell.
        whole: evaluate all images, into a folder beside it.

    Returns:
        A line for a shell, or what to do where no command was typed.
    """
    if card.get("origin"):
        return "not in the imported file, nothing to run"
    typed = read_commands(folder)
    if not typed:
        return AGAIN
    command = typed[-1]
    covers = set(wanted) <= set(command.conditions)
    if not command.takes_grid and (whole or not covers):
        return AGAIN
    if whole:
        plain = Path(os.path.normpath(folder.absolute()))
        command = command.extended("--out", str(plain.with_name(f"{plain.name}_whole")), without="--limit")
    return command.line if covers else command.extended(*WHOLE_GRID).line
