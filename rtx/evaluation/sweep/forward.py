"""The forward passes of a sweep: batches in, scored cells out, and what to do when memory runs out."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rtx.errors import DeviceError
from rtx.evaluation.norm_adaptation import NormAdaptation
from rtx.evaluation.sweep.adapt import adapting
from rtx.evaluation.sweep.autocast import prepare_cpu_autocast
from rtx.evaluation.sweep.batch_size import probed_batch_size
from rtx.evaluation.sweep.batches import CorruptedView, KeptLoader, LoaderDied, cut, device_of, shape_groups, stream
from rtx.evaluation.sweep.events import OnEvent, Progress
from rtx.evaluation.sweep.keep import decoded_kept
from rtx.evaluation.sweep.scoring import ScoredCell, score
from rtx.evaluation.sweep.shapes import padded
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 0.2
_PACE_SECONDS = 5.0
_OUT_OF_MEMORY: tuple[type[BaseException], ...] = (torch.cuda.OutOfMemoryError,)


Perturb = Callable[[Any, Any, Condition], tuple[Any, Mapping[str, int]]]
"""(model, batch, condition) -> the batch with its images perturbed, and remarks, each with the number of images."""


@dataclass(frozen=True)
class Job:
    """Everything a sweep needs.

    Attributes:
        model: a model with mmengine's `test_step`, on its device, weights loaded.
        dataset: the built test set with `Corrupt` in its pipeline.
        scorer: the metric back end, see `rtx.evaluation.scorers.base`.
        card: the protocol card.
        out: the output folder.
        indices: which images are evaluated.
        batch_size: images a forward pass; batches hold one padded shape. None for what a probe finds.
        workers: loader processes.
        amp: autocast the forward pass (float16 on CUDA, bfloat16 on the CPU); named in the card as precision.
        channels_last: the model's weights in that memory format; named in the card as precision too.
        keep_predictions: write the predictions of each cell too, in `predictions/`, so that another metric needs no
            inference.
        conditions: the cells that are wanted, clean first.
        cache: gigabytes for decoded images; None for all of them where there is memory, 0 for none.
        perturb: what an attack does to a batch in front of the model; None where the pipeline gives the pixels.
        kept: where one loader serves several calls of `evaluate`; None for a loader of each call's own.
        adapt: how batch-norm statistics are estimated on the images of each cell; None for those of training.
        unchanged: called with the key of a cell before it is written, see `rtx.evaluation.inputs`; None to trust.
    """

    model: Any
    dataset: Any
    scorer: Any
    card: dict[str, Any]
    out: Path
    indices: Sequence[int]
    batch_size: int | None = 1
    workers: int = 2
    amp: bool = False
    keep_predictions: bool = False
    channels_last: bool = False
    conditions: tuple[Condition, ...] = ()
    cache: float | None = None
    kept: KeptLoader | None = None
    perturb: Perturb | None = None
    adapt: NormAdaptation | None = None
    unchanged: Callable[[str], None] | None = None


def padding_divisor(model: nn.Module) -> int:
    """Multiples of what a model pads the sides of its images to, so that shapes that differ less can share a batch.

    Only where it pads every batch by itself to the largest image; mmsegmentation's models want equal shapes.
    """
    preprocessor = getattr(model, "data_preprocessor", None)
    if preprocessor is None or hasattr(preprocessor, "test_cfg"):
        return 1
    return int(getattr(preprocessor, "pad_size_divisor", None) or 1)


def plan_batches(job: Job) -> list[list[int]]:
    """The batches of every cell; single images where their size is not known yet.

    Raises:
        BadValue: the batch size is out of range.
        DataError: an image cannot be opened.
    """
    size = 1 if job.batch_size is None else job.batch_size
    return cut(shape_groups(job.dataset, job.indices, padding_divisor(job.model)), size)


def choose_batch_size(job: Job) -> int:
    """What a short probe finds, see `rtx.evaluation.sweep.batch_size`.

    Raises:
        DataError: an image cannot be prepared.
    """
    groups = shape_groups(job.dataset, job.indices, padding_divisor(job.model))
    with ready(job):
        return probed_batch_size(job, groups, Forward(job.model, amp=job.amp, divisor=padding_divisor(job.model)))


def evaluate(
    job: Job, conditions: Iterable[Condition], batches: list[list[int]], key: str, tell: OnEvent
) -> Generator[ScoredCell, None, None]:
    """Put every image of every condition through the model.

    Args:
        job: what to evaluate.
        conditions: the cells, drawn one by one when their first batch is loaded.
        batches: see `plan_batches`.
        key: key of the protocol.
        tell: gets `Progress`.

    Yields:
        Each cell once its last image is through and it is scored.

    Raises:
        DataError: an image cannot be prepared.
        DeviceError: the device's memory does not hold a single image.
        RuntimeError: a loader process was killed, see `loader_died`.
    """
    forward = Forward(job.model, amp=job.amp, divisor=padding_divisor(job.model), perturb=job.perturb)
    n_images = len(job.indices)
    pace = _Pace()
    job.scorer.keep = job.keep_predictions
    job.scorer.reset()
    images, started = 0, time.perf_counter()
    loaded = stream(
        CorruptedView(job.dataset), conditions, batches, workers=job.workers, kept=job.kept, pinned=forward.on_gpu
    )
    with ready(job), decoded_kept(job), closing(loaded), adapting(job, forward, plan_batches) as adapt:
        for condition, last, batch in loaded:
            if images == 0:
                adapt(condition)
            samples = forward(batch, condition)
            job.scorer.process(samples)
            images += len(samples)
            pace.add(len(samples))
            if last or pace.due():
                tell(Progress(condition, images, n_images, pace.images_per_second()))
            if not last:
                continue
            timing = timing_of(images, time.perf_counter() - started, job.batch_size, job.workers)
            if forward.limit is not None:
                timing["batch_size_after_out_of_memory"] = forward.limit
            flags = [f"{remark} for {count} of {images} images" for remark, count in forward.remarks.items() if count]
            yield score(
                job.scorer, condition, images, job.card, key=key, keep=job.keep_predictions, timing=timing, flags=flags
            )
            job.scorer.reset()
            forward.limit, forward.remarks = None, Counter()
            images, started = 0, time.perf_counter()


def timing_of(images: int, seconds: float, batch_size: int | None, workers: int) -> dict[str, Any]:
    """Duration and speed of a cell's forward passes, as its file stores them."""
    return {
        "seconds": seconds,
        "images_per_second": images / seconds,
        "batch_size": batch_size or 1,
        "workers": workers,
    }


