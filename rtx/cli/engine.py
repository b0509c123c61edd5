"""Arguments of the engine: where cells and runs are worked on."""

from __future__ import annotations

import argparse

from rtx.engines import ENGINES, Engine
from rtx.errors import BadValue


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--run-on` and the size of Ray's workers; `--workers` are the loader processes of each of them."""
    group = parser.add_argument_group("engine")
    group.add_argument("--run-on", choices=ENGINES, default="serial", help="ray: in the workers of a Ray cluster")
    group.add_argument("--ray-workers", type=int, metavar="N", help="how many; default: as many as the cluster holds")
    group.add_argument(
        "--per-gpu", type=float, metavar="F", help="GPUs of a worker: 0.25 puts four on each, 0 uses CPUs; default: 1"
    )
    group.add_argument("--cpus-per-worker", type=float, metavar="N", help="CPU cores of a worker; default: 1")
    group.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="a running cluster (auto: this machine's); default: $RAY_ADDRESS, or none",
    )


def add_track_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--track`."""
    parser.add_argument(
        "--track",
        nargs="+",
        choices=("tensorboard", "mlflow", "wandb"),
        default=[],
        metavar="NAME",
        help="report scores to tensorboard, mlflow or wandb too; one that fails never ends the run",
    )


def engine_of(args: argparse.Namespace) -> Engine:
    """The engine that the arguments ask for.

    Raises:
        BadValue: flags of Ray without it, numbers out of range, or a launcher or a device beside it.
    """
    given = {
        "workers": args.ray_workers,
        "per_gpu": args.per_gpu,
        "cpus_per_worker": args.cpus_per_worker,
        "address": args.ray_address,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if args.run_on == "serial" and given:
        raise BadValue("--ray-workers, --per-gpu, --cpus-per-worker and --ray-address are Ray's: add --run-on ray")
    if args.run_on == "ray" and getattr(args, "launcher", "none") != "none":
        raise BadValue(f"--run-on ray --launcher {args.launcher}: Ray starts its own workers; leave one of them away")
    if args.run_on == "ray" and getattr(args, "device", None):
        raise BadValue(
            f"--run-on ray --device {args.device}: workers compute on GPUs where the cluster has some; leave --device "
            "away, or give --per-gpu 0 for CPUs"
        )
    return Engine(args.run_on, **given)
