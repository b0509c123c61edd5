"""`rtx COMMAND ...`: find the command, run it, show an error of the user's making without a traceback.

A command's module is imported only when it is called, so `rtx --help` and `rtx doctor` work where PyTorch or OpenMMLab
are absent or broken.
"""

from __future__ import annotations

import argparse
import codecs
import errno
import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from rtx import __version__
from rtx.cli.streams import steady_streams
from rtx.environment import safe_torch
from rtx.errors import BadValue, MissingDependency, RtxError, printable, shown, unknown_name

COMMANDS: dict[str, str] = {
    "train": "train a detector or segmenter from a source backbone",
    "train_source": "train a robust source: adversarial training, Gaussian noise, PRIME, AugMix",
    "corrupt_eval": "evaluate a checkpoint clean and under the 15 corruptions: P, mPC, rPC",
    "attack_eval": "evaluate a checkpoint under adversarial attacks: accuracy, AP or mIoU by eps",
    "status": "how far evaluations are, and what finishes them",
    "score": "P, mPC, rPC of predictions made elsewhere (COCO results, label maps)",
    "imagenet_c": "error, mCE, rPC of a classifier on ImageNet-C-style folders",
    "corrupt": "corrupt an image or a data folder, into files or a contact sheet",
    "stylise": "a copy of a data folder with stylised training images (AdaIN)",
    "targets": "classification targets: list the rows, check a folder against one",
    "probe": "linear heads on the frozen features of sources: sizes of training set, seeds",
    "influence": "which training images a classifier's answers on test images rest on",
    "drift": "where in the network clean and corrupted features, source and run part",
    "visualise": "images that a unit answers to most, and that a representation stands for",
    "weights": "source weights: list, fetch, inspect, convert",
    "experiments": "the papers' experiments: their runs, and what to type for each",
    "report": "one page, figures and tables over finished evaluations",
    "compare": "two evaluations, paired: where they differ and by how much",
    "import_published": "published result files as evaluations of our own format",
    "one_pixel": "why a robust source can fail: a task of one pixel, margin against eps (seconds)",
    "demo": "the whole story in a few minutes on rendered scenes, no download, no GPU",
    "doctor": "what is installed, what clashes, and how to fix it",
}
"""What `rtx --help` says of each command; its module is `rtx.cli.NAME`."""

INTERRUPTED = 130
BAD_INPUT = 2
# Apart from 1, which commands give a meaning of their own: a limit that was exceeded, a cell that is missing.
CRASHED = 3
CLOSED_PIPE = 141  # as a shell counts SIGPIPE
# What a terminal of few letters shows instead of the ones it lacks; a lost minus would be another number.
_PLAIN = {"−": "-", "–": "-", "→": "->", "…": "...", "↳": ">", "“": '"', "”": '"', "×": "x", "\u00a0": " "}  # noqa: RUF001


_DISK = "see to the disk or the network, then run the same command again: what is finished is kept"
_MACHINE = {
    errno.ENAMETOOLONG: "a name of a file or folder has 255 bytes at most: give a shorter one",
    errno.EMFILE: "raise the limit of open files (ulimit -n 4096), or use fewer --workers",
    errno.ENFILE: "too many files are open on this machine: end other programs",
    errno.EACCES: "fix the permissions, or name another place",
    errno.EPERM: "fix the permissions, or name another place",
    errno.EROFS: "name another place, or make this one writable",
    errno.ENOSPC: "free some space, then run the same command again: what is finished is kept",
    errno.EDQUOT: "free some space, then run the same command again: what is finished is kept",
    errno.ENOMEM: "use fewer --workers, or smaller batches",
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
    errno.ETIMEDOUT: _DISK,
}
"""Faults of the machine, wherever a command meets them, and what to do."""


def _of_the_machine(error: OSError) -> str:
    """The fault with its place, shortened in the midst where that is too long for a line."""
    place = printable("" if error.filename is None else error.filename)
    place = place if len(place) <= 160 else f"{place[:60]}...{place[-60:]}"
    return f"{type(error).__name__}: {error.strerror}{f': {place!r}' if place else ''}"


def find(name: str) -> str:
    """The name that a command is listed under; `corrupt-eval` is `corrupt_eval`.

    Raises:
        UnknownName: there is no such command; the nearest ones are shown.
    """
    listed = name.replace("-", "_")
    if listed not in COMMANDS:
        raise unknown_name("command", name, place="rtx", choices=COMMANDS)
    return listed


def overview() -> str:
    """The text of `rtx --help`."""
    width = max(len(name) for name in COMMANDS)
    return "\n".join(
        [
            "usage: rtx COMMAND [arguments]      rtx COMMAND --help      rtx --version",
            "",
            "commands:",
            *(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()),
            "",
            "Exit status: 0, or what the command's own help says; 2 for an error that you can fix, 3 for a fault of",
            "rtx's own, 130 after Ctrl-C.",
            "RTX_DEBUG=1 shows the traceback of an error that is otherwise only its message.",
        ]
    )


