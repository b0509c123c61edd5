"""Which engine, and how large its workers are: what a user says on the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtx.errors import BadValue, unknown_name

ENGINES = ("serial", "ray")


@dataclass(frozen=True)
class Engine:
    """Where work runs.

    Attributes:
        name: "serial", in this process; "ray", in the workers of a Ray cluster.
        workers: how many workers, None for as many as the cluster holds.
        per_gpu: GPUs of a worker: 0.25 puts four on one GPU, 0 keeps them on CPUs; None for 1 where there are any.
        cpus_per_worker: CPU cores of a worker; the threads of its numerical libraries are as many.
        address: HOST:PORT of a running cluster, or "auto" for the one of this machine; None for the variable
            RAY_ADDRESS, and without it for a cluster of this machine's own, which ends with the command.
        tries: how often a unit is begun before it counts as failed, because its worker or node died.
        start_seconds: how long to wait for all workers to be there.
    """

    name: str = "serial"
    workers: int | None = None
    per_gpu: float | None = None
    cpus_per_worker: float = 1
    address: str | None = None
    tries: int = 3
    start_seconds: float = 600.0

    def __post_init__(self) -> None:
        """Reject numbers that no cluster could serve."""
        if self.name not in ENGINES:
            raise unknown_name("engine", self.name, place="rtx.engines.ENGINES", choices=ENGINES)
        if self.workers is not None and self.workers < 1:
            raise BadValue(f"--ray-workers {self.workers}: must be 1 or more")
        if not (math.isfinite(self.cpus_per_worker) and self.cpus_per_worker > 0):
            raise BadValue(f"--cpus-per-worker {self.cpus_per_worker}: must be more than 0")
        gpus = self.per_gpu
        if gpus is not None and not (0 <= gpus <= 1 or (math.isfinite(gpus) and gpus > 1 and gpus == int(gpus))):
            raise BadValue(f"--per-gpu {gpus:g}: a fraction of a GPU (0.25: four workers on each), or a whole number")

    @classmethod
    def of(cls, engine: Engine | str) -> Engine:
        """An engine by its name, or as it is."""
        return cls(engine) if isinstance(engine, str) else engine

    @property
    def is_ray(self) -> bool:
        """Whether it is Ray."""
        return self.name == "ray"
