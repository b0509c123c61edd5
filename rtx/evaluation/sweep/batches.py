"""Batches for a sweep: one data loader serves all cells, and a batch never mixes padded shapes.

Images that are padded further than alone change a detector's results. A batch therefore holds images that alone would
be padded to one shape, so that the batch size moves a score by float rounding only.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from multiprocessing import ProcessError
from typing import Any

import cv2
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image as PILImage
from torch.utils.data import DataLoader, Dataset

from rtx.errors import BadValue, DataError, RtxError
from rtx.evaluation.pixels.corrupt import Corrupt, find_corrupt
from rtx.evaluation.sweep.machine import processors
from rtx.evaluation.sweep.room import tensor_bytes, that_fit
from rtx.evaluation.sweep.shapes import Size, padded, size_after
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

MOST_LOADERS = 16
Request = tuple[Condition, int]


class LoaderDied(RuntimeError):
    """A loader process ended before its images had arrived."""


class CorruptedView(Dataset):  # type: ignore[type-arg]
    """A data set asked for (condition, index) pairs, so that workers stay alive from cell to cell.

    Args:
        dataset: a built OpenMMLab data set whose pipeline holds a `Corrupt`, see `insert_corrupt`.

    Raises:
        BadValue: there is no `Corrupt` in the pipeline.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.transforms: list[Corrupt] = find_corrupt(dataset)
        if not self.transforms:
            raise BadValue(
                f"the pipeline of {type(dataset).__name__} holds no Corrupt; use insert_corrupt on its config"
            )

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.dataset)

    def __getitem__(self, request: Request) -> tuple[Condition, dict[str, Any]]:
        """Load, corrupt and prepare one image.

        Raises:
            DataError: the image cannot be read or the pipeline gave nothing; the file is named.
        """
        condition, index = request
        for transform in self.transforms:
            transform.condition = condition
        try:
            sample = self.dataset[index]
        except RtxError:
            raise
        except Exception as error:  # steps of the config's own may raise anything
            path = image_path(self.dataset, index)
            raise DataError(
                f"image {path!r} cannot be prepared under {condition.key} ({type(error).__name__}: {error}); "
                "repair or remove it"
            ) from error
        if sample is None:
            raise DataError(f"image {image_path(self.dataset, index)!r}: the test pipeline returned nothing for it")
        return condition, sample


def image_path(dataset: Any, index: int) -> str:
    """The file of one image of a data set."""
    return path_in(dataset.get_data_info(index), index)


def path_in(info: Mapping[str, Any], index: int) -> str:
    """The same, from what the data set knows of the image."""
    return str(info.get("img_path", f"number {index}"))


def shape_groups(dataset: Any, indices: Iterable[int], divisor: int = 1) -> list[list[int]]:
    """Indices grouped by the shape that the test pipeline and the model's padding give the images.

    Args:
        dataset: a built OpenMMLab data set. Where its pipeline is not understood, groups are of one original size.
        indices: which images.
        divisor: the model pads sides to multiples of this.

    Returns:
        The groups in order of first appearance.

    Raises:
        DataError: an image whose size is not in the annotations cannot be opened.
    """
    steps = getattr(getattr(dataset, "pipeline", None), "transforms", None)
    groups: dict[tuple[str, Size], list[int]] = {}
    for index in indices:
        size = original_size(dataset.get_data_info(index))
        after = None if steps is None else size_after(steps, size)
        key = ("original", size) if after is None else ("padded", padded(after, divisor))
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def original_size(info: Mapping[str, Any]) -> Size:
    """(Width, height) of an image by its annotations, or by its header where these do not say it.

    Raises:
        DataError: the header cannot be read.
    """
    size: tuple[Any, Any] = (info.get("width"), info.get("height"))
    if not all(isinstance(side, int) and side > 0 for side in size):
        try:
            with PILImage.open(info["img_path"]) as image:  # only the header is read
                size = image.size
        except (OSError, KeyError) as error:
            raise DataError(
                f"image {info.get('img_path')!r}: cannot be opened ({error}); repair or remove it"
            ) from error
    return int(size[0]), int(size[1])


def cut(groups: Iterable[list[int]], batch_size: int) -> list[list[int]]:
    """Groups of one shape each -> batches of at most `batch_size`.

    Example:
        >>> cut([[0, 2, 4], [1]], 2)
        [[0, 2], [4], [1]]
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise BadValue(f"batch size {batch_size!r}: must be a whole number, 1 or more")
    return [group[i : i + batch_size] for group in groups for i in range(0, len(group), batch_size)]


def loaders(asked: int | None, model: Any) -> int:
    """How many loader processes to use; one line of log says why.

    Args:
        asked: what was asked for. None for what suits the machine. With a model on a GPU: one for each processor of
            this process's share but one, which feeds the model, up to 16. With a model on the CPU, which needs the
            processors itself: 2, or 0 where there are fewer than four, since waiting for each other costs more there
            than loading between the passes.
        model: on its device.

    Raises:
        BadValue: fewer than none were asked for.
    """
    if asked is not None:
        if asked < 0:
            raise BadValue(f"--workers {asked}: must be 0 (load in the process itself) or more")
        return asked
    count, reason = processors()
    if device_of(model).type != "cpu":
        chosen, beside = min(max(count - 1, 1), MOST_LOADERS), "the model on a GPU"
    else:
        chosen, beside = 2 if count >= 4 else 0, "the model on the CPU"
    log.info("%d loader processes: %s, %s (--workers for others)", chosen, reason, beside)
    return chosen


def device_of(model: Any) -> torch.device:
    """Where a model lies; the CPU for one without weights."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _collate(items: list[tuple[Condition, dict[str, Any]]]) -> tuple[Condition, Any]:
    return items[0][0], pseudo_collate([sample for _, sample in items])


