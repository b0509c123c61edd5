"""The ranks of one torch.distributed job, and the device of each.

Together they are one driver of a sweep: rank 0 opens the folder and lists what is missing, and rank r of n evaluates
every n-th of that list, from r on.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rtx.errors import BadValue, RunConflict
from rtx.types import Condition

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """A single process, or one of a torch.distributed job.

    Attributes:
        rank: of this process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def first(self, action: Callable[[], T]) -> T:
        """Let rank 0 do something, and return on all ranks what came out of it. All ranks must call it.

        Raises:
            RunConflict: rank 0 failed.
        """
        from mmengine.dist import barrier, broadcast_object_list

        barrier()  # nothing changes before all have decided that they want it
        sent: list[Any] = ["stopped", None]
        try:
            if self.rank == 0:
                sent = [None, action()]
        except BaseException as error:
            sent = [str(error), None]
            raise
        finally:
            broadcast_object_list(sent)
        fault, found = sent
        if fault is not None:
            raise RunConflict(f"rank 0 could not make the output folder ready: {fault}")
        return found  # type: ignore[no-any-return]


def part(conditions: Sequence[Condition], shard: tuple[int, int] | None) -> tuple[Condition, ...]:
    """The cells of shard (i, n): every n-th, from the i-th on; all where it is None.

    Raises:
        BadValue: there is no such shard.

    Example:
        >>> [c.severity for c in part([Condition("fog", s) for s in (1, 2, 3, 4, 5)], (2, 3))]
        [2, 5]
    """
    index, count = shard or (1, 1)
    if not 1 <= index <= count:
        raise BadValue(f"--shard {index}/{count}: must be 1/{max(count, 1)} to {max(count, 1)}/{max(count, 1)}")
    return tuple(conditions[index - 1 :: count])


def default_share() -> Share:
    """The share of the running torch.distributed job, or of a single process where none is initialised."""
    from mmengine.dist import get_rank, get_world_size

    return Share(get_rank(), get_world_size())


@contextmanager
def buffers_of_rank_0(model: nn.Module) -> Iterator[None]:
    """Give the model of every rank the buffers of rank 0 for the time being; all ranks must call it.

    Training keeps the parameters of all ranks equal, not the statistics of plain batch norm: each rank has those of its
    own images. Rank 0's are what the checkpoint holds.
    """
    import torch
    from mmengine.dist import broadcast, get_world_size

    buffers = list(model.buffers()) if get_world_size() > 1 else []
    own = [buffer.data for buffer in buffers]
    try:
        for buffer in buffers:
            buffer.data = buffer.detach().clone(memory_format=torch.contiguous_format)
            broadcast(buffer.data, 0)
        yield
    finally:
        for buffer, data in zip(buffers, own, strict=True):
            buffer.data = data


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
        BadValue: the launcher's variables are not set, or the port where the processes meet is taken.
    """
    import torch
    import torch.distributed as dist

    if launcher == "none" or dist.is_initialized():
        return
    if launcher != "pytorch" and not torch.cuda.is_available():
        raise BadValue(
            f"--launcher {launcher}: there is no GPU; start with torchrun and --launcher pytorch, or leave --launcher "
            "away and give each process its own --shard I/N"
        )
    check_launcher(launcher)
    end_with_launcher(launcher)
    try:
        if torch.cuda.is_available():
            from mmengine.dist import init_dist

            init_dist(launcher, **(dist_cfg or {"backend": "nccl"}))
        else:
            dist.init_process_group("gloo")
    except RuntimeError as error:
        if not any(word in str(error) for word in ("EADDRINUSE", "address already in use", "Address already in use")):
            raise
        port = os.environ.get("MASTER_PORT", "29500")
        raise BadValue(
            f"port {port} is taken on this node, by another job perhaps; set MASTER_PORT to a free one, such as "
            f"{free_port()}, or start with torchrun --standalone, which finds one"
        ) from error


def free_port() -> int:
    """A port of this node that nothing listens on now."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


_LAUNCHERS = {
    "pytorch": ("torchrun", ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")),
    "slurm": ("srun", ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST")),
    "mpi": ("mpirun", ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")),
}


def end_with_launcher(launcher: str) -> None:
    """Have this process told to end (SIGTERM) when torchrun is killed, which does not take its ranks along.

    A rank that is left would go on writing into a folder where the next command is at work too.
    """
    if launcher == "pytorch":
        # As PyTorch's own `spawn` does; nothing happens elsewhere than on Linux.
        from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]

        _prctl_pr_set_pdeathsig(signal.SIGTERM)


def check_launcher(launcher: str) -> None:
    """Check that this process was started by the launcher that it is said to be started by.

    Raises:
        BadValue: variables that the launcher sets are missing.
    """
    program, names = _LAUNCHERS.get(launcher, ("", ()))
    absent = [name for name in names if name not in os.environ]
    if absent:
        raise BadValue(
            f"--launcher {launcher}: {', '.join(absent)} not set; start with {program}, or leave --launcher away for a "
            "single process"
        )
