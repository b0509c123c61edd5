"""An evaluation folder: the names of its files, and the one way to read it and to write into it.

    protocol.json                what defines the numbers: the protocol card; its key stands on every cell
    cells/<condition>.json       the scores of one condition                       rtx.results.cell
    cells/<condition>.npz        its evidence: the scores can be computed again    rtx.results.arrays
    predictions/<condition>.*    kept predictions (.npz, .zip)                     rtx.results.predictions
    examples/                    a few images with ground truth and predictions    rtx.results.examples
    summary.json                 P, mPC, rPC; table.md and cells.csv say the same  rtx.results.summary
    confidence.json              intervals; resamples.npz: what they are made of   rtx.results.confidence
    by_class.json                scores by class                                   rtx.results.by_class
    imagenet_c.json              errors of a classifier on stored images           rtx.evaluation.pixels.stored
    command.json                 who asked for which cells                         rtx.results.command
    shifts/<name>/               evaluations on other test sets                    rtx.results.shifts
    .*.lock                      held by the process that evaluates                rtx.evaluation.sweep.locks

A file that is computed from cells states what it was made from, and counts only beside those cells: see
`rtx.results.evaluation`.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RunConflict
from rtx.files import cannot_read, of_the_machine, read_json, write_atomic
from rtx.results.cell import Cell, known_card
from rtx.results.conditions import is_known
from rtx.results.protocol import protocol_key, without_context
from rtx.types import Condition

log = logging.getLogger(__name__)

PROTOCOL = "protocol.json"
SUMMARY, TABLE, CELLS_CSV = "summary.json", "table.md", "cells.csv"
CONFIDENCE, RESAMPLED = "confidence.json", "resamples.npz"
BY_CLASS = "by_class.json"
WRITTEN_AGAIN = "the evaluation's command writes it again"
"""The remedy for a file that is made from the cells, and damaged or of others."""
IMAGENET_C = "imagenet_c.json"
COMMAND = "command.json"
CELLS, PREDICTIONS, EXAMPLES, SHIFTS = "cells", "predictions", "examples", "shifts"
INDEX = "index.json"
"""Inside `examples/`."""
INSIDE_RUN = "corruption_eval"
"""Name of the evaluation folder in a training run's folder."""

ATTACKS_INSIDE_RUN = "attack_eval"
"""The same of an evaluation under attack."""

LAST_CHECKPOINT = "last_checkpoint"
"""In the folder of a training run: holds the path of its last checkpoint."""

REMOVED_FIRST = (SUMMARY, TABLE, CELLS_CSV, CONFIDENCE, RESAMPLED, BY_CLASS, IMAGENET_C, COMMAND)
_PREDICTION_ENDINGS = (".npz", ".zip")
_CELL_ENDINGS = (".json", ".npz", ".json.damaged", ".npz.damaged")
_EXAMPLE = re.compile(r"index\.json|\d\d(_\w+)?\.\w+")


def evidence_path(root: Path, condition: Condition) -> Path:
    """Where the evidence of a cell lies: beside the cell."""
    return root / CELLS / f"{condition.key}.npz"


