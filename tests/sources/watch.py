"""What a piece of code does to the machine while it runs: files, processes, environment, connections, memory."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_WATCHED = ("os.", "shutil.", "subprocess.", "socket.", "pty.", "ctypes.", "webbrowser.", "urllib.", "tempfile.")
# Reading folders and looking things up leaves nothing behind.
_HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "ctypes.addressof", "ctypes.cdata")
_REACH = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_events: list[str] = []
_thread: int | None = None
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    # An audit hook stays for the life of the process; it listens only while `watched` runs, and only to its thread.
    if _thread != threading.get_ident():
        return
    if event == "open":
        path, mode, flags = arguments
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _REACH):
            _events.append(f"open {path!r} {mode} {flags}")
    elif event == "pickle.find_class" or (event.startswith(_WATCHED) and not event.startswith(_HARMLESS)):
        _events.append(f"{event} {arguments!r}"[:200])


@contextlib.contextmanager
def watched(*, memory: int) -> Iterator[list[str]]:
    """Collect every trace that the block leaves; it cannot take more than `memory` bytes on top of what is taken.

    Yields:
        The events: files opened for writing, processes, connections, changes of folders and of the environment, and
        classes that a real unpickler looked up.
    """
    global _thread, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _events.clear()
    environment, folder, mask = dict(os.environ), os.getcwd(), _children()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, hard))
    _thread = threading.get_ident()
    try:
        yield _events
    finally:
        _thread = None
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        if dict(os.environ) != environment:
            _events.append("environment changed")
        if os.getcwd() != folder:
            _events.append("folder changed")
        if _children() - mask:
            _events.append("a process was started")


def _children() -> set[str]:
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}
