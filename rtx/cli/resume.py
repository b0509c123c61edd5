"""The command that was typed, and the one that goes on where a run stopped."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

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
