"""The commands that asked for cells of an evaluation folder, as they were typed: `command.json`, beside the cells.

What a person types is stored once and printed from there: by the command that was interrupted, by `rtx status`, and by
reports of what is missing. It is no part of the protocol: it says nothing about what a number means.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rtx.errors import BadValue
from rtx.files import write_atomic
from rtx.results.folder import COMMAND
from rtx.types import SEVERITIES, Condition

COMMAND_FORMAT = "rtx.command/1"
WHOLE_GRID = ("--corruptions", "benchmark", "--severities", *map(str, SEVERITIES))


@dataclass(frozen=True)
class Command:
    """One way an evaluation was started.

    Attributes:
        words: what a person types, without `--overwrite`.
        folder: the working directory it was typed in.
        conditions: the cells it wants.
    """

    words: tuple[str, ...]
    folder: str
    conditions: tuple[Condition, ...]

    @property
    def line(self) -> str:
        """The command as one line for a shell, from any directory."""
        return f"cd {shell_line([self.folder])} && {shell_line(self.words)}"

    @property
    def takes_grid(self) -> bool:
        """Whether it is an `rtx corrupt_eval`, perhaps after a launcher's words, whose options are known."""
        return any(Path(word).stem.replace("-", "_") == "corrupt_eval" for word in self.words[:6])

    def extended(self, *words: str, without: str = "") -> Command:
        """The command with options at its end, which go before the same ones in its midst.

        Args:
            words: the options.
            without: an option with one value that is left out; argparse takes abbreviations, so do we.
        """
        kept, skip = [], False
        for word in self.words:
            name, equals, _ = word.partition("=")
            if skip:
                skip = False
            elif len(name) >= 4 and without.startswith(name):
                skip = not equals
            else:
                kept.append(word)
        return replace(self, words=(*kept, *words))


def shell_line(words: Iterable[str]) -> str:
    r"""Words for a shell, quoted; characters that do not print (a terminal would obey them) are left out.

    Example:
        >>> shell_line(["rtx", "status", "my run", "\x1b[2J;rm"])
        "rtx status 'my run' '[2J;rm'"
    """
    return shlex.join("".join(character for character in word if character.isprintable()) for word in words)


def note_command(root: Path, command: Command) -> None:
    """Add a command to those of an output folder; the same one again replaces what it wanted before.

    Raises:
        OutputError: the folder cannot be written.
    """
    rows = [row for row in read_commands(root) if (row.words, row.folder) != (command.words, command.folder)]
    content = {
        "format": COMMAND_FORMAT,
        "commands": [
            {"words": list(row.words), "folder": row.folder, "conditions": [c.key for c in row.conditions]}
            for row in [*rows, command]
        ],
    }
    write_atomic(root / COMMAND, json.dumps(content, indent=1) + "\n")


def read_commands(root: Path) -> list[Command]:
    """The commands of an output folder, the latest last; none where the file is absent or damaged."""
    try:
        content = json.loads((root / COMMAND).read_text(encoding="utf-8"))
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
