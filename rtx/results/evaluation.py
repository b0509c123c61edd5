"""An evaluation in memory: its folder is read once, and files that are computed from its cells say which those were."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RunConflict
from rtx.files import read_bounded
from rtx.metrics.per_image import Evidence
from rtx.results.arrays import MOST, load
from rtx.results.cell import Cell
from rtx.results.conditions import grid_order
from rtx.results.folder import CellFolder, evidence_path, stored_conditions
from rtx.results.protocol import protocol_key
from rtx.types import Condition

log = logging.getLogger(__name__)


class EvidenceFiles(Mapping[Condition, Evidence]):
    """The evidence of the cells of a folder, unpacked when it is asked for; each file is read once.

    What is kept are the packed files: some hundred kilobytes for 1,000 images, against many times that unpacked.

    Args:
        root: the folder.
        key: of the protocol that the files must belong to.
        conditions: the cells; evidence of others may be asked for, too.

    Raises:
        BadValue: on `[condition]`, a file is not there, damaged, or of another protocol.
    """

    def __init__(self, root: Path, key: str, conditions: Collection[Condition]) -> None:
        self.root, self.key, self.conditions = root, key, conditions
        self._files: dict[Condition, bytes] = {}

    def __getitem__(self, condition: Condition) -> Evidence:
        path = evidence_path(self.root, condition)
        if condition not in self._files:
            with suppress(OSError, ValueError):  # what cannot be read is named by `load`
                self._files[condition] = read_bounded(path, MOST)
        content = self._files.get(condition)
        return load(path, key=self.key, content=None if content is None else io.BytesIO(content))

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.conditions)

    def __len__(self) -> int:
        return len(self.conditions)


class Evaluation:
    """An evaluation in memory: its files are read once, and everything that is made of them shares this.

    Attributes:
        root: its folder.
        card: its protocol card.
        key: of the card, hashed once.
        cells: its cells in the order of tables: clean, then by corruption and severity.
        evidence: of its cells, read when it is asked for.
    """

    def __init__(
        self, root: Path, card: Mapping[str, Any], cells: Mapping[Condition, Cell], key: str | None = None
    ) -> None:
        self.root, self.card, self.key = root, card, key or protocol_key(card)
        self.cells = {condition: cells[condition] for condition in sorted(cells, key=grid_order)}
        self.evidence = EvidenceFiles(root, self.key, self.cells)

    @classmethod
    def read(cls, root: Path, conditions: Iterable[Condition] | None = None) -> Evaluation:
        """An evaluation folder; of all conditions when None.

        Raises:
            BadValue: it is no evaluation folder, or a file in it is damaged.
            RunConflict: a cell was made under another protocol.
        """
        folder = CellFolder.there(root)
        cells = folder.read(stored_conditions(root) if conditions is None else conditions)
        return cls(root, folder.card, cells, folder.key)

    @classmethod
    def sound(cls, root: Path) -> Evaluation:
        """An evaluation folder without its damaged cells, each of which is named in the log.

        Raises:
            BadValue: it is no evaluation folder, or every cell is damaged.
            RunConflict: a cell was made under another protocol.
        """
        folder = CellFolder.there(root)
        cells: dict[Condition, Cell] = {}
        faults: list[BadValue] = []
        for condition in stored_conditions(root):
            try:
                cells |= folder.read([condition])
            except BadValue as error:
                faults.append(error)
        if faults and not cells:
            raise faults[0]
        for fault in faults:
            log.warning("%s; without it the evaluation is incomplete", fault)
        return cls(root, folder.card, cells, folder.key)

    @classmethod
    def whole(cls, root: Path, cells: Mapping[Condition, Cell]) -> Evaluation:
        """Cells that were just read, with the sound ones that an earlier evaluation of this protocol left beside them.

        Raises:
            BadValue: the folder's card is damaged.
        """
        folder = CellFolder.there(root)  # by its own card, since the processes may run on different devices
        found = cls(root, folder.card, cells, folder.key)
        others: dict[Condition, Cell] = {}
        for condition in stored_conditions(root):
            if condition in cells:
                continue
            try:
                others |= folder.read([condition])
                found.evidence[condition]
            except (BadValue, RunConflict):
                others.pop(condition, None)
                log.warning("%s is damaged or of another protocol, it is left out", folder.path(condition))
        found.cells = {c: {**cells, **others}[c] for c in sorted((*cells, *others), key=grid_order)}
        found.evidence.conditions = found.cells
        return found

    def made_from(self, content: Mapping[str, Any], conditions: Iterable[Condition]) -> str:
        """What a file that was computed from cells states as its `made_from`: sha256 (hex) of these and of the file.

        A reader computes it again: another value means other cells, other scores, another protocol or an edited file.

        Args:
            content: the file; its own `made_from` does not count.
            conditions: the cells that it was computed from, all of them there.
        """
        rows = [[c.key, self.cells[c].n_images, self.cells[c].metrics] for c in sorted(conditions, key=grid_order)]
        rest = {name: value for name, value in content.items() if name != "made_from"}
        return hashlib.sha256(json.dumps([self.key, rows, rest], sort_keys=True).encode()).hexdigest()

    def is_origin_of(self, content: Mapping[str, Any], conditions: Collection[Condition]) -> bool:
        """Whether a file was made from these cells as they are now, and was not edited since."""
        return set(conditions) <= set(self.cells) and content.get("made_from") == self.made_from(content, conditions)


def sound_cells(folder: CellFolder, conditions: Iterable[Condition], *, aside: bool = True) -> dict[Condition, Cell]:
    """The cells that are there and whole; others are renamed to `<name>.damaged`, with their evidence.

    Args:
        folder: the output folder.
        conditions: which cells.
        aside: rename what is damaged, so that it is evaluated again; else it is only left out.

    Raises:
        RunConflict: a cell was made under another protocol.
        OutputError: a file cannot be read for a fault of the machine; nothing is renamed for that.
    """
    cells: dict[Condition, Cell] = {}
    for condition in conditions:
        beside = evidence_path(folder.root, condition)
        try:
            found = folder.read([condition])
            if found:
                load(beside, key=folder.key)
            cells.update(found)
        except BadValue as error:
            if not aside:
                continue
            log.warning("%s; it is moved aside and evaluated again", error)
            for path in (folder.path(condition), beside):
                with suppress(FileNotFoundError):
                    path.replace(path.with_name(path.name + ".damaged"))
    return cells
