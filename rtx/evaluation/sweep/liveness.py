"""Which process this is, and whether another one still lives, as far as this machine can tell."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Machine, process id and start of this process, which no other one ever shares."""
    return {**_machine(), "pid": os.getpid(), "start": _start_of(os.getpid())}


def _machine() -> dict[str, str | None]:
    """What process ids can be compared within: a boot of a machine, and one space of process ids on it."""
    boot = space = None
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        space = os.readlink("/proc/self/ns/pid")
    return {"host": socket.gethostname(), "boot": boot, "pids": space}


def is_here(who: Mapping[str, Any]) -> bool:
    """Whether a process belongs to this machine, this boot of it, and this space of process ids."""
    mine = _machine()
    return None not in mine.values() and all(who.get(name) == value for name, value in mine.items())


def _start_of(pid: int) -> int | None:
    """When a process started, in ticks since boot; None where there is no such process (or no /proc)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def state_of(who: Mapping[str, Any]) -> str:
    """`alive` or `dead` for a process of this machine, else `unknown`."""
    if not is_here(who):
        return "unknown"
    start = _start_of(int(who.get("pid", 0)))
    return "alive" if start is not None and start == who.get("start") else "dead"
