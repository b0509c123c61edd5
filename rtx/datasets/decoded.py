"""Decoded images that one sweep needs again in each cell, in a temporary file that has no name.

Decoding costs as much as a quick corruption, and the result is the same in every cell. The file is deleted before it
is written to, so that nothing of it outlives the processes that use it, however they end. Its pages are the system's to
drop, so that it never takes memory from anyone. Images are written with system calls, where a full disk is an error and
no signal, and read from a memory map, which is twice as fast.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from rtx.corruptions.registry import Image
from rtx.errors import OutputError

log = logging.getLogger(__name__)

ORDERS = ("bgr", "rgb")
_KEPT_FREE = 0.1
"""Of the disk's free space, which others need too, however many processes keep images there."""


class DecodedImages:
    """A decoded image for each path that has room, filled by whichever process decodes one first.

    Loader processes that are forked share it. Pickled it becomes None: another machine, or a process that was started
    anew, decodes for itself.

    Args:
        sizes: path -> bytes of the decoded image, in the order in which they get room.
        limit: bytes that they may take.

    Attributes:
        held: how many images have room.
        bytes: that they take.
        folder: where the file is.

    Raises:
        OutputError: the temporary file cannot be made.
    """

    def __init__(self, sizes: Mapping[str, int], limit: int) -> None:
        self._places: dict[str, tuple[int, int, int]] = {}
        self.bytes, self.folder = 0, os.environ.get("TMPDIR", "?")
        try:
            self.folder = tempfile.gettempdir()
            free = shutil.disk_usage(self.folder).free
            limit, self._left_free = min(limit, int(free * (1 - _KEPT_FREE))), int(free * _KEPT_FREE)
            for path, size in sizes.items():
                if path not in self._places and self.bytes + size <= limit:
                    self._places[path] = (len(self._places), self.bytes, size)
                    self.bytes += size
            self._file = tempfile.TemporaryFile(buffering=0)
            os.ftruncate(self._file.fileno(), max(self.bytes, 1))
            self._pixels = np.frombuffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except OSError as error:
            raise OutputError(
                f"--cache: no temporary file can be made in {self.folder!r} ({error.strerror or error}); set TMPDIR to "
                "another folder, or give --cache 0"
            ) from error
        self.held = len(self._places)
        # Shared with the processes that are forked: (height, width, order + 1) of each image that is there.
        self._shapes = np.frombuffer(mmap.mmap(-1, (self.held + 1) * 12), np.int32).reshape(-1, 3)
        self._full = self._shapes[self.held, :1]

    def get(self, path: str, order: str) -> Image | None:
        """A copy of the image (H, W, 3) uint8 in that order of channels; None where it is not there."""
        place = self._places.get(path)
        if place is None:
            return None
        number, offset, size = place
        height, width, found = (int(n) for n in self._shapes[number])
        if found != ORDERS.index(order) + 1:
            return None
        # No view: numba compiles another kernel for arrays that cannot be written to.
        return self._pixels[offset : offset + size].reshape(height, width, 3).copy()

    def put(self, path: str, order: str, image: Any) -> None:
        """Keep an image, if there is room for it and it is 8-bit colour; a full disk ends that with one line."""
        place = self._places.get(path)
        if place is None or self._full[0] or image.dtype != np.uint8 or image.ndim != 3:
            return
        number, offset, size = place
        if image.nbytes != size or image.shape[2] != 3:
            return
        try:
            # The space is taken as images come, and other processes that found it free take theirs.
            if shutil.disk_usage(self.folder).free - size < self._left_free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _write(self._file.fileno(), np.ascontiguousarray(image), offset)
        except OSError as error:
            self._full[0] = 1
            log.warning("decoded images: %s in %s; the rest is decoded in each cell", error.strerror, self.folder)
            return
        height, width = image.shape[:2]
        self._shapes[number, :2] = height, width
        self._shapes[number, 2] = ORDERS.index(order) + 1  # last: only now may others read it

    def close(self) -> None:
        """Give the space back; nothing is there any more."""
        self._places, self._pixels = {}, np.empty(0, np.uint8)
        self._file.close()

    def __reduce__(self) -> Any:
        """None, in a process that does not share the file."""
        return _nothing, ()


def _nothing() -> None:
    return None


def _write(file: int, image: Image, offset: int) -> None:
    rest = image.data.cast("B")
    while rest:
        count = os.pwrite(file, rest, offset)
        rest, offset = rest[count:], offset + count
