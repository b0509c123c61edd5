"""The memory that the system lets this process have: what there is, or the limits of its control groups."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

GROUPS, PROC = Path("/sys/fs/cgroup"), Path("/proc")
_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # control groups of version 1
)


def memory() -> tuple[int, int]:
    """Bytes that this process may hold together with those that share its limits, and how many of them are left.

    What the system has, or less where a control group (a container, a job of Slurm) limits it; `sys.maxsize` where
    nothing says it.
    """
    try:
        info = dict(re.findall(r"^(\w+):\s+(\d+) kB", (PROC / "meminfo").read_text(), re.M))
        total, left = int(info["MemTotal"]) * 1024, int(info["MemAvailable"]) * 1024
    except (OSError, KeyError):
        total = left = sys.maxsize
    limit = total
    for folder in _groups():
        for most, used, cache in _MEMORY:
            if (here := _number(folder / most)) is None or here >= total:  # no limit is a huge one
                continue
            limit = min(limit, here)
            # Files that are cached go when memory is wanted.
            files = re.search(rf"^{cache} (\d+)", _text(folder / "memory.stat"), re.M)
            held = (_number(folder / used) or 0) - (int(files.group(1)) if files else 0)
            left = min(left, max(here - held, 0))
    return limit, left


def _groups() -> Iterator[Path]:
    """The folders of this process's control groups and of those around them, of both versions.

    In a container the folder at the top is that of its own group, whatever the process is told its place is.
    """
    for line in ["0::/", "0:memory:/", *_text(PROC / "self/cgroup").splitlines()]:
        _, names, place = line.split(":", 2)
        if names and "memory" not in names.split(","):
            continue
        top = GROUPS / "memory" if names else GROUPS
        folder = top / place.strip("/")
        yield folder
        while folder != top and folder != folder.parent:
            folder = folder.parent
            yield folder


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
