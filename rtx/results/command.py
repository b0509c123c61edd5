"""What was asked for in an output folder, and the command that finishes it: `command.json`, beside the cells.

No part of the protocol: it says nothing about what a number means, only who wants which cells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtx.errors import BadValue
from rtx.files import write_atomic
from rtx.types import Condition

COMMAND_FORMAT = "rtx.command/1"


@dataclass(frozen=True)
class Command:
    """One way a sweep was started.

    Attributes:
        words: what a person types, without `--overwrite`.
        folder: the working directory it was typed in.
        conditions: the cells it wants.
    """

    words: tuple[str, ...]
    folder: str
    conditions: tuple[Condition, ...]


def note_command(root: Path, words: Sequence[str], folder: Path, conditions: Iterable[Condition]) -> None:
    """Add a command to those of an output folder; the same one again replaces what it wanted before.

    Raises:
        OutputError: the folder cannot be written.
    """
    mine = Command(tuple(words), str(folder), tuple(conditions))
    rows = [row for row in read_commands(root) if (row.words, row.folder) != (mine.words, mine.folder)]
    content = {
        "format": COMMAND_FORMAT,
        "commands": [
            {"words": list(row.words), "folder": row.folder, "conditions": [c.key for c in row.conditions]}
            for row in [*rows, mine]
        ],
    }
    write_atomic(root / "command.json", json.dumps(content, indent=1) + "\n")


def read_commands(root: Path) -> list[Command]:
    """The commands of an output folder, the latest last; none where the file is absent or damaged."""
    try:
        content = json.loads((root / "command.json").read_text(encoding="utf-8"))
        return [
            Command(
                tuple(str(word) for word in row["words"]),
                str(row["folder"]),
                tuple(Condition.from_key(key) for key in row["conditions"]),
            )
            for row in content["commands"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadValue):
        return []
