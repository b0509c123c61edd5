"""Whether the decoded images of a sweep are kept from cell to cell, and how many of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rtx.datasets.decoded import DecodedImages
from rtx.errors import OutputError
from rtx.evaluation.pixels.corrupt import find_built
from rtx.evaluation.sweep.batches import original_size, path_in
from rtx.evaluation.sweep.machine import memory, temporary_space

if TYPE_CHECKING:
    from rtx.evaluation.sweep.forward import Job

log = logging.getLogger(__name__)

_GB = 10**9
_OF_MEMORY, _OF_SPACE = 4, 2
"""Without `--cache`, all images must fit into this part of the memory, since pages that must be read back from a disk
can take longer than decoding; and of the space for temporary files, which others need too."""


@contextmanager
def decoded_kept(job: Job) -> Iterator[None]:
    """Within, the image loaders of the job's test set keep what they decode, see `keep_decoded`."""
    steps = keep_decoded(job)
    try:
        yield
    finally:
        for step in steps:
            step.decoded.close()
            step.decoded = None


def keep_decoded(job: Job) -> list[Any]:
    """Have the image loaders of the job's test set keep what they decode, for the cells that follow.

    Nothing is kept where one cell alone is wanted, where each cell has files of its own, and where the loaders do so
    already. One line of log says what is.

    Returns:
        The loaders that do so from now on; what they keep is closed by the caller, or ends with the process.
    """
    steps = _image_loaders(job.dataset)
    if len(job.conditions) < 2 or not steps or any(step.decoded is not None for step in steps):
        return []
    decoded = _opened(job)
    if decoded is None:
        return []
    for step in steps:
        step.decoded = decoded
    return steps


def _image_loaders(dataset: Any) -> list[Any]:
    """The steps that can keep what they decode; none where two of them make different pixels of a file."""
    steps = find_built(dataset, lambda step: hasattr(step, "decoded"))
    kinds = {tuple(getattr(step, name, None) for name in ("color_type", "imdecode_backend", "rgb")) for step in steps}
    return steps if len(kinds) == 1 else []


def _opened(job: Job) -> DecodedImages | None:
    if job.cache == 0 or not hasattr(os, "preadv"):
        return None
    infos = ((n, job.dataset.get_data_info(n)) for n in job.indices)
    sizes = {path_in(info, n): 3 * width * height for n, info in infos for width, height in [original_size(info)]}
    need = sum(sizes.values())
    room = min(memory() // _OF_MEMORY, temporary_space() // _OF_SPACE)
    if job.cache is None and need > room:
        log.info(
            "each cell decodes its images anew: they would take %.1f GB of a temporary file, and there are %.1f GB for "
            "this process, a quarter of the memory or half of the disk (--cache GB for others)",
            need / _GB,
            room / _GB,
        )
        return None
    try:
        decoded = DecodedImages(sizes, need if job.cache is None else int(job.cache * _GB))
    except OutputError as error:
        log.warning("%s; each cell decodes anew", error)
        return None
    log.info(
        "%d of %d decoded images are kept for the cells that follow, %.1f GB of a file in %s (--cache GB, 0 for none)",
        decoded.held,
        len(sizes),
        decoded.bytes / _GB,
        decoded.folder,
    )
    return decoded
