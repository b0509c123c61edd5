"""The commands that asked for cells of an evaluation folder, as they were typed: found out, stored and printed.

What a person types is stored once, in `command.json` beside the cells, and printed from there: by the command that was
interrupted, by `rtx status`, and by reports of what is missing. It is no part of the protocol: it says nothing about
what a number means.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtx.errors import BadValue
from rtx.files import read_json, write_atomic
from rtx.results.folder import COMMAND
from rtx.types import SEVERITIES, Condition

COMMAND_FORMAT = "rtx.command/1"
AGAIN = "run again what made it; finished cells are kept"
WHOLE_GRID = ("--corruptions", "benchmark", "--severities", *map(str, SEVERITIES))


@dataclass(frozen=True)
class Command:
    """One way an evaluation was started.

    Attributes:
        words: what a person types, without `--overwrite`.
        folder: the working directory it was typed in.
        conditions: the cells it wants.
        shifts: names of the other test sets it wants.
    """

    words: tuple[str, ...]
    folder: str
    conditions: tuple[Condition, ...]
    shifts: tuple[str, ...] = ()

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
            {
                "words": list(row.words),
                "folder": row.folder,
                "conditions": [c.key for c in row.conditions],
                **({"shifts": list(row.shifts)} if row.shifts else {}),
            }
            for row in [*rows, command]
        ],
    }
    write_atomic(root / COMMAND, json.dumps(content, indent=1) + "\n")


def read_commands(root: Path) -> list[Command]:
    """The commands of an output folder, the latest last; none where the file is absent or damaged."""
    try:
        content = read_json(root / COMMAND)
        return [
            Command(
                tuple(str(word) for word in row["words"]),
                str(row["folder"]),
                tuple(Condition.from_key(key) for key in row["conditions"]),
                tuple(str(name) for name in row.get("shifts", ())),
            )
            for row in content["commands"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadValue):
        return []


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


LAUNCHERS = ("torchrun", "torch.distributed.run", "torch.distributed.launch", "torch/distributed/run.py")


def typed_words(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The words of the running command as a person types them.

    Args:
        argv: of the process, interpreter included; the running one's when None.
        environ: its environment; the running one's when None.
    """
    environ = os.environ if environ is None else environ
    words = list(sys.orig_argv if argv is None else argv)
    return tuple(_launcher_words(environ, words) or _plain(words))


def without_overwrite(words: Iterable[str]) -> tuple[str, ...]:
    """Words that go on where a run stopped: `--overwrite` would throw away what is finished."""
    # argparse takes abbreviations.
    return tuple(word for word in words if not (word.startswith("--ov") and "--overwrite".startswith(word)))


def _plain(words: list[str]) -> list[str]:
    """Without the interpreter where the program is a console script on the path, as people type it."""
    script = next((n for n, word in enumerate(words[1:], 1) if not word.startswith("-")), None)
    if script is None or words[script - 1] == "-m":
        return words
    name = Path(words[script]).name
    found = shutil.which(name)
    if found and Path(found).resolve() == Path(words[script]).resolve() and not name.endswith(".py"):
        return [name, *words[script + 1 :]]
    return words


def _launcher_words(environ: Mapping[str, str], words: list[str]) -> list[str] | None:
    """The launcher's own command where there is one: its process is this one's parent."""
    if "TORCHELASTIC_RUN_ID" not in environ:
        return None
    parent = _command_of(os.getppid())
    if parent and any(name in word for word in parent[:4] for name in LAUNCHERS):
        return _plain(parent)
    # The parent cannot be read: the same number of processes on one node.
    script = next((n for n, word in enumerate(words[1:], 1) if not word.startswith("-")), 1)
    count = environ.get("LOCAL_WORLD_SIZE", environ.get("WORLD_SIZE", "1"))
    return ["torchrun", "--nproc-per-node", count, *words[script:]]


def _command_of(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode("utf-8", "surrogateescape") for word in text.split(b"\0")[:-1]]