def main(argv: Sequence[str]) -> int:
    """Run one command.

    Args:
        argv: the command's name and its arguments, without the program's name.

    Returns:
        The exit status: what the command returns, 2 for bad input, 130 after Ctrl-C.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if argv else BAD_INPUT
    if argv[0] in ("-V", "--version"):
        print(f"rtx {__version__}")
        return 0
    try:
        with _log_to_stderr():
            return _run(argv[0], argv[1:])
    except RtxError as error:
        if os.environ.get("RTX_DEBUG"):
            raise
        print(shown(error), file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        remedy = _MACHINE.get(error.errno or 0)
        if remedy is None or os.environ.get("RTX_DEBUG"):
            raise
        print(f"{_of_the_machine(error)}; {remedy}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(name: str, arguments: Sequence[str]) -> int:
    listed = find(name)
    _refuse_empty(listed, arguments)
    try:
        module = _import(f"rtx.cli.{listed}")
        parser = argparse.ArgumentParser(prog=f"rtx {listed}", description=module.__doc__ or COMMANDS[listed])
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(parser)
        args = parser.parse_args(arguments)
        if getattr(args, "imports", None):
            from rtx.sources.catalog.archs import import_modules

            import_modules(args.imports)
        status = module.run(args)
    except ModuleNotFoundError as error:
        # A missing package of ours is a mistake of ours and keeps its traceback.
        if error.name is None or error.name.partition(".")[0] == "rtx":
            raise
        raise MissingDependency(
            f"rtx {listed}: the package that provides {error.name!r} is not installed; "
            "`rtx doctor` shows what is missing and the line that installs it"
        ) from error
    except (KeyError, TypeError) as error:
        if (text := _fault_of_config(error)) is None:
            raise
        raise BadValue(text) from error
    return int(status or 0)


def _refuse_empty(command: str, arguments: Sequence[str]) -> None:
    """Refuse an empty word, which would pass for the current folder or for an option that was left out.

    Raises:
        BadValue: there is one; what stands before it is named.
    """
    for before, word in zip((command, *arguments), arguments, strict=False):
        option = word[:-1] if word.startswith("--") and word.endswith("=") else before
        if not word.strip() or option is not before:
            raise BadValue(
                f"{option}: is followed by an empty word; leave it out, or is a variable of a script not set?"
            )


def _fault_of_config(error: KeyError | TypeError) -> str | None:
    """What a config or `--cfg-options` has wrong where OpenMMLab could not build from it; None of every other fault."""
    place = "correct it in the config or --cfg-options"
    text = str(error.args[0]) if error.args else ""
    if unknown := re.match(r"(\S+) is not in the (\S+) registry", text):
        where = unknown[2].replace("::", "'s registry of ")
        return (
            f"type {unknown[1]!r} is not in {where}; {place}, or import the module that registers it (custom_imports)"
        )
    building = any(frame.filename.endswith("build_functions.py") for frame in traceback.extract_tb(error.__traceback__))
    if building and re.search(r"__init__\(\) (got an unexpected keyword argument|missing \d+ required)", text):
        return f"{text.replace('.__init__()', '')}: {place}"
    return None


def _import(name: str) -> ModuleType:
    return importlib.import_module(name)


class _PlainFormatter(logging.Formatter):
    """Lines without control characters, which names from files may hold."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Show what the rooms of rtx log, at INFO and above, while a command runs."""
    logger = logging.getLogger("rtx")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a library may give the root logger a handler too, and each line would come twice
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def entry(*first: str) -> None:
    """The console script `rtx`, or with its name one command.

    Args:
        first: arguments before the ones that were typed.
    """
    _read_names_as_utf8()
    # What this process starts finds installed modules, not those that lie in the folder where it runs.
    os.environ["PYTHONSAFEPATH"] = "1"
    safe_torch()
    output = steady_streams()
    try:
        status = main([*first, *sys.argv[1:]])
    except Exception as error:
        traceback.print_exc()
        status = BAD_INPUT if isinstance(error, RtxError) else CRASHED
    output.flush()
    if isinstance(output.fault, BrokenPipeError):  # the reader (head, less) went away
        status = CLOSED_PIPE
    elif output.fault is not None:
        print(f"standard output cannot be written ({output.fault.strerror})", file=sys.stderr)
        status = status or BAD_INPUT
    sys.exit(status)


def _read_names_as_utf8() -> None:
    """Start again in UTF-8 mode where the locale knows ASCII names alone, so that a file `dönn.py` is found."""
    if codecs.lookup(sys.getfilesystemencoding()).name == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        # What is printed stays ASCII, which is what the terminal is said to show.
        os.environ.setdefault("PYTHONIOENCODING", "ascii:backslashreplace")
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error("rtx.plain", _plain_letters)


if __name__ == "__main__":
    entry()