def loader_died(error: RuntimeError) -> bool:
    """Whether the system has killed a loader process: PyTorch raises that at any place in the main thread."""
    # Where memory is pinned, a thread receives the images, and ends with the process that it listens to.
    return isinstance(error, LoaderDied) or any(words in str(error) for words in ("DataLoader worker", "Pin memory"))


class _Pace:
    """Images a second over the last few seconds."""

    def __init__(self) -> None:
        self.marks: deque[tuple[float, int]] = deque([(time.perf_counter(), 0)])
        self.told = 0.0

    def add(self, count: int) -> None:
        now = time.perf_counter()
        self.marks.append((now, self.marks[-1][1] + count))
        while len(self.marks) > 2 and now - self.marks[1][0] > _PACE_SECONDS:
            self.marks.popleft()

    def due(self) -> bool:
        """Whether it is time for the next progress event."""
        now = time.perf_counter()
        if now - self.told < _PROGRESS_SECONDS:
            return False
        self.told = now
        return True

    def images_per_second(self) -> float:
        (first, before), (last, after) = self.marks[0], self.marks[-1]
        return (after - before) / max(last - first, 1e-9)


@contextmanager
def ready(job: Job) -> Iterator[None]:
    """The model in evaluation mode and in the memory format of the job; afterwards as it was."""
    model = job.model
    was_training = model.training
    model.eval()
    if job.channels_last:
        model.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        if job.channels_last:
            model.to(memory_format=torch.contiguous_format)
        model.train(was_training)


