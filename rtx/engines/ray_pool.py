"""Ray's actors as a pool of workers. The only module that imports Ray.

Placement, health and restarts of workers are Ray's. What a dead worker had in hand is given to the next free one, since
Ray would wait for room for that very worker, which a lost node does not give back.
"""

from __future__ import annotations

import logging
import os
import pickle
import platform
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import rtx
from rtx.engines.cluster import check_limits, connected, find_ray, nodes_of, options_of, slots
from rtx.engines.engine import Engine
from rtx.engines.limits import memory as memory_here
from rtx.engines.pool import Begun, OnUnit, Outcome, Retried, Setup, Take, Task, attempt
from rtx.errors import BadValue, EngineError, RtxError

log = logging.getLogger(__name__)

_DEATHS = 3
"""Deaths of one worker in a row, without a finished unit, after which it is given up while others are at work."""
_FIRST_ASK, _LAST_ASK = 0.5, 30.0
"""Seconds until a worker that is not there is asked again: doubled each time, from the first to the last."""


class Worker:
    """What runs in an actor."""

    work: Any = None

    def ready(self, blob: bytes, device: str) -> dict[str, Any]:
        """Set up, and say who this is; an error is returned, since raised it would name no node.

        Args:
            blob: the pickled setup.
            device: what it is told.
        """
        here: dict[str, Any] = {"name": f"{platform.node()}/{os.getpid()}", "rtx": rtx.__version__}
        here["node"] = f"{platform.node()} (node {find_ray().get_runtime_context().get_node_id()[:6]})"
        here["limit"] = memory_here()[0]
        try:
            # The driver's own setup, sent by Ray, which runs the driver's code here in any case.
            self.work, here["facts"] = pickle.loads(blob)(device)
        except Exception as error:
            here["error"] = portable(error)
        return here

    def do(self, payload: Any) -> dict[str, Any]:
        """One unit; its result is pickled here, since Ray could not tell one that cannot be from a dead worker."""
        found = attempt(lambda given: packed(self.work(given)), payload)
        return {**found, "error": portable(found["error"])} if "error" in found else found


def packed(result: Any) -> bytes:
    """A result as bytes that the driver can read.

    Raises:
        BadValue: it cannot be pickled, or not read again.
    """
    try:
        blob = pickle.dumps(result)
        pickle.loads(blob)
    except Exception as error:
        raise BadValue(
            f"the result, a {type(result).__name__}, cannot be sent to the driver ({type(error).__name__}: {error}); "
            "return plain values: no open files, locks or lambdas"
        ) from error
    return blob


