"""What `--overwrite` removes from an output folder: everything that an evaluation wrote there, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rtx.errors import BadValue
from rtx.types import Condition

MADE_OF_CELLS = (
    "summary.json",
    "table.md",
    "cells.csv",
    "confidence.json",
    "resamples.npz",
    "by_class.json",
    "imagenet_c.json",
    "command.json",
)
_EXAMPLE = re.compile(r"index\.json|\d\d(_\w+)?\.\w+")


def remove_results(root: Path, *, spare: Path | None = None) -> None:
    """Remove cells, evidence, predictions, examples and what was made of them, before another run writes its own.

    What the cells back goes first: a run that dies here leaves no number of one model beside the card of another.

    Args:
        root: the output folder.
        spare: predictions that the new run reads; they stay where they lie in `root`.
    """
    for name in MADE_OF_CELLS:
        (root / name).unlink(missing_ok=True)
    _remove(root / "examples", (p for p in _files(root / "examples") if _EXAMPLE.fullmatch(p.name)))
    predictions = root / "predictions"
    if spare is None or predictions.resolve() not in (spare.resolve(), *spare.resolve().parents):
        _remove(predictions, _of_conditions(predictions, (".npz", ".zip")))
    _remove(root / "cells", _of_conditions(root / "cells", (".json", ".npz", ".json.damaged", ".npz.damaged")))


def _remove(folder: Path, files: Iterator[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
    with suppress(OSError):  # something else lies in it, or it is not there
        folder.rmdir()


def _of_conditions(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    for path in _files(folder):
        name, dot, ending = path.name.partition(".")
        with suppress(BadValue):
            Condition.from_key(name)
            if dot + ending in endings:
                yield path


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file())
