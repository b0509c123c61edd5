"""How far an evaluation is, read off its folder: while it runs, from any machine that sees the folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RtxError
from rtx.files import read_json
from rtx.results.cell import Cell
from rtx.results.command import Command, read_commands
from rtx.results.conditions import grid
from rtx.results.folder import CELLS, SUMMARY, CellFolder, evidence_path
from rtx.results.shifts import shift_folder, shift_folders
from rtx.types import CLEAN, Condition

RECENT = 20
"""Cells that the pace is measured on."""
STALLED_SECONDS = 600.0
WHOLE = grid()


@dataclass(frozen=True)
class RunProgress:
    """The state of one output folder.

    Attributes:
        folder: which one.
        card: its protocol card.
        key: of that protocol.
        wanted: the cells that were requested.
        guessed: whether `wanted` is a guess, because nothing in the folder says it.
        done: finished cells.
        damaged: cell files that cannot be used, and why.
        without_evidence: finished cells that intervals cannot be computed for.
        commands: how the evaluation was started, the latest last.
        newest: seconds since the last cell was written, None without any.
        shifts: name of each other test set that was asked for -> whether its score is there.
    """

    folder: Path
    card: Mapping[str, Any]
    key: str
    wanted: tuple[Condition, ...]
    guessed: bool
    done: dict[Condition, Cell]
    damaged: dict[Condition, str]
    without_evidence: tuple[Condition, ...]
    commands: list[Command] = field(default_factory=list)
    newest: float | None = None
    shifts: dict[str, bool] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[Condition, ...]:
        """Wanted cells that are not there, or not usable."""
        return tuple(condition for condition in self.wanted if condition not in self.done)

    @property
    def complete(self) -> bool:
        """Whether every wanted cell is there and none is damaged, and every shift too."""
        return not self.missing and not self.damaged and all(self.shifts.values())

    @property
    def whole_grid(self) -> bool:
        """Whether the wanted cells make a full mPC: the clean images and the 15 corruptions at 5 severities."""
        return set(WHOLE) <= set(self.wanted)

    @property
    def cell_seconds(self) -> float | None:
        """Seconds that one process needs for a cell, estimated from the latest cells."""
        timed = [cell.timing["seconds"] for cell in self.done.values() if cell.timing.get("seconds")]
        return sum(timed[-RECENT:]) / len(timed[-RECENT:]) if timed else None

    @property
    def images_per_second(self) -> float | None:
        """The pace of one process, by the cells written last."""
        last = [cell for cell in self.done.values() if cell.timing.get("seconds")][-RECENT:]
        return sum(cell.n_images for cell in last) / sum(cell.timing["seconds"] for cell in last) if last else None

    @property
    def seconds_left(self) -> float | None:
        """Until all wanted cells are there, with one process."""
        if not self.missing:
            return 0.0
        return None if self.cell_seconds is None else self.cell_seconds * len(self.missing)

    def finishing(self) -> list[Command]:
        """The commands that still have something to do, the latest first."""
        missing = set(self.missing) | set(self.damaged)
        shifts = {name for name, done in self.shifts.items() if not done}
        return [c for c in reversed(self.commands) if missing & set(c.conditions) or shifts & set(c.shifts)]


def read_progress(folder: Path) -> RunProgress:
    """Read an output folder; cells that cannot be used are listed, not raised.

    Raises:
        BadValue: the folder has no readable protocol card.
    """
    stored = CellFolder.there(folder)
    files = []
    for file in (folder / CELLS).glob("*.json"):
        with suppress(FileNotFoundError):  # another process is replacing it
            files.append((file.stat().st_mtime, file))
    done: dict[Condition, Cell] = {}
    damaged: dict[Condition, str] = {}
    for _, file in sorted(files):
        try:
            condition = Condition.from_key(file.stem)
        except BadValue:
            continue
        try:
            done |= stored.read([condition])
        except RtxError as error:
            damaged[condition] = str(error)
    commands = read_commands(folder)
    wanted, guessed = _wanted(folder, commands, done)
    bare = tuple(c for c in done if not evidence_path(folder, c).is_file())
    newest = max(0.0, time.time() - max(stamp for stamp, _ in files)) if files else None
    names = dict.fromkeys([*(name for command in commands for name in command.shifts), *shift_folders(folder)])
    shifts = {name: _is_there(shift_folder(folder, name)) for name in names}
    return RunProgress(folder, stored.card, stored.key, wanted, guessed, done, damaged, bare, commands, newest, shifts)


def _is_there(shift: Path) -> bool:
    try:
        return CellFolder.there(shift).cell(CLEAN) is not None
    except RtxError:
        return False


def _wanted(
    folder: Path, commands: list[Command], done: Mapping[Condition, Cell]
) -> tuple[tuple[Condition, ...], bool]:
    """The cells that were asked for: by commands, else what a finished run summarised, else the whole benchmark."""
    if commands:
        return tuple(dict.fromkeys(c for command in commands for c in command.conditions)), False
    try:
        summary = read_json(folder / SUMMARY)
        return tuple(Condition.from_key(key) for key in summary["cells"]), False
    except (OSError, ValueError, KeyError, TypeError, BadValue):
        return tuple(dict.fromkeys([*WHOLE, *done])), True