def portable(error: BaseException) -> BaseException:
    """The error, or one of the same words where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception class may do anything when it is copied
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextmanager
def ray_pool(engine: Engine, setup: Setup, *, memory: int = 0) -> Iterator[RayPool]:
    """Workers on a cluster, all of them ready.

    Raises:
        MissingDependency: Ray is not installed.
        EngineError: the address does not answer, the cluster holds fewer workers, or some cannot start.
        BadValue: the setup cannot be sent to a node.
        RtxError: what the setup raised on a node, which the message names.
    """
    with connected(engine) as ray:
        blob = _packed(ray, setup)
        wanted = slots(ray, engine, memory)
        pool = RayPool(ray, engine, blob, wanted, memory)
        try:
            pool.start()
            yield pool
        finally:
            pool.end()


def _packed(ray: Any, setup: Setup) -> bytes:
    try:
        # Packed here, so that each worker gets arrays of its own: Ray's shared ones cannot be written to.
        return bytes(ray.cloudpickle.dumps(setup))
    except Exception as error:
        raise BadValue(
            f"--run-on ray: the model or its data cannot be sent to a worker ({type(error).__name__}: {error}); "
            "keep open files, locks and lambdas of other libraries out of it, or use --run-on serial"
        ) from error


class RayPool:
    """See `rtx.engines.pool.Pool`."""

    def __init__(self, ray: Any, engine: Engine, blob: bytes, size: int, memory: int) -> None:
        self.ray, self.engine, self.size = ray, engine, size
        self.blob, self.memory = ray.put(blob), memory
        self.options = options_of(ray, engine, memory)
        self.device = "cuda" if self.options["num_gpus"] else "cpu"
        self.actors: list[Any] = []
        self.names: dict[Any, str] = {}
        self.facts: dict[str, Any] = {}
        self.limits: dict[str, tuple[int, int]] = {}
        self.idle: deque[Any] = deque()
        self.starting: dict[Any, Any] = {}
        self.deaths: Counter[Any] = Counter()
        self.away: dict[Any, tuple[float, float]] = {}  # since when, and seconds until it is asked again
        self.later: list[tuple[float, Any]] = []  # when which one is asked

    def start(self) -> None:
        """Make all workers and wait until they are ready."""
        actor = self.ray.remote(Worker)
        self.actors = [actor.options(**self.options).remote() for _ in range(self.size)]
        for one in self.actors:
            self._ask(one)
        limit = time.monotonic() + self.engine.start_seconds
        while self.starting or self.later:
            done = self._wait((), limit - time.monotonic())
            if not done:
                raise EngineError(
                    f"{len(self.starting) + len(self.later)} of {self.size} Ray workers were not there after "
                    f"{self.engine.start_seconds:.0f} s: other jobs hold the cluster's CPUs or GPUs, or its nodes are "
                    "still starting; wait (`ray status` shows them), or give fewer --ray-workers"
                )
            self._welcome(done[0], first=True)
        check_limits(self.limits, self.memory)

    def end(self) -> None:
        """Let the workers go."""
        for one in self.actors:
            self.ray.kill(one)
        self.actors = []

    def _welcome(self, ref: Any, *, first: bool = False) -> None:
        """Take a worker that is set up, or has died while it was.

        Raises:
            EngineError, RtxError: see `ray_pool`; where a worker comes back later, it is given up instead.
        """
        actor = self.starting.pop(ref)
        try:
            here = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            if type(error) is self.ray.exceptions.ActorUnavailableError:
                self._ask_later(actor, _words(error))
                return
            if first:
                raise EngineError(
                    f"a Ray worker cannot start: {_words(error)}; each node needs rtx and what it was installed with, "
                    "and memory for its workers"
                ) from error
            self._died(actor, _words(error))
            return
        if "error" in here or here["rtx"] != rtx.__version__:
            fault = here.get("error") or EngineError(f"rtx {here['rtx']} there, {rtx.__version__} here; install one")
            if not first:
                self._give_up(actor, f"worker {here['name']} does not come back: {fault}")
                return
            kind = type(fault) if isinstance(fault, RtxError) else EngineError
            raise kind(f"worker {here['name']}: {fault}") from fault
        # Compared by the driver at the start only; Ray may start a worker again on a node of another kind.
        if not first and here["facts"] not in self.facts.values():
            self._give_up(actor, f"worker {here['name']} differs from those before ({here['facts']}) and is not used")
            return
        self.away.pop(actor, None)
        self.names[actor], self.facts[here["name"]] = here["name"], here["facts"]
        self.limits[here["node"]] = self.limits.get(here["node"], (0, 0))[0] + 1, here["limit"]
        self.idle.append(actor)

    def _died(self, actor: Any, reason: str, *, last: bool = False) -> None:
        """Wait for Ray's next start of a worker, unless it dies again and again.

        Args:
            actor: the worker.
            reason: of its death.
            last: it was doing a unit, and no other worker is there; how often it can die so is bounded by the tries.
        """
        self.deaths[actor] += 1
        if self.deaths[actor] >= _DEATHS and not last:
            self._give_up(actor, f"a worker died {_DEATHS} times in a row ({reason}) and is given up")
            return
        self._ask(actor)

    def _ask(self, actor: Any) -> None:
        """Have a worker set up, once it is there."""
        self.starting[actor.ready.remote(self.blob, self.device)] = actor

    def _ask_later(self, actor: Any, reason: str) -> None:
        """Ray starts the worker again where and when a node has room, which may be never."""
        now = time.monotonic()
        since, delay = self.away.get(actor, (now, _FIRST_ASK))
        if now - since >= self.engine.start_seconds:
            self._give_up(actor, f"a worker has not come back for {now - since:.0f} s ({reason}) and is given up")
            return
        self.away[actor] = since, min(2 * delay, _LAST_ASK)
        self.later.append((now + delay, actor))

    def _wait(self, busy: Iterable[Any], seconds: float | None) -> list[Any]:
        """References that have ended; none where that takes longer. Workers are asked again when it is time."""
        limit = None if seconds is None else time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for _, actor in [entry for entry in self.later if entry[0] <= now]:
                self._ask(actor)
            self.later = [entry for entry in self.later if entry[0] > now]
            ends = [due for due, _ in self.later] + ([] if limit is None else [limit])
            left = max(0.0, min(ends) - now) if ends else None
            done: list[Any] = []
            if references := [*busy, *self.starting]:
                done, _ = self.ray.wait(references, timeout=left)
            else:
                time.sleep(left or 0.0)
            if done or (limit is not None and time.monotonic() >= limit):
                return done

    def _give_up(self, actor: Any, why: str) -> None:
        """Do without a worker, and give back what Ray holds for it."""
        log.warning("%s", why)
        self.actors.remove(actor)
        self.ray.kill(actor)

    def outcomes(self, take: Take, tell: OnUnit) -> Iterator[Outcome]:
        """Hand out units, and yield how they end."""
        again: deque[Task] = deque()
        tries: Counter[str] = Counter()
        busy: dict[Any, tuple[Any, Task]] = {}
        reason, alone = "", 0.0
        while True:
            while self.idle and (task := again.popleft() if again else take()) is not None:
                actor = self.idle.popleft()
                tries[task[0]] += 1
                busy[actor.do.remote(task[1])] = actor, task
                tell(Begun(task[0], self.names[actor]))
            if not busy and (not again and self.idle):
                return
            # A worker that no node has room for may wait for ever; while others are at work that costs nothing.
            alone = 0.0 if busy else alone or time.monotonic()
            left = None if busy else alone + self.engine.start_seconds - time.monotonic()
            if not busy and not self.starting and not self.later:
                raise self._nowhere(reason)
            if not (done := self._wait(busy, left)):
                raise self._nowhere(reason)
            for ref in done:
                if ref in self.starting:
                    self._welcome(ref)
                    continue
                actor, task = busy.pop(ref)
                try:
                    found = self.ray.get(ref)
                except self.ray.exceptions.RayError as error:
                    reason, name = _words(error), self.names[actor]
                    self._died(actor, reason, last=not (busy or self.idle))
                    if tries[task[0]] < self.engine.tries:
                        log.warning("%s: worker %s died (%s); tried again elsewhere", task[0], name, reason)
                        tell(Retried(task[0], name, reason))
                        again.append(task)
                    else:
                        fault = EngineError(f"{task[0]}: its worker died {tries[task[0]]} times, the last: {reason}")
                        yield Outcome(task[0], error=fault, log=str(error), worker=name)
                    continue
                self.deaths[actor] = 0
                self.idle.append(actor)
                if "result" in found:
                    found["result"] = pickle.loads(found["result"])
                yield Outcome(task[0], worker=self.names[actor], **found)

    def _nowhere(self, reason: str) -> EngineError:
        """No worker is left, and none comes back."""
        nodes = ", ".join(sorted(str(node["NodeManagerAddress"]) for node in nodes_of(self.ray)))
        needs = f"{self.options['num_cpus']:g} CPUs, {self.options['num_gpus']:g} GPUs"
        return EngineError(
            f"no Ray worker is left, and none has come back within {self.engine.start_seconds:.0f} s: each needs a "
            f"node with {needs} and {self.memory / 2**30:.1f} GiB memory free, and the nodes that answer are "
            f"{nodes or 'none'} (the last worker died: {reason or 'see the warnings above'}); start the lost node "
            "again (`ray status` shows them) and give the same command, which goes on, or another --ray-address"
        )


def _words(error: BaseException) -> str:
    """Ray's reason on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)}"[:300]
