"""The ranks of one job: rank 0 comes first where it must, and each takes the device of its place."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rtx.errors import BadValue, RunConflict
from rtx.evaluation.sweep.share import Share, default_device, start

PROJECT = Path(__file__).resolve().parents[3]


def test_what_fails_on_rank_0_is_raised_there_as_it_is_and_named_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def broadcast(fault: list[Any]) -> None:
        sent[:] = sent or fault  # what rank 0 sends is what the others receive
        fault[:] = sent

    monkeypatch.setattr("mmengine.dist.broadcast_object_list", broadcast)

    def fail() -> None:
        raise BadValue("no room")

    with pytest.raises(BadValue, match=r"^no room$"):
        Share(0).first(fail)
    with pytest.raises(RunConflict, match=r"rank 0 could not .*: no room"):
        Share(1).first(fail)
    sent.clear()
    assert [Share(rank).first(lambda rank=rank: rank) for rank in (0, 1)] == [0, 0]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("local_rank", "environ", "n_gpus", "device"),
    [
        (0, {}, 0, "cpu"),
        (0, {}, 4, "cuda:0"),
        (3, {"LOCAL_RANK": "3"}, 4, "cuda:3"),
        (0, {"LOCAL_RANK": "0", "SLURM_LOCALID": "2"}, 4, "cuda:0"),
        (0, {"SLURM_LOCALID": "2"}, 4, "cuda:2"),
        (0, {"SLURM_LOCALID": "2"}, 1, "cuda:0"),
    ],
    ids=["no GPU", "alone", "torchrun", "torchrun in a task", "srun", "srun with a GPU each"],
)
def test_each_process_of_a_node_takes_the_gpu_of_its_place(
    local_rank: int, environ: dict[str, str], n_gpus: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    assert default_device(local_rank, environ=environ) == device


def test_a_launcher_without_a_gpu_is_told_what_works_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadValue, match=r"--launcher slurm: there is no GPU.*leave --launcher away"):
        start("slurm")


RANK = """
import time
from rtx.evaluation.sweep.share import end_with_launcher
end_with_launcher("pytorch")
print(1, flush=True)
time.sleep(60)
"""
AGENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {rank!r}], start_new_session=True).wait()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such signal")
def test_a_rank_ends_with_a_launcher_that_is_killed() -> None:
    agent = AGENT.format(rank=RANK)
    with subprocess.Popen([sys.executable, "-uc", agent], stdout=subprocess.PIPE, cwd=PROJECT) as launcher:
        assert launcher.stdout and launcher.stdout.readline() == b"1\n"
        launcher.kill()
        started = time.monotonic()
        assert launcher.stdout.read() == b"", "the rank held the pipe open until now"
        assert time.monotonic() - started < 20


def test_a_port_in_use_is_said_with_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        for name, value in dict(RANK=0, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=port).items():
            monkeypatch.setenv(name, str(value))
        with pytest.raises(BadValue, match=rf"port {port} is taken on this node.*set MASTER_PORT .*such as \d+"):
            start("pytorch")
