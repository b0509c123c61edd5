"""What of the machine is this process's share."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rtx.engines import limits

CGROUP = Path("/sys/fs/cgroup/cpu.max")
_RANKS_HERE = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE")


def processors(environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """How many processors this process may count as its own, at least 1, and in words why.

    Those that the system lets it run on, or fewer where a container has a quota; of a launcher's job, an even part of
    what the ranks on this node have together. A task of Slurm has processors of its own.

    Args:
        environ: where a launcher says how many ranks there are; this process's environment when None.
    """
    environ = os.environ if environ is None else environ
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    reason = f"{count} processors"
    quota = _quota()
    if quota is not None and quota < count:
        count, reason = quota, f"a quota of {quota} processors"
    ranks = _ranks(environ)
    if ranks > 1:
        count, reason = count // ranks, f"{reason} for {ranks} ranks on this node"
    return max(count, 1), reason


def memory(environ: Mapping[str, str] | None = None) -> int:
    """Bytes of memory that this process may count as its own: what its limits leave, 0 where nothing says it.

    Args:
        environ: see `processors`; ranks on this node get even parts.
    """
    _, left = limits.memory()
    return 0 if left == sys.maxsize else left // _ranks(os.environ if environ is None else environ)


def temporary_space(environ: Mapping[str, str] | None = None) -> int:
    """Bytes that are free where temporary files go, of which ranks on this node get even parts; 0 without such a place.

    Args:
        environ: see `processors`.
    """
    try:
        free = shutil.disk_usage(tempfile.gettempdir()).free
    except OSError:
        return 0
    return free // _ranks(os.environ if environ is None else environ)


def open_files(wanted: int) -> int:
    """How many more files this process may open. The soft limit is raised where `wanted` needs it, as far as it may be.

    Returns:
        `sys.maxsize` where the system does not say.
    """
    try:
        import resource

        there = len(os.listdir("/proc/self/fd")) - 1
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < there + wanted:  # -1 is no limit
            more = there + wanted if hard < 0 else min(there + wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    except (ImportError, OSError, ValueError):
        return sys.maxsize
    return sys.maxsize if soft < 0 else soft - there


def _ranks(environ: Mapping[str, str]) -> int:
    """How many ranks of a launcher's job are on this node."""
    return max(next((int(environ[name]) for name in _RANKS_HERE if environ.get(name, "").isdecimal()), 1), 1)


def _quota() -> int | None:
    """Whole processors that a container's quota leaves; None without one."""
    try:
        quota, period = CGROUP.read_text().split()
        return None if quota == "max" else max(int(quota) // int(period), 1)
    except (OSError, ValueError):
        return None