class Forward:
    """`test_step` without gradients, on parts of a batch that share a padded shape and fit into memory.

    Args:
        model: with mmengine's `test_step`.
        amp: autocast (float16 on CUDA, bfloat16 on the CPU).
        divisor: see `padding_divisor`.
        perturb: see `Job`.

    Attributes:
        limit: images a pass, after memory ran out; None for whole batches.
        remarks: of `perturb` about the images of this cell so far.
        on_gpu: the model is on a GPU.
    """

    def __init__(self, model: Any, *, amp: bool = False, divisor: int = 1, perturb: Perturb | None = None) -> None:
        self.model = model
        self.perturb = perturb
        self.remarks: Counter[str] = Counter()
        self.amp = amp
        self.divisor = divisor
        self.limit: int | None = None
        self.device = device_of(model)
        self.on_gpu = self.device.type == "cuda"
        if amp and self.device.type == "cpu":
            prepare_cpu_autocast()

    def __call__(self, batch: Any, condition: Condition) -> list[Any]:
        """Predictions for a collated batch, in its order.

        Raises:
            DeviceError: memory does not hold a single image.
        """
        count = _count(batch)
        if count is None:
            return self._whole(batch, condition)
        found: list[Any] = [None] * count
        todo = deque(self._one_shape(batch, count))
        while todo:
            part = todo.popleft()
            if self.limit is not None and len(part) > self.limit:
                todo.extendleft(reversed([part[i : i + self.limit] for i in range(0, len(part), self.limit)]))
                continue
            samples = self.attempt(batch if len(part) == count else _select(batch, part), condition)
            if samples is None:
                self._halve(len(part), condition)
                todo.appendleft(part)
                continue
            for position, sample in zip(part, samples, strict=True):
                found[position] = sample
        return found

    def _whole(self, batch: Any, condition: Condition) -> list[Any]:
        samples = self.attempt(batch, condition)
        if samples is None:
            self._halve(1, condition)
        return list(samples or ())

    def _halve(self, size: int, condition: Condition) -> None:
        """Make room for another try with half as many images."""
        if size == 1:
            raise DeviceError(
                f"{condition.key}: the memory of {self.device} does not hold one image; use --amp, a smaller scale in "
                "the test pipeline, or another --device"
            )
        self.limit = size // 2
        log.warning(
            "%s: out of memory on %s with %d images a pass, goes on with %d",
            condition.key,
            self.device,
            size,
            self.limit,
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def attempt(self, batch: Any, condition: Condition = CLEAN) -> list[Any] | None:
        """Predictions, or None when memory ran out; what the failed pass held is free by then."""
        dtype = torch.bfloat16 if self.device.type == "cpu" else torch.float16
        try:
            remarks: Mapping[str, int] = {}
            if self.perturb is not None:
                batch, remarks = self.perturb(self.model, batch, condition)
            with torch.inference_mode(), torch.autocast(self.device.type, dtype) if self.amp else nullcontext():
                found = list(self.model.test_step(batch))
            self.remarks.update(remarks)
            return found
        except _OUT_OF_MEMORY:
            return None

    def _one_shape(self, batch: Any, count: int) -> list[list[int]]:
        """Positions by padded shape. Annotations that state wrong sizes must not change a result."""
        groups: dict[Any, list[int]] = {}
        for position in range(count):
            shape: Sequence[int] = getattr(batch["inputs"][position], "shape", ())
            size = padded((int(shape[-1]), int(shape[-2])), self.divisor) if len(shape) >= 2 else None
            groups.setdefault(size, []).append(position)
        return list(groups.values())


def _count(batch: Any) -> int | None:
    """How many images a batch holds, where it can be divided: lists of one length, as mmengine collates them."""
    if not isinstance(batch, Mapping) or "inputs" not in batch:
        return None
    parts = list(batch.values())
    if not all(isinstance(part, list) for part in parts) or len({len(part) for part in parts}) != 1:
        return None
    return len(parts[0])


def _select(batch: Mapping[str, list[Any]], positions: list[int]) -> dict[str, list[Any]]:
    return {name: [part[i] for i in positions] for name, part in batch.items()}
