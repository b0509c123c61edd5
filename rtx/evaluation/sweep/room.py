"""Room for loader processes: shared memory and open files.

With too little of either, PyTorch's loader processes die with a traceback or wait for each other without end. Fewer of
them, or none, do the same work.
"""

from __future__ import annotations

import io
import logging
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rtx.evaluation.sweep.machine import open_files

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
_PLENTY = 8 * 2**30  # bytes; no batches need as much
_AHEAD = 2  # batches that each loader process prepares, PyTorch's default
_PIPES, _SPARE = 8, 32  # open files: of each loader process, and of the process itself while it works
_LARGER = 1.5  # how much larger a training batch may be than the sample that was looked at: sizes are drawn


class RoomyRunner(Runner):
    """mmengine's runner, with as many loader processes as there is room for."""

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:  # type: ignore[type-arg]
        """The data loader of mmengine's runner, see there; a line of log says where it has fewer processes."""
        loader = Runner.build_dataloader(*args, **kwargs)
        batch = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)
        if loader.num_workers:
            loader.num_workers = that_fit(
                loader.num_workers,
                images=batch,
                batch_bytes=lambda: int(_LARGER * batch * tensor_bytes(_sample(loader.dataset))),
            )
        return loader


def that_fit(workers: int, *, images: int, batch_bytes: Callable[[], int]) -> int:
    """As many of the loader processes as shared memory and the limit of open files have room for.

    Args:
        workers: how many were asked for.
        images: in the largest batch.
        batch_bytes: gives the bytes of the largest batch; asked for where shared memory is short.
    """
    if workers and SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(SHARED_MEMORY).free
        if free <= _PLENTY:
            batch = max(batch_bytes(), 1)
            fit = min(workers, max(free // batch - 1, 0) // _AHEAD)
            needed = f"{batch * (_AHEAD * workers + 1) // 10**6} MB of shared memory"
            there = f"{SHARED_MEMORY} has {free // 10**6} MB free"
            workers = _said(workers, fit, needed, there, "a container gets more with --shm-size")
    # Every array that is on the way is a file on both sides. Most samples are one or two arrays.
    each = _PIPES + 2 * (_AHEAD + 1) * images
    if workers:
        free = open_files(_SPARE + each * workers)
        fit = min(workers, max(free - _SPARE, 0) // each)
        needed = f"{_SPARE + each * workers} more open files"
        workers = _said(workers, fit, needed, f"the limit leaves {free}", "`ulimit -n 4096` sets a higher one")
    return workers


def _said(workers: int, fit: int, needed: str, there: str, remedy: str) -> int:
    if fit < workers:
        instead = f"{fit} load images" if fit else "images are loaded in this process"
        log.warning("%d loader processes may need %s, and %s; %s instead (%s)", workers, needed, there, instead, remedy)
    return fit


class _Tensors(pickle.Pickler):
    """Counts the bytes of the tensors in what it pickles: they travel from a loader process in shared memory."""

    total = 0

    def persistent_id(self, item: Any) -> int | None:
        if not isinstance(item, torch.Tensor):
            return None
        self.total += item.nbytes
        return 0


def tensor_bytes(sample: Any) -> int:
    """The bytes of shared memory that a sample takes on its way from a loader process."""
    tensors = _Tensors(io.BytesIO())
    tensors.dump(sample)
    return tensors.total


def _sample(dataset: Any) -> Any:
    """One sample; what is drawn for it is not missing from the training's random numbers."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            return dataset[0]
    except Exception as error:  # steps of the config's own may raise anything; who loads it in earnest says so
        log.info("no room for loaders was measured: %s", error)
        return None
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
