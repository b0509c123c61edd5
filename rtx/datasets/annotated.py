"""Boxes and masks of layouts that have no COCO file, in the form of one: every use of them is then that of COCO."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from rtx.datasets import cityscapes, yolo
from rtx.metrics.coco_file import MMDET, Tables, check_tables

READERS: dict[str, Callable[[Path, str], tuple[Tables, tuple[str, ...]]]] = {
    "yolo": yolo.read_split,
    "cityscapes": cityscapes.read_instances,
}
"""Layout -> (root, split "train", "val" or another that it has) -> tables, and what a person must know about them."""
_FILES = {"yolo": yolo.files_of, "cityscapes": cityscapes.files_of}


@dataclass(frozen=True)
class Annotated:
    """One split of a folder.

    Attributes:
        tables: images, whose `file_name` starts at the root, categories and annotations, all checked.
        place: what messages call them.
        notes: what a person must know about them.
    """

    tables: Tables
    place: str
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return tuple(row["name"] for row in self.tables["categories"])

    @contextmanager
    def as_file(self) -> Iterator[str]:
        """The tables as an annotation file that is there for a while, for code that reads nothing else."""
        with TemporaryDirectory() as folder:
            path = Path(folder, "annotations.json")
            path.write_text(json.dumps(self.tables), encoding="utf-8")
            yield str(path)


def read_annotated(root: Path, layout: str, split: str) -> Annotated:
    """One split of a folder; a command reads it several times, and files that did not change are not read again.

    Raises:
        DataError: it is not of that layout, or something in it cannot be used.
    """
    root = root.absolute()
    return _read(root, layout, split, _stamp(_FILES[layout](root, split)))


@lru_cache(maxsize=6)
def _read(root: Path, layout: str, split: str, stamp: str) -> Annotated:
    tables, notes = READERS[layout](root, split)
    place = f"{root} ({split})"
    return Annotated(check_tables(tables, place, need=MMDET), place, notes)


def _stamp(files: Iterable[Path]) -> str:
    """What changes when one of the files does: sha256 over names, sizes and times."""
    digest = hashlib.sha256()
    for path in files:
        try:
            found = os.stat(path)
            digest.update(f"{path}|{found.st_size}|{found.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}|absent\n".encode())
    return digest.hexdigest()
