"""A process's share of the processors: what it may run on, a container's quota, the ranks beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rtx.evaluation.sweep.machine import memory, processors, temporary_space


@pytest.mark.parametrize(
    ("allowed", "quota", "environ", "count", "reason"),
    [
        (16, None, {}, 16, "16 processors"),
        (16, "max 100000", {}, 16, "16 processors"),
        (64, "850000 100000", {}, 8, "a quota of 8 processors"),
        (4, "850000 100000", {}, 4, "4 processors"),
        (64, "50000 100000", {}, 1, "a quota of 1 processors"),
        (64, "nonsense", {}, 64, "64 processors"),
        (64, None, {"LOCAL_WORLD_SIZE": "8"}, 8, "64 processors for 8 ranks on this node"),
        (64, "1600000 100000", {"LOCAL_WORLD_SIZE": "4"}, 4, "a quota of 16 processors for 4 ranks on this node"),
        (2, None, {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, 1, "2 processors for 4 ranks on this node"),
        (8, None, {"SLURM_NTASKS": "4", "LOCAL_WORLD_SIZE": ""}, 8, "8 processors"),
    ],
)
def test_share(
    allowed: int,
    quota: str | None,
    environ: dict[str, str],
    count: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    monkeypatch.setattr("rtx.evaluation.sweep.machine.CGROUP", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert processors(environ) == (count, reason)


def test_memory_is_shared_by_the_ranks_and_none_where_nothing_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtx.engines.limits.memory", lambda: (9000, 8000))
    assert (memory({}), memory({"LOCAL_WORLD_SIZE": "4"})) == (8000, 2000)
    monkeypatch.setattr("rtx.engines.limits.memory", lambda: (sys.maxsize, sys.maxsize))
    assert memory({"LOCAL_WORLD_SIZE": "4"}) == 0


def test_temporary_space_is_shared_by_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert (temporary_space({}), temporary_space({"LOCAL_WORLD_SIZE": "4"})) == (1000, 250)
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", "/gone/for/good")
    assert temporary_space({}) == 0
