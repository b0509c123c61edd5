"""Corrupted class folders on disk, `ROOT/<corruption>/<severity>/<class>/*.JPEG`: what is there, and whether it stays.

Only names and sizes are looked at here; `rtx.evaluation.pixels.stored` evaluates them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtx.corruptions import CORRUPTIONS
from rtx.datasets.class_folders import class_folders, labelled_images
from rtx.datasets.image_files import SUFFIXES
from rtx.errors import DataError, RunConflict
from rtx.files import read_json, write_atomic
from rtx.results.arrays import reading
from rtx.results.cell import Cell
from rtx.results.conditions import grid
from rtx.types import CLEAN, SEVERITIES, Condition

FILES = "files.json"


@dataclass(frozen=True)
class StoredSet:
    """Images on disk, as a rule corrupted ones.

    Attributes:
        folders: condition -> folder of its class folders, in canonical order; clean first where it is there.
        base: the folder whose images the others must hold too.
        classes: folder names in the model's order.
    """

    folders: dict[Condition, Path]
    base: Path
    classes: tuple[str, ...]

    def wanted(self, corruptions: Sequence[str], severities: Sequence[int]) -> tuple[Condition, ...]:
        """Those of the wanted conditions that are there, and the clean images where they are.

        Raises:
            UnknownName, BadValue: no such corruption or severity.
            DataError: none of them is there.
        """
        if [*self.folders] == [CLEAN]:
            return (CLEAN,)
        asked = {*grid(corruptions, severities)}
        found = tuple(c for c in self.folders if c in asked)
        if not found or (found == (CLEAN,) and len(asked) > 1):
            raise DataError(f"{self.base}: none of the wanted conditions is there; see --corruptions and --severities")
        return found


def find_stored(root: Path | None, clean: Path | None = None, classes: Sequence[str] | None = None) -> StoredSet:
    """Look which conditions a folder holds.

    Args:
        root: holds `<corruption>/<severity>`, or folders that do (ImageNet-C's `noise`, `blur` ...); None where the
            clean images are all that is wanted.
        clean: class folders of the clean images.
        classes: folder names in the model's order, words behind them do not count; sorted when None, as for ImageNet's.

    Raises:
        DataError: there is no such folder or condition.
    """
    if clean is not None and not clean.is_dir():
        raise DataError(f"{clean}: no such folder; give the class folders of the clean images")
    found = {} if root is None else _corrupted(root)
    folders = {CLEAN: clean, **found} if clean is not None else found
    if not folders:
        raise DataError("no folder of images was given; name one of corrupted images, of clean ones, or both")
    base = next(iter(found.values()), None) or folders[CLEAN]
    return StoredSet(folders, base, _in_order(classes, base) if classes else class_folders(base))


def _corrupted(root: Path) -> dict[Condition, Path]:
    """The folders of corrupted images."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it must hold <corruption>/<severity>/<class>/<image>")
    found: dict[Condition, Path] = {}
    for name in CORRUPTIONS:
        places = [p for p in (root / name, *sorted(root.glob(f"*/{name}"))) if p.is_dir()]
        if len(places) > 1:
            raise DataError(f"{root}: {name} is there twice, {places[0]} and {places[1]}; leave one of them")
        for level in SEVERITIES:
            if places and (places[0] / str(level)).is_dir():
                found[Condition(name, level)] = places[0] / str(level)
    if not found:
        raise DataError(
            f"{root}: holds no <corruption>/<severity> folder; corruptions are named {', '.join(CORRUPTIONS)}"
        )
    return found


def _in_order(lines: Sequence[str], base: Path) -> tuple[str, ...]:
    """Folder names from lines of them, which may have words behind the name ("n01440764 tench")."""
    folders = class_folders(base)
    return tuple(line if line in folders else line.split()[0] for line in lines)


def find_image(folder: Path, relative: Path) -> Path | None:
    """The image of that class and name, whatever its suffix."""
    path = folder / relative
    if path.is_file():
        return path
    others = (path.with_suffix(suffix) for end in SUFFIXES for suffix in (end, end.upper()))
    return next((other for other in others if other.is_file()), None)


def files_sha256(folder: Path) -> tuple[str, set[str]]:
    """Sha256 over names and sizes of all files of a condition, and the names without suffix."""
    digest, names = hashlib.sha256(), set()
    for where, inner, files in os.walk(folder, followlinks=True):
        inner.sort()
        for name in sorted(files):
            path = Path(where, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                relative = path.relative_to(folder)
                digest.update(f"{relative.as_posix()}|{path.stat().st_size}\n".encode())
                names.add(relative.with_suffix("").as_posix())
    return digest.hexdigest(), names


def check_files(stored: StoredSet, conditions: Sequence[Condition], out: Path, cells: Mapping[Condition, Cell]) -> None:
    """Check that every condition holds the images of the base, and that those of finished cells are what they were.

    Args:
        stored: the folders.
        conditions: those that are wanted.
        out: the output folder, which remembers names and sizes.
        cells: the finished ones.

    Raises:
        DataError: a condition lacks images.
        RunConflict: files of a finished cell have changed.
    """
    listed = labelled_images(stored.base, stored.classes)
    wanted = {path.relative_to(stored.base).with_suffix("").as_posix() for path, _ in listed}
    path = out / FILES
    known = {}
    if path.exists():
        with reading(path, "record of stored images", "--overwrite evaluates everything again"):
            known = read_json(path)
    for condition in conditions:
        sha256, names = files_sha256(stored.folders[condition])
        absent = sorted(wanted - names)
        if absent:
            raise DataError(
                f"{stored.folders[condition]}: lacks {len(absent)} of the {len(wanted)} images of {stored.base}, the "
                f"first is {absent[0]!r}; complete the folder"
            )
        more = sorted(names - wanted) if condition != CLEAN else []
        if more:
            raise DataError(
                f"{stored.base}: lacks {len(more)} images of {stored.folders[condition]}, the first is {more[0]!r}; "
                "complete the folder, so that all conditions are scored on the same images"
            )
        if condition in cells and known.get(condition.key, sha256) != sha256:
            raise RunConflict(
                f"{stored.folders[condition]}: files have changed since {condition.key} was evaluated; --overwrite "
                "evaluates everything again"
            )
        known[condition.key] = sha256
    write_atomic(path, json.dumps(known, indent=1, sort_keys=True) + "\n")
