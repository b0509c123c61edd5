"""How many images a forward pass takes on a GPU, by a short probe: doubled until an image gets no cheaper.

Batches hold images of one padded shape whatever their size, so that the choice moves a score by float rounding only.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dataset import pseudo_collate

from rtx.evaluation.sweep.batches import CorruptedView
from rtx.types import CLEAN

if TYPE_CHECKING:
    from rtx.evaluation.sweep.forward import Forward, Job

log = logging.getLogger(__name__)

_WORTH = 0.95
"""A batch of twice the size must take at most this part of the time an image."""
_MOST_BYTES = 64 * 2**20
"""Of the images of one batch: each loader process holds two batches in shared memory."""
_MOST_MEMORY = 0.4
"""Of a GPU's free memory that a batch may take, if twice the size is to be tried."""
_SECONDS, _PASSES, _IMAGES = 0.3, 3, 4


def probed_batch_size(job: Job, groups: Sequence[list[int]], forward: Forward) -> int:
    """The batch size for a job that leaves it open, measured on clean images; one line of log says why.

    Args:
        job: what to evaluate, its model ready to predict.
        groups: the images by padded shape; those of the largest group are measured.
        forward: its forward pass.

    Raises:
        DataError: an image cannot be prepared.
    """
    group = max(groups, key=len)
    view = CorruptedView(job.dataset)
    samples = [view[(CLEAN, index)][1] for index in group[:_IMAGES]]
    # Where annotations state wrong sizes, images of a group differ; a sweep parts them, see `Forward`.
    samples = [sample for sample in samples if _shape(sample) == _shape(samples[0])]
    image = samples[0].get("inputs")
    room = _MOST_BYTES // max(image.nbytes, 1) if isinstance(image, torch.Tensor) else 1

    def seconds(count: int) -> float | None:
        try:
            return _seconds(forward, samples, count)
        except Exception as error:  # models that take single images alone say so in ways of their own
            if count == 1:
                raise
            said = str(error).partition("\n")[0]
            log.warning("the model fails on %d images at once (%s: %s)", count, type(error).__name__, said)
            return math.inf

    size, why = doubled(seconds, min(len(group), max(room, 1)))
    log.info("batches of %d images: %s (--batch-size for others)", size, why)
    return size


def doubled(seconds: Callable[[int], float | None], most: int) -> tuple[int, str]:
    """The size, of 1, 2, 4 ... up to `most`, behind which an image gets no cheaper, and in words why.

    Args:
        seconds: what a batch of a size takes; None where memory does not hold it, or not twice of it.
        most: images that a batch can have.

    Example:
        >>> doubled(lambda count: 0.012 + 0.002 * count, 8)
        (8, '14.0, 8.0, 5.0, 3.5 ms an image with 1, 2, 4, 8; there are no larger ones')
        >>> doubled(lambda count: 0.010 * count, 8)
        (1, '10.0, 10.0 ms an image with 1, 2')
    """
    times: dict[int, float] = {}
    chosen, end = 1, "; there are no larger ones"
    for size in iter(lambda: 2 ** len(times), -1):
        if size > most:
            break
        found = seconds(size)
        if found is None:
            end = f"; more than {chosen} would fill the memory"
            break
        times[size] = found / size
        if size > 1 and times[size] > _WORTH * times[chosen]:
            end = ""
            break
        chosen = size
    if not times:
        return 1, "one is as much as memory holds"
    measured = ", ".join(f"{1000 * value:.1f}" for value in times.values())
    return chosen, f"{measured} ms an image with {', '.join(map(str, times))}{end}"


def _shape(sample: Any) -> Any:
    return getattr(sample.get("inputs"), "shape", None)


def _seconds(forward: Forward, samples: Sequence[Any], count: int) -> float | None:
    """The quickest of a few passes over `count` images; None where memory is too short for them, or for twice of it."""
    on_gpu = forward.device.type == "cuda"
    before = torch.cuda.memory_allocated(forward.device) if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(forward.device)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) <= _PASSES and (len(times) < 2 or time.perf_counter() - begun < _SECONDS):
        # Models write into the samples that they are given.
        batch = pseudo_collate([copy.deepcopy(samples[n % len(samples)]) for n in range(count)])
        started = time.perf_counter()
        if forward.attempt(batch) is None:
            torch.cuda.empty_cache()
            return None
        if on_gpu:
            torch.cuda.synchronize(forward.device)
        times.append(time.perf_counter() - started)
    if on_gpu and count > 1 and not _room_for_more(forward.device, before):
        return None
    return min(times[1:])  # the first one chooses kernels


def _room_for_more(device: torch.device, before: int) -> bool:
    """Whether the passes since the peak was reset took so little that a batch of this size is safe in other cells."""
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - before
    return torch.cuda.max_memory_allocated(device) - before <= _MOST_MEMORY * free
