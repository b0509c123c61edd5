"""The ranks of one torch.distributed job, and the device of each.

Ranks share the cells of a sweep as any other processes do, by claims in the output folder, see
`rtx.evaluation.sweep.claims`. Only to replace what lies there (`--overwrite`) must rank 0 come first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rtx.errors import BadValue, RunConflict


@dataclass(frozen=True)
class Share:
    """A single process, or one of a torch.distributed job.

    Attributes:
        rank: of this process.
    """

    rank: int = 0

    def first(self, action: Callable[[], None]) -> None:
        """Let rank 0 do something; the others return when it is done. All ranks must call it.

        Raises:
            RunConflict: rank 0 failed.
        """
        from mmengine.dist import barrier, broadcast_object_list

        barrier()  # nothing changes before all have decided that they want it
        fault: list[str | None] = ["stopped"]
        try:
            if self.rank == 0:
                action()
                fault = [None]
        except BaseException as error:
            fault = [str(error)]
            raise
        finally:
            broadcast_object_list(fault)
        if fault[0] is not None:
            raise RunConflict(f"rank 0 could not make the output folder ready: {fault[0]}")


def default_share() -> Share:
    """The share of the running torch.distributed job, or of a single process where none is initialised."""
    from mmengine.dist import get_rank

    return Share(get_rank())


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
    if launcher != "pytorch" and not torch.cuda.is_available():
        raise BadValue(
            f"--launcher {launcher}: there is no GPU; start with torchrun and --launcher pytorch, or leave --launcher "
            "away: processes that are started side by side share the output folder by themselves"
        )
    check_launcher(launcher)
    if torch.cuda.is_available():
        from mmengine.dist import init_dist

        init_dist(launcher, **(dist_cfg or {"backend": "nccl"}))
        return
    dist.init_process_group("gloo")


_LAUNCHERS = {
    "pytorch": ("torchrun", ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")),
    "slurm": ("srun", ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST")),
    "mpi": ("mpirun", ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")),
}


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
