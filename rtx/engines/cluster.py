"""A Ray cluster: joined by its address or made on this machine, and how many workers it holds."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rtx.engines.engine import Engine
from rtx.engines.limits import memory as memory_here
from rtx.errors import EngineError, MissingDependency

_OBJECTS = 512 * 2**20
"""Bytes of shared memory of a cluster of this machine's own; results are small, and a model passes through it once."""
_ANSWER_SECONDS = 5.0


def find_ray() -> Any:
    """The module `ray`.

    Raises:
        MissingDependency: it cannot be imported.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingDependency(
            f"--run-on ray: Ray cannot be imported ({error}); pip install -c constraints.txt 'rtx-robustness[ray]', on "
            "every node"
        ) from error


@contextmanager
def connected(engine: Engine) -> Iterator[Any]:
    """Within, this process drives a cluster; the `ray` module. A connection that is there is used, and stays.

    Raises:
        MissingDependency: Ray is not installed.
        EngineError: the address does not answer, or the cluster runs another Ray or Python.
    """
    address = engine.address or os.environ.get("RAY_ADDRESS")
    if address:
        _send_token()
    ray = find_ray()
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    how: dict[str, Any] = dict(log_to_driver=False, logging_level="warning", configure_logging=False)
    if address:
        check_answers(address)
        how |= dict(address=address)
    else:
        cores = len(os.sched_getaffinity(0))
        # Ray sees the limits of a container, but not those of a group in which the system runs a job.
        free = max(memory_here()[1] - _OBJECTS, 2**20)
        how |= dict(address="local", num_cpus=cores, _memory=free, object_store_memory=_OBJECTS)
        how |= dict(include_dashboard=False)
    with _own_sigterm():
        try:
            ray.init(**how)
        except Exception as error:  # of several kinds, and RuntimeError for another version
            where = address or "a cluster of this machine"
            if "InvalidAuthToken" in f"{error} {error.__cause__}":
                raise EngineError(
                    f"--run-on ray: {where} wants another token than this process has; give both the same "
                    "~/.ray/auth_token or RAY_AUTH_TOKEN, and set RAY_AUTH_MODE=token here and on all nodes"
                ) from error
            raise EngineError(
                f"--run-on ray: no connection to {where} ({type(error).__name__}: {' '.join(str(error).split())}); "
                f"driver and nodes need the same Ray ({ray.__version__} here) and Python"
            ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _send_token() -> None:
    """Have Ray send the token that is here, which by itself it does only to a cluster that it finds on this machine.

    It reads the variable when it is imported.
    """
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "RAY_AUTH_MODE" not in os.environ and (given or (Path.home() / ".ray" / "auth_token").is_file()):
        os.environ["RAY_AUTH_MODE"] = "token"


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a SIGTERM handler of its own in place, which would hide how to go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_answers(address: str) -> None:
    """Knock before Ray does, which would wait for minutes.

    Raises:
        EngineError: HOST:PORT is malformed, or nobody answers there.
    """
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "//" in address:
        raise EngineError(f"--ray-address {address}: must be HOST:PORT of the head node (port 6379), or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:  # the last two: no port, no host name
        raise EngineError(
            f"--ray-address {address}: does not answer ({error}); start it there with `ray start --head`, or leave the "
            "address away to use this machine alone"
        ) from error


def check_limits(limits: Mapping[str, tuple[int, int]], memory: int) -> None:
    """See that the workers of each node fit the limits that its system sets them, of which Ray may know nothing.

    Args:
        limits: node -> (workers, bytes that they may hold together).
        memory: bytes that one worker needs.

    Raises:
        EngineError: they do not.
    """
    for node, (count, limit) in limits.items():
        if count * memory > limit:
            raise EngineError(
                f"{count} Ray workers on {node} need {count * memory / 2**30:.1f} GiB, and its control group allows "
                f"{limit / 2**30:.1f} GiB; give fewer --ray-workers, more --cpus-per-worker, or ask for "
                "more memory"
            )


def nodes_of(ray: Any) -> list[Mapping[str, Any]]:
    """The nodes that answer."""
    return [node for node in ray.nodes() if node["Alive"]]


def gpus_of(ray: Any, engine: Engine) -> float:
    """GPUs of one worker."""
    if engine.per_gpu is not None:
        return engine.per_gpu
    return 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0


def options_of(ray: Any, engine: Engine, memory: int) -> dict[str, Any]:
    """What one worker is placed by; it starts again as long as Ray finds room for it."""
    return {
        "num_cpus": engine.cpus_per_worker,
        "num_gpus": gpus_of(ray, engine),
        "memory": memory,
        "max_restarts": -1,
        "max_task_retries": 0,
    }


def slots(ray: Any, engine: Engine, memory: int) -> int:
    """How many workers to start.

    Raises:
        EngineError: the cluster holds fewer than were asked for, or none.
    """
    gpus = gpus_of(ray, engine)
    rooms = {
        node["NodeManagerAddress"] + "/" + node["NodeID"][:6]: room(node["Resources"], engine, gpus, memory)
        for node in nodes_of(ray)
    }
    total = sum(count for count, _ in rooms.values())
    if total < (engine.workers or 1):
        each = ", ".join(f"{name} {count} (for lack of {what})" for name, (count, what) in sorted(rooms.items()))
        raise EngineError(
            f"{engine.workers or 1} Ray workers do not fit: the cluster holds {total} of {engine.cpus_per_worker:g} "
            f"CPUs, {gpus:g} GPUs and {memory / 2**30:.1f} GiB memory each: {each}; give fewer --ray-workers, a "
            "smaller --per-gpu or --cpus-per-worker, or more nodes"
        )
    return engine.workers or total


def room(resources: Mapping[str, float], engine: Engine, gpus: float, memory: int) -> tuple[int, str]:
    """How many workers a node holds, and what it lacks for one more.

    Example:
        >>> room({"CPU": 16, "GPU": 2, "memory": 64 * 2**30}, Engine("ray"), 0.25, 2**30)
        (8, 'GPUs')
    """
    here = {"CPUs": int(resources.get("CPU", 0) / engine.cpus_per_worker + 1e-9)}
    if memory:
        here["memory"] = int(resources.get("memory", 0) // memory)
    if gpus:
        on_each = resources.get("GPU", 0)
        # A fraction never spans two GPUs.
        here["GPUs"] = int(on_each) * int(1 / gpus + 1e-9) if gpus <= 1 else int(on_each // gpus)
    what = min(here, key=lambda name: here[name])
    return here[what], what
