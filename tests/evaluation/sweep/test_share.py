"""The ranks of one job: rank 0 comes first where it must, and each takes the device of its place."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from rtx.errors import BadValue, RunConflict
from rtx.evaluation.sweep.share import StoreShare, default_device, start


def _store() -> Any:
    import torch.distributed as dist

    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=20))
    return store


def test_what_rank_0_does_is_done_once_and_before_the_others_go_on() -> None:
    store = _store()
    order: list[str] = []

    def work(rank: int) -> None:
        StoreShare(store, rank, name="s", poll=0.01).once("open", lambda: order.append("opened"))
        order.append("on")

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (2, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert order == ["opened", "on", "on", "on"]


def test_what_fails_on_rank_0_fails_everywhere() -> None:
    store = _store()

    def fail() -> None:
        raise BadValue("no")

    with pytest.raises(BadValue):
        StoreShare(store, 0, name="s").once("open", fail)
    with pytest.raises(RunConflict, match="rank 0"):
        StoreShare(store, 1, name="s").once("open", fail)


def test_a_rank_0_that_never_comes_is_not_waited_for_without_end() -> None:
    with pytest.raises(RunConflict, match=r"rank 0 has not .* 0\.1 s"):
        StoreShare(_store(), 1, name="s", poll=0.01, patience=0.1).once("open", lambda: None)


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