def _start_worker(_: int) -> None:
    # One thread each: the workers are the parallelism, and OpenCV's pool does not survive a fork.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class _Requests:
    """Batch sampler over cells; a cell is begun when its first batch is drawn. Or over batches, each in all cells."""

    def __init__(self, conditions: Iterable[Condition], batches: list[list[int]], *, by_batch: bool = False) -> None:
        self.conditions = conditions
        self.batches = batches
        self.by_batch = by_batch

    def __iter__(self) -> Iterator[list[Request]]:
        if self.by_batch:
            conditions = list(self.conditions)
            for batch in self.batches:
                for condition in conditions:
                    yield [(condition, index) for index in batch]
            return
        for condition in self.conditions:
            for batch in self.batches:
                yield [(condition, index) for index in batch]


class KeptLoader:
    """Loader processes that stay when a stream ends, for the next one over the same data and batches.

    For a worker that is handed one cell after the other: to start processes for each may cost more than a small cell.
    """

    loader: DataLoader | None = None  # type: ignore[type-arg]


def stream(
    view: CorruptedView,
    conditions: Iterable[Condition],
    batches: list[list[int]],
    *,
    workers: int = 2,
    kept: KeptLoader | None = None,
    pinned: bool = False,
    by_batch: bool = False,
) -> Generator[tuple[Condition, bool, Any], None, None]:
    """Prepared batches of all cells, in order, loaded ahead across cell borders.

    Args:
        view: the data set.
        conditions: the cells, consumed lazily.
        batches: the same batches of indices for every cell.
        workers: loader processes; 0 loads in this process.
        kept: those of an earlier stream are taken from here, and left here where all cells came to their end.
        pinned: put tensors into page-locked memory, from which a GPU takes them at once.
        by_batch: each batch under all conditions, then the next one; the flag then means nothing.

    Yields:
        (condition, whether this is the cell's last batch, collated batch).

    Raises:
        DataError: an image cannot be prepared; the message is the worker's own, without its traceback.
        LoaderDied: a loader process was killed. PyTorch raises a RuntimeError of its own where it notices first.
    """
    loader = kept.loader if kept else None
    if kept:
        kept.loader = None  # left again at the end alone: where one of its processes has died, it never goes on
    if loader is None:
        workers = _that_fit(view, batches, workers)
        loader = DataLoader(
            view,
            batch_sampler=_Requests(conditions, batches, by_batch=by_batch),  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=_collate,
            worker_init_fn=_start_worker,
            pin_memory=pinned,
            persistent_workers=kept is not None and workers > 0,
        )
    else:
        loader.batch_sampler.conditions = conditions  # type: ignore[union-attr]
    iterator = iter(loader)
    count, ended = 0, False
    try:
        while True:
            try:
                condition, batch = next(iterator)
            except StopIteration:
                ended = True
                return
            except RtxError as error:
                raise _plain(error) from None
            except (OSError, EOFError, ProcessError) as error:
                # Images come through sockets of the loader processes: one that was killed may show here first.
                raise LoaderDied(f"{type(error).__name__}: {error}") from error
            count += 1
            yield condition, count % len(batches) == 0, batch
    finally:
        # Left to the garbage collector, the queues may go before the processes are told, and each is waited for 5 s.
        if kept and ended:
            kept.loader = loader
        elif loader.num_workers:
            iterator._shutdown_workers()  # type: ignore[attr-defined]


def _that_fit(view: CorruptedView, batches: list[list[int]], workers: int) -> int:
    """As many of the loader processes as there is room for, see `rtx.evaluation.sweep.room`."""

    def pixels(batch: list[int]) -> int:
        width, height = original_size(view.dataset.get_data_info(batch[0]))
        return width * height * len(batch)

    def size() -> int:
        largest = max(batches, key=pixels)
        return tensor_bytes(view[(CLEAN, largest[0])][1]) * len(largest)

    return that_fit(workers, images=max(map(len, batches), default=1), batch_bytes=size)


def _plain(error: RtxError) -> RtxError:
    """The worker's own message, out of the traceback that the data loader wraps around it."""
    text = str(error)
    marker = f"{type(error).__name__}: "
    return type(error)(text.rpartition(marker)[2].strip() if "Traceback" in text else text)