def predictions_path(root: Path, condition: Condition) -> Path | None:
    """The stored predictions of a condition, or None."""
    paths = (root / PREDICTIONS / f"{condition.key}{ending}" for ending in _PREDICTION_ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def read_card(root: Path) -> dict[str, Any]:
    """Protocol card of an evaluation folder.

    Raises:
        BadValue: it is no such folder, or its card is damaged.
    """
    path = root / PROTOCOL
    try:
        card = read_json(path)
        for field in ("labels", "metric", "versions", "freeze_map"):
            if not isinstance(card.get(field) or {}, dict):
                raise ValueError(f"{field} is {json.dumps(card[field])[:40]}, no object")
    except (OSError, ValueError) as error:
        if of_the_machine(error):
            raise cannot_read(path, error) from error
        raise BadValue(
            f"{path}: cannot be read as a protocol card ({error}); give the output folder of an evaluation, or "
            "evaluate again with --overwrite"
        ) from error
    return card


def stored_conditions(root: Path) -> list[Condition]:
    """The conditions that a folder has cells of; other files there are passed over."""
    found = []
    for path in sorted((root / CELLS).glob("*.json")):
        try:
            condition = Condition.from_key(path.stem)
        except BadValue:
            condition = None
        if condition is None or not is_known(condition):
            log.warning("%s is no cell and is passed over; remove it", path)
            continue
        found.append(condition)
    return found


def find_evaluations(path: Path) -> list[Path]:
    """The evaluation folders that a path means: itself, those inside a run folder, or all one level below.

    Raises:
        BadValue: there is none.
    """
    if (path / PROTOCOL).is_file():
        return [path]
    inside = (INSIDE_RUN, ATTACKS_INSIDE_RUN)
    if mine := [path / name for name in inside if (path / name / PROTOCOL).is_file()]:
        return mine
    below = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    places = (*below, *(p / name for p in below for name in inside))
    found = [place for place in places if (place / PROTOCOL).is_file()]
    if not found:
        if path.is_file():
            raise BadValue(f"evaluation {str(path)!r} is a file; give the output folder of an evaluation")
        state = f"has no {PROTOCOL}, and none is one level below it" if path.is_dir() else "does not exist"
        made = f"rtx corrupt_eval CONFIG CHECKPOINT --out {shlex.quote(str(path))}"
        raise BadValue(f"evaluation {str(path)!r} {state}; make one with: {made}")
    return found


def run_config(run: Path) -> Path:
    """The config file that training wrote into its run folder.

    Raises:
        BadValue: there is none, or more than one.
    """
    found = sorted(run.glob("*.py"))
    if len(found) != 1:
        raise BadValue(
            f"run folder {str(run)!r} holds {len(found)} config files, one is needed; name the config file itself"
        )
    return found[0]


def last_checkpoint(run: Path) -> Path | None:
    """The file that a run folder names as its last checkpoint, whether it is there or not; None where it names none.

    The name holds the path at training time: in a folder that was copied, the file beside it is meant.
    """
    pointer = run / LAST_CHECKPOINT
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text(encoding="utf-8").strip())
    beside = run / named.name
    return beside if beside.is_file() or not named.is_file() else named


