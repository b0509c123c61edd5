"""Features on disk: one float32 array an image split, named and described by all that its numbers depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from rtx.errors import DataError
from rtx.files import cannot_write, read_json, write_atomic

log = logging.getLogger(__name__)

Features = NDArray[np.float32]
Pieces = Callable[[], Iterator[Features]]


@dataclass(frozen=True)
class Cached:
    """Where the features of a source and a split lie, or will lie.

    Attributes:
        folder: of all caches.
        title: for people, e.g. "resnet50_l2_eps3 caltech101 train".
        card: JSON values, all that the features depend on: weights, data, preprocessing.
        shape: (images, D).
        maker: device and libraries of a pass made now. No part of the key, but features may differ a little with it.
    """

    folder: Path
    title: str
    card: Mapping[str, Any]
    shape: tuple[int, int]
    maker: str = ""

    @property
    def key(self) -> str:
        """Hex sha256 of the card."""
        return hashlib.sha256(json.dumps(self.card, sort_keys=True).encode()).hexdigest()

    @property
    def path(self) -> Path:
        """The array's file; `.json` beside it holds the card."""
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', self.title)}_{self.key[:16]}.npy"


def opened(cached: Cached, make: Pieces) -> tuple[Features, bool]:
    """The features as a memory map, made first where they are not there.

    They are written piece by piece under another name, and renamed when they are complete. A second process that wants
    the same ones waits for the first.

    Args:
        cached: what is asked for.
        make: gives the rows in order, in pieces (n, D).

    Returns:
        (images, D) float32, read-only; and whether they were there.

    Raises:
        DataError: the file there is cut off, or holds features of other weights, data or preprocessing.
        OutputError: it cannot be written.
    """
    path = cached.path
    with _alone(path):
        there = path.is_file()
        if not there:
            _write(path, cached, make)
        return _read(path, cached), there


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".lock").touch()
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        log.warning("%s: no locks on this file system (%s); start one probe of these features at a time", path, error)
    try:
        yield
    finally:
        lock.release()


def _read(path: Path, cached: Cached) -> Features:
    remedy = f"remove {path} and run again"
    card = path.with_suffix(".json")
    try:
        content = read_json(card)
        key, maker = content["key"], content.get("made", cached.maker)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{card}: is missing or damaged, so nothing says whose features these are; {remedy}") from error
    if key != cached.key:
        raise DataError(f"{path}: holds features of other weights, data or preprocessing ({key[:16]}...); {remedy}")
    try:
        found: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: is cut off or damaged ({error}); {remedy}") from error
    if found.shape != cached.shape or found.dtype != np.float32:
        raise DataError(f"{path}: holds {found.dtype} {found.shape} instead of float32 {cached.shape}; {remedy}")
    if maker != cached.maker:
        log.warning("%s: was made on %s, this is %s; scores may differ a little with that", path, maker, cached.maker)
    return found


def _write(path: Path, cached: Cached, make: Pieces) -> None:
    part = path.with_suffix(".part")
    header = {"descr": "<f4", "fortran_order": False, "shape": cached.shape}
    rows = 0
    try:
        # Written as a stream: pages of a writable memory map would count as this process's memory.
        with part.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for piece in make():
                bad = ~np.isfinite(piece).all(1)
                if bad.any():
                    raise DataError(
                        f"{cached.title}: the features of image {rows + int(bad.argmax())} are not finite; "
                        "the weights are damaged, or not those of this architecture"
                    )
                file.write(np.ascontiguousarray(piece, "<f4").data)
                rows += len(piece)
        assert rows == cached.shape[0]
        content = {"key": cached.key, "made": cached.maker, **cached.card}
        write_atomic(path.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)
    log.info("%s: %d x %d features in %s", cached.title, *cached.shape, path)
