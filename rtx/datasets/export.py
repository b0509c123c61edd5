"""Write corrupted copies of a data folder, with a manifest of hashes, for tools outside rtx.

The pixels are those that `rtx corrupt_eval` makes under the same engine, seed and channel order. `OUT/fog_3/` has the
layout of the data folder. `OUT/manifest.jsonl` has one line for the settings and one for each finished file; a second
call goes on where the first one ended.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import cv2

from rtx.corruptions.settings import Settings, corrupt_as
from rtx.datasets.image_files import decode_rgb, encode, read_whole
from rtx.datasets.layout import DataFolder
from rtx.datasets.manifest import MANIFEST, is_smoothed_by_waves, read_manifest, source_of_finished
from rtx.errors import RtxError
from rtx.files import write_whole
from rtx.types import Condition

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """Counts of an export: files written, files found finished, and (image, reason) of each failure."""

    written: int
    kept: int
    failed: tuple[tuple[str, str], ...]


def export(
    folder: DataFolder,
    out: Path,
    conditions: Sequence[Condition],
    settings: Settings,
    *,
    processes: int = 1,
    progress: Callable[[int, int, float], None] | None = None,
) -> Exported:
    """Write every image under every condition.

    Args:
        folder: what to export.
        out: one folder a condition is made in it.
        conditions: which corruptions and severities.
        settings: see `Settings`.
        processes: how many images are worked on at once.
        progress: called with (images done, images in all, seconds) about twice a second.

    Returns:
        What was done; a broken image does not stop the others.

    Raises:
        RunConflict: `out` holds an export with other settings, or elastic transform of large images from an rtx that
            smoothed its displacements another way.
    """
    out.mkdir(parents=True, exist_ok=True)
    by_waves = partial(is_smoothed_by_waves, settings.engine)
    large = any(by_waves(folder.root / image) for image in folder.images)
    head = {"layout": folder.layout, "image_key": "file_stem", **asdict(settings)}
    finished = read_manifest(out, head, by_waves=by_waves if large else None)
    tasks = []
    kept = 0
    for image in folder.images:
        written_of = {c: source_of_finished(out, image, c, finished) for c in conditions}
        # An image that was replaced since is done again, so that one name never holds two sets of pixels.
        source = _sha256(folder.root / image) if any(written_of.values()) else None
        missing = [c for c in conditions if source is None or written_of[c] != source]
        kept += len(conditions) - len(missing)
        if missing:
            tasks.append((folder.root, image, out, missing, settings))
    copy_labels(folder, [out / condition.key for condition in conditions])
    log.info("%d images, %d conditions: %d files to write, %d finished", len(folder.images), len(conditions),
             sum(len(task[3]) for task in tasks), kept)  # fmt: skip
    written, failed = 0, []
    start = last = time.monotonic()
    with (out / MANIFEST).open("a", encoding="utf-8") as manifest:
        for done, (records, failures) in enumerate(_work(tasks, processes), start=1):
            for record in records:
                manifest.write(json.dumps(record) + "\n")
            manifest.flush()
            written += len(records)
            failed += failures
            now = time.monotonic()
            if progress is not None and (now - last > 0.5 or done == len(tasks)):
                progress(done, len(tasks), now - start)
                last = now
    return Exported(written, kept, tuple(sorted(failed)))


_ImageTask = tuple[Path, Path, Path, list[Condition], Settings]
_Written = tuple[list[dict[str, Any]], list[tuple[str, str]]]
"""Lines of the manifest, and (image, reason) of what failed."""


def _work(tasks: Sequence[_ImageTask], processes: int) -> Iterator[_Written]:
    if processes <= 1 or len(tasks) <= 1:
        yield from map(_export_image, tasks)
        return
    # Fresh processes: a fork would copy OpenCV's thread pool in whatever state it is.
    context = get_context("spawn")
    here = os.getcwd()
    with _away_from_other_peoples_modules():
        pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_worker, initargs=(here,))
    with pool:
        with _away_from_other_peoples_modules():
            done = pool.map(_export_image, tasks)
        yield from done


@contextmanager
def _away_from_other_peoples_modules() -> Iterator[None]:
    """Be in the folder of Python's own modules, the first place that a fresh process imports from.

    A `pickle.py` beside the user's images would be run otherwise: `PYTHONSAFEPATH` means nothing to Python 3.10.
    """
    here = os.getcwd()
    os.chdir(os.path.dirname(os.__file__))
    try:
        yield
    finally:
        os.chdir(here)


def _begin_worker(folder: str) -> None:
    os.chdir(folder)  # which the paths of the tasks may start from
    cv2.setNumThreads(1)
    parent = parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        # Without this, the workers of a killed export would wait for work for ever.
        parent.join()
        os._exit(1)

    Thread(target=end_with_parent, daemon=True).start()


def _export_image(task: _ImageTask) -> _Written:
    """All missing conditions of one image, which is read once."""
    root, relative, out, conditions, settings = task
    try:
        content = read_whole(root / relative)
        image, source_hash = decode_rgb(content, root / relative), hashlib.sha256(content).hexdigest()
        records = []
        for condition in conditions:
            pixels = corrupt_as(image, condition, relative.stem, settings, name=str(relative))
            content = encode(pixels, relative.suffix, quality=settings.quality)
            write_whole(out / condition.key / relative, content, sync=False)
            records.append(
                {
                    "file": f"{condition.key}/{relative.as_posix()}",
                    "corruption": condition.corruption,
                    "severity": condition.severity,
                    "source_sha256": source_hash,
                    "pixels_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "bytes": len(content),
                }
            )
        return records, []
    except RtxError as error:
        return [], [(relative.as_posix(), str(error))]


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None  # said when the image is read to be corrupted


def copy_labels(folder: DataFolder, places: Sequence[Path]) -> None:
    """One copy of the labels; the places share it by hard links where the file system has them."""
    for label in folder.labels:
        first: Path | None = None
        for place in places:
            target = place / label
            if first is None:
                first = target
                text = folder.texts.get(label)
                content = (folder.root / label).read_bytes() if text is None else text.encode()
                if not (target.is_file() and target.read_bytes() == content):
                    write_whole(target, content, sync=False)
            elif not (target.is_file() and (target.samefile(first) or filecmp.cmp(first, target, shallow=False))):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                try:
                    os.link(first, target)
                except OSError:
                    shutil.copyfile(first, target)
