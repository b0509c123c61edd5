"""The memory of a process is what its machine has, or what a control group around it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.engines.limits import memory

GIB = 2**30


@pytest.mark.parametrize(
    ("place", "files", "found"),
    [
        ("0::/", {}, (64, 50)),
        ("0::/", {"memory.max": "max"}, (64, 50)),
        (
            "0::/",
            {"memory.max": 8 * GIB, "memory.current": 6 * GIB, "memory.stat": f"anon 1\ninactive_file {GIB}"},
            (8, 3),
        ),
        ("0::/slurm/job", {"slurm/job/memory.max": 8 * GIB}, (8, 8)),
        (
            "0::/slurm/job",
            {"slurm/job/memory.max": 8 * GIB, "slurm/memory.max": 10 * GIB, "slurm/memory.current": 9 * GIB},
            (8, 1),
        ),
        ("4:memory:/job", {"memory/job/memory.limit_in_bytes": 4 * GIB}, (4, 4)),
        ("4:memory:/", {"memory/memory.limit_in_bytes": 9223372036854771712}, (64, 50)),
        ("0::/elsewhere", {"memory.max": 8 * GIB, "memory.current": 9 * GIB}, (8, 0)),
    ],
    ids=["none", "unlimited", "container", "job", "group around a job", "version 1", "version 1 unlimited", "over"],
)
def test_memory_counts_the_limits_of_control_groups(
    place: str, files: dict[str, object], found: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtx.engines.limits.GROUPS", tmp_path / "groups")
    monkeypatch.setattr("rtx.engines.limits.PROC", tmp_path / "proc")
    facts = {"proc/self/cgroup": place, "proc/meminfo": f"MemTotal: {64 * 2**20} kB\nMemAvailable: {50 * 2**20} kB\n"}
    for name, content in {**facts, **{f"groups/{name}": content for name, content in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert tuple(round(count / GIB) for count in memory()) == found
