"""How the ranks of one torch.distributed job share the cells of a sweep: handed out one by one, no collective.

Ranks talk through the key-value store that torch.distributed already runs. A collective would have to be entered by all
ranks within its time limit, and a cell can take longer than that; a counter in a store has none. The store only
gives the order in which cells are tried: whose a cell is, the claims in the output folder say, so that processes of
several jobs can share one folder and the cell of a rank that died comes back. See `rtx.evaluation.sweep.claims`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rtx.errors import BadValue, RunConflict
from rtx.evaluation.sweep.claims import Holder, holders
from rtx.types import Condition

__all__ = ["Holder", "Share", "StoreShare", "default_device", "default_share", "holders", "start"]

log = logging.getLogger(__name__)

OPENING_SECONDS = 1800.0
_SWEEPS = 0


class Share:
    """A single process, or one of several that know nothing of each other: it tries every cell."""

    rank = 0
    world_size = 1

    def claim(self, conditions: Iterable[Condition]) -> Iterator[Condition]:
        """The cells this process tries to take, drawn one by one."""
        yield from conditions

    def once(self, name: str, action: Callable[[], None]) -> None:
        """Let rank 0 do something; the others return when it is done."""
        action()


class StoreShare(Share):
    """Ranks of one torch.distributed job.

    Args:
        store: the job's key-value store.
        rank: this process.
        world_size: how many there are.
        name: distinguishes sweeps that use one store; the same on every rank.
        poll: seconds between looks.
        patience: seconds to wait for rank 0 in `once`.
    """

    def __init__(
        self,
        store: Any,
        rank: int,
        world_size: int,
        *,
        name: str,
        poll: float = 0.2,
        patience: float = OPENING_SECONDS,
    ) -> None:
        self.store = store
        self.rank = rank
        self.world_size = world_size
        self.name = name
        self.poll = poll
        self.patience = patience

    def claim(self, conditions: Iterable[Condition]) -> Iterator[Condition]:
        """Draw the next cell that no rank has drawn, until none is left."""
        cells = list(conditions)
        for _ in range(len(cells)):
            try:
                index = self.store.add(f"{self.name}/next", 1) - 1
            except RuntimeError as error:  # the rank that runs the store is gone
                log.warning("no more cells from the job's store (%s); the output folder alone shares them now", error)
                return
            if index >= len(cells):
                return
            yield cells[index]

    def once(self, name: str, action: Callable[[], None]) -> None:
        """Let rank 0 do something; the others return when it is done.

        Raises:
            RunConflict: rank 0 failed, or did not come.
        """
        done, failed = f"{self.name}/{name}/done", f"{self.name}/{name}/failed"
        if self.rank == 0:
            try:
                action()
            except BaseException:
                self.store.add(failed, 1)
                raise
            self.store.add(done, 1)
            return
        started = time.monotonic()
        while True:
            try:
                if self.store.add(done, 0):
                    return
                if self.store.add(failed, 0):
                    raise RunConflict("rank 0 could not make the output folder ready, see its message")
            except RuntimeError as error:
                raise RunConflict(
                    f"rank 0 is gone before the output folder was ready ({error}); start again"
                ) from error
            if time.monotonic() - started > self.patience:
                raise RunConflict(
                    f"rank 0 has not made the output folder ready within {self.patience:g} s; it hangs or is gone: "
                    "start again"
                )
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
    return StoreShare(store, dist.get_rank(), dist.get_world_size(), name=f"rtx/sweep{_SWEEPS}")


def default_device(local_rank: int = 0, *, environ: Mapping[str, str] | None = None) -> str:
    """The device of this process: the CPU, or one of the GPUs that it sees, by its place among those of its node.

    Args:
        local_rank: what a launcher said its place is.
        environ: where Slurm says it, for the tasks of a plain `srun`; this process's environment when None.
    """
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    environ = os.environ if environ is None else environ
    place = local_rank if "LOCAL_RANK" in environ else local_rank or int(environ.get("SLURM_LOCALID", 0))
    # A task that was given one GPU of its own sees no other, whatever its place is.
    return f"cuda:{place % torch.cuda.device_count()}"


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
        raise BadValue(
            f"--launcher {launcher}: {what}; start with torchrun and --launcher pytorch, or leave --launcher away: "
            "processes that are started side by side share the output folder by themselves"
        )
    dist.init_process_group("gloo")
