"""A process's share of the processors: what it may run on, a container's quota, the ranks beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.evaluation.sweep.machine import processors


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
