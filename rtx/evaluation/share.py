"""How the ranks of one job share the cells of a sweep: whole cells, taken one by one, no collective in between.

Ranks talk through the key-value store that torch.distributed already runs. A collective would have to be entered by all
ranks within its time limit, and a cell can take longer than that; a store can be polled for as long as it takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from rtx.errors import BadValue
from rtx.types import Condition

_SWEEPS = 0


class Share:
    """A single process: every cell is its own, nobody to wait for."""

    rank = 0
    world_size = 1

    def claim(self, conditions: Iterable[Condition]) -> Iterator[Condition]:
        """The cells this process evaluates, taken lazily."""
        yield from conditions

    def wait(self, point: str) -> None:
        """Return when every rank has reached `point`."""


class StoreShare(Share):
    """Ranks of one torch.distributed job.

    Args:
        store: the job's key-value store.
        rank: this process.
        world_size: how many there are.
        name: distinguishes sweeps that use one store; the same on every rank.
        poll: seconds between looks.
    """

    def __init__(self, store: Any, rank: int, world_size: int, *, name: str, poll: float = 0.2) -> None:
        self.store = store
        self.rank = rank
        self.world_size = world_size
        self.name = name
        self.poll = poll

    def claim(self, conditions: Iterable[Condition]) -> Iterator[Condition]:
        """Take the next cell that no rank has taken, until none is left."""
        cells = list(conditions)
        while (index := self.store.add(f"{self.name}/next", 1) - 1) < len(cells):
            yield cells[index]

    def wait(self, point: str) -> None:
        """Return when every rank has reached `point`, however long that takes."""
        key = f"{self.name}/{point}"
        self.store.add(key, 1)
        while self.store.add(key, 0) < self.world_size:
            time.sleep(self.poll)


def default_share() -> Share:
    """The share of the running torch.distributed job, or of a single process where none is initialised."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return Share()
    # All ranks run the same sweeps in the same order, so a counter names them alike.
    global _SWEEPS
    _SWEEPS += 1
    store = dist.distributed_c10d._get_default_store()
    store.set_timeout(timedelta(days=7))
    return StoreShare(store, dist.get_rank(), dist.get_world_size(), name=f"rtx/sweep{_SWEEPS}")


def start(launcher: str, dist_cfg: Mapping[str, Any] | None = None) -> None:
    """Join the job that a launcher started; nothing to do for "none" or when that was done already.

    mmengine's own start needs a CUDA device even for the gloo backend, so a job without one is joined directly.

    Args:
        launcher: none, pytorch (torchrun), slurm or mpi.
        dist_cfg: the config's `env_cfg.dist_cfg`, for jobs with GPUs.

    Raises:
        BadValue: the launcher's variables are not set.
    """
    import torch
    import torch.distributed as dist

    if launcher == "none" or dist.is_initialized():
        return
    if torch.cuda.is_available():
        from mmengine.dist import init_dist

        init_dist(launcher, **(dist_cfg or {"backend": "nccl"}))
        return
    absent = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if launcher != "pytorch" or absent:
        what = f"{', '.join(absent)} not set" if launcher == "pytorch" else "there is no GPU"
        raise BadValue(f"--launcher {launcher}: {what}; start with torchrun and --launcher pytorch")
    dist.init_process_group("gloo")
