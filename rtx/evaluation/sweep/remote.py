"""The cells of a sweep in the workers of an engine: each holds the model, is handed cells, and sends back scored ones.

The driver makes the data set, the scorer and the batches and sends them along, so that nothing is chosen twice; it
alone writes files.
"""

from __future__ import annotations

import copy
import os
import resource
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rtx.engines import Engine, Pool, opened
from rtx.engines.pool import Begun, Retried, Work
from rtx.errors import BadValue, DataError, RunConflict
from rtx.evaluation.card import computing_card
from rtx.evaluation.sweep.batches import KeptLoader, image_path
from rtx.evaluation.sweep.events import CellStarted, OnEvent
from rtx.evaluation.sweep.forward import Job, evaluate, loader_died, plan_batches
from rtx.evaluation.sweep.keep import keep_decoded
from rtx.evaluation.sweep.scoring import ScoredCell
from rtx.evaluation.sweep.share import Share
from rtx.evaluation.sweep.sweep import Passes, warn_of_restart
from rtx.types import Condition


@dataclass(frozen=True)
class CellSetup:
    """What a worker is set up with: the job, its model on the CPU, and its batches.

    Attributes:
        job: its card is the driver's; what computes is the worker's to say.
        scope: mmengine's default scope, whose registries the pipeline's steps come from.
    """

    job: Job
    batches: list[list[int]]
    scope: str

    def __call__(self, device: str) -> tuple[Work, dict[str, Any]]:
        """Put the model on its device, and see that the images are there.

        Raises:
            DataError: this node does not see an image.
        """
        from mmengine.registry import init_default_scope

        init_default_scope(self.scope)
        for index in self.job.indices:
            path = image_path(self.job.dataset, index)
            if not os.path.exists(path):
                raise DataError(
                    f"image {path!r} is not there; each node must see the data under the same path (a shared "
                    "folder, or a mount of the container)"
                )
        job = replace(self.job, model=self.job.model.to(device))
        computing = computing_card(job.model, amp=job.amp, channels_last=job.channels_last)
        job = replace(job, card={**job.card, **computing}, kept=KeptLoader())
        keep_decoded(job)  # for all cells of this worker, and gone with it
        job = replace(job, cache=0)
        return lambda task: _score(job, self.batches, *task), computing


def _score(job: Job, batches: list[list[int]], condition: Condition, key: str) -> ScoredCell:
    """One cell; a loader process that the system killed starts again, as in a sweep of one process.

    Raises:
        DataError: it was killed too often.
    """
    restarts = 0
    while True:
        try:
            # To its end, so that the loader processes stay for the next cell.
            (scored,) = evaluate(job, [condition], batches, key, lambda event: None)
            return scored
        except RuntimeError as error:
            if not loader_died(error):
                raise
            restarts += 1
            warn_of_restart(restarts, condition, error)


@contextmanager
def cells_on(engine: Engine, job: Job, share: Share) -> Iterator[tuple[Job, Passes]]:
    """The job with the workers' card, and what scores its cells.

    Raises:
        BadValue: Ray below torch.distributed.
        RunConflict: workers differ in device or versions, so that their numbers must not share a folder.
        EngineError, RtxError: see `rtx.engines.opened`.
    """
    if not engine.is_ray:
        yield job, evaluate
        return
    if share.size > 1:
        raise BadValue("--run-on ray starts its own workers; leave --launcher away")
    from mmengine.registry import DefaultScope

    here = DefaultScope.get_current_instance()
    model = job.model if next(job.model.parameters()).device.type == "cpu" else copy.deepcopy(job.model).cpu()
    scope = "mmdet" if here is None else here.scope_name
    setup = CellSetup(replace(job, model=model, unchanged=None), plan_batches(job), scope)
    # What this process holds, model and test set included, is what a worker holds.
    with opened(engine, setup, memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) as pool:
        yield replace(job, card={**job.card, **one_card(pool.facts)}), _passes(pool)


def one_card(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The fields about what computes, which all workers must share.

    Raises:
        RunConflict: two of them differ.
    """
    (first, card), *others = facts.items()
    for name, other in others:
        for key in card:
            if card[key] != other[key]:
                raise RunConflict(
                    f"workers {first} and {name} differ in {key}: {card[key]} and {other[key]}; numbers of both in one "
                    "table would not be comparable: use nodes of one kind (a Ray cluster of them, or `--gres` of one)"
                )
    return card


def _passes(pool: Pool) -> Passes:
    def passes(
        job: Job, conditions: Iterable[Condition], batches: list[list[int]], key: str, tell: OnEvent
    ) -> Generator[ScoredCell, None, None]:
        todo = iter(conditions)

        def take() -> tuple[str, Any] | None:
            condition = next(todo, None)
            return None if condition is None else (condition.key, (condition, key))

        def told(event: Begun | Retried) -> None:
            if isinstance(event, Retried):
                tell(CellStarted(Condition.from_key(event.name)))

        for outcome in pool.outcomes(take, told):
            if outcome.error is not None:
                raise outcome.error
            yield outcome.result

    return passes
