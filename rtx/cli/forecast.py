"""Plan and estimated duration of an evaluation, by the pace of finished cells or a short measured probe."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from rtx.errors import RtxError
from rtx.results.evaluation import sound_cells
from rtx.results.folder import CellFolder
from rtx.types import CLEAN, Condition

if TYPE_CHECKING:
    from rtx.evaluation.sweep.forward import Job

log = logging.getLogger(__name__)

PROBE_SECONDS = 20.0
"""Half of it is for loading, half for predicting: after that no further measurement is begun."""


def forecast(job: Job, *, overwrite: bool = False, probe: bool = True) -> str:
    """Cells to evaluate, cells that are there, and how long it may take.

    Args:
        job: the evaluation.
        overwrite: nothing that is there counts.
        probe: this process's model is what will compute, so that it may be measured.
    """
    folder = CellFolder(job.out, job.card, overwrite=overwrite)
    there = {} if overwrite else sound_cells(folder, job.conditions, aside=False)
    todo = [condition for condition in job.conditions if condition not in there]
    n_images = len(job.indices)
    text = f"{len(todo)} of {len(job.conditions)} cells to evaluate on {n_images} images, {len(there)} cached"
    if not todo:
        return text
    if there:
        pace = sum(cell.timing["seconds"] for cell in there.values()) / len(there)
        text += f"; about {_minutes(pace * len(todo))} in one process, by the pace of the cached cells"
    else:
        text += f"; {probed(job, todo) if probe else 'no pace is known before the first cell is there'}"
    return f"{text}:\n  " + " ".join(condition.key for condition in todo)


def probed(job: Job, todo: list[Condition]) -> str:
    """An estimate from one image under each corruption and two forward passes, in words."""
    try:
        loading, passing = _measure(job, todo)
    except RtxError as error:
        return f"no pace is known ({error})"
    from rtx.evaluation.sweep.machine import processors

    workers = job.workers
    beside = min(workers, max(1, processors()[0] - 1))
    # Workers load while the model computes; without any, one comes after the other.
    image = max(loading / beside, passing) if workers else loading + passing
    total = image * len(job.indices) * len(todo)
    parts = f"{1000 * loading:.0f} ms to load and corrupt, {1000 * passing:.0f} ms to predict"
    return f"about {_minutes(total)} in one process, by a probe of a few images ({parts} an image; scoring not counted)"


def _measure(job: Job, todo: list[Condition]) -> tuple[float, float]:
    """Seconds an image takes to load, on average over the cells, and to predict."""
    import torch
    from mmengine.dataset import pseudo_collate

    from rtx.evaluation.sweep.batches import CorruptedView
    from rtx.evaluation.sweep.forward import Forward

    view = CorruptedView(job.dataset)
    index = job.indices[len(job.indices) // 2]
    deadline = time.monotonic() + PROBE_SECONDS / 2
    loads: dict[str, float] = {}
    # Loading first: passes alone may take longer than there is time. Of each, one is measured in any case.
    for condition in sorted(todo, key=lambda c: abs(c.severity - 3)):
        if condition.corruption not in loads and (not loads or time.monotonic() < deadline):
            view[(condition, index)]  # compiles, reads overlays
            started = time.perf_counter()
            view[(condition, index)]
            loads[condition.corruption] = time.perf_counter() - started
    forward = Forward(job.model, amp=job.amp)
    _, sample = view[(CLEAN, index)]
    batch = [sample] * max(1, min(job.batch_size or 1, 8))
    times: list[float] = []
    deadline = time.monotonic() + PROBE_SECONDS / 2
    for _ in range(3):
        started = time.perf_counter()
        forward(pseudo_collate(batch), CLEAN)
        if forward.device.type == "cuda":  # a pass returns before it is computed
            torch.cuda.synchronize(forward.device)
        times.append((time.perf_counter() - started) / len(batch))
        if time.monotonic() > deadline:
            break
    known = [loads[c.corruption] for c in todo if c.corruption in loads]
    return sum(known) / len(known), min(times)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