class CellFolder:
    """The cells of one evaluation on disk: `protocol.json` and `cells/<condition>.json` in one folder.

    Args:
        root: the output folder; it is made on the first write.
        card: the protocol card of this evaluation.
        overwrite: replace what another protocol left there instead of refusing.

    Raises:
        RunConflict: the folder holds cells of another protocol; the fields that differ are named.
        BadValue: the folder's `protocol.json` is damaged.
    """

    def __init__(self, root: Path, card: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.root = root
        self.card: dict[str, Any] = json.loads(json.dumps(card, default=str))
        self.key = protocol_key(self.card)
        self.overwrite = overwrite
        self._cards = [(self.card, self.key)]
        self._refuse_another()

    @classmethod
    def there(cls, root: Path) -> CellFolder:
        """A folder that is there, by its own card.

        Raises:
            BadValue: it is no evaluation folder, or its card is damaged.
        """
        folder = cls(root, read_card(root), overwrite=True)
        folder.overwrite = False
        return folder

    def _refuse_another(self) -> None:
        if self.overwrite:
            return
        if self.root.is_file():
            raise RunConflict(f"output folder {str(self.root)!r} is a file; choose another --out")
        if not (self.root / PROTOCOL).is_file():
            return
        other, key = known_card(read_card(self.root), self._cards)
        if key == self.key:
            return
        there, now = without_context(other), without_context(self.card)
        changed = [
            f"{name}: {_short(there.get(name))} there, {_short(now.get(name))} now"
            for name in sorted(there.keys() | now.keys())
            if there.get(name) != now.get(name)
        ]
        raise RunConflict(
            f"output folder {str(self.root)!r} belongs to another run ({'; '.join(changed)}); "
            "choose another --out, or --overwrite to replace it"
        )

    def path(self, condition: Condition) -> Path:
        """Where the cell of a condition lies."""
        return self.root / CELLS / f"{condition.key}.json"

    def open(self, *, spare: Path | None = None) -> None:
        """Make the folder ready: remove all that another run left when overwriting, and write the card if it is absent.

        Args:
            spare: predictions that this run reads; they are not removed.

        Raises:
            OutputError: the folder cannot be written.
        """
        path = self.root / PROTOCOL
        if self.overwrite:
            remove_results(self.root, spare=spare)
        if self.overwrite or not path.is_file():
            write_atomic(path, json.dumps(self.card, indent=1, sort_keys=True) + "\n")

    def write(self, cell: Cell) -> None:
        """Write one cell file atomically."""
        write_atomic(self.path(cell.condition), cell.to_json(known_card(cell.protocol, self._cards)[1]))

    def cell(self, condition: Condition) -> Cell | None:
        """One cell, None where it is not there.

        Raises:
            BadValue: the file is damaged, or holds another condition than its name says.
            OutputError: it cannot be read for a fault of the machine.
            RunConflict: it was made under another protocol.
        """
        path = self.path(condition)
        try:
            row = read_json(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if of_the_machine(error):
                raise cannot_read(path, error) from error
            raise BadValue(f"{path}: not an rtx cell file ({error}); delete it and run the evaluation again") from error
        cell = Cell.from_row(row, place=str(path), known=self._cards)
        if cell.condition != condition:
            raise BadValue(f"{path}: holds {cell.condition.key}, not {condition.key}; delete it and run again")
        if known_card(cell.protocol, self._cards)[1] != self.key:
            raise RunConflict(f"{path} was made under another protocol; choose another --out, or --overwrite")
        return cell

    def read(self, conditions: Iterable[Condition]) -> dict[Condition, Cell]:
        """The cells that are there, made under this protocol.

        Raises:
            BadValue, RunConflict: see `cell`.
        """
        return {condition: cell for condition in conditions if (cell := self.cell(condition)) is not None}


def remove_results(root: Path, *, spare: Path | None = None) -> None:
    """Remove cells, evidence, predictions, examples and what was made of them, before another run writes its own.

    Everything that rtx wrote, and nothing else. What the cells back goes first: a run that dies here leaves no number
    of one model beside the card of another.

    Args:
        root: the output folder.
        spare: predictions that the new run reads; they stay where they lie in `root`.
    """
    for name in REMOVED_FIRST:
        (root / name).unlink(missing_ok=True)
    _remove(root / EXAMPLES, (p for p in _files(root / EXAMPLES) if _EXAMPLE.fullmatch(p.name)))
    predictions = root / PREDICTIONS
    if spare is None or predictions.resolve() not in (spare.resolve(), *spare.resolve().parents):
        _remove(predictions, _of_conditions(predictions, _PREDICTION_ENDINGS))
    _remove(root / CELLS, _of_conditions(root / CELLS, _CELL_ENDINGS))
    for shift in [path for path in sorted((root / SHIFTS).glob("*")) if (path / PROTOCOL).is_file()]:
        remove_results(shift)
        _remove(shift, (shift / PROTOCOL, *shift.glob(".*.lock")))
    with suppress(OSError):
        (root / SHIFTS).rmdir()


def remove_halves(root: Path) -> None:
    """Remove the temporary files of writers that were killed; only where no process is writing."""
    for part in (root, root / CELLS, root / PREDICTIONS):
        for ending in ("json", "npz", "zip", "md", "csv"):
            for path in part.glob(f".*.{ending}.*"):
                path.unlink(missing_ok=True)


def _remove(folder: Path, files: Iterable[Path]) -> None:
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


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
