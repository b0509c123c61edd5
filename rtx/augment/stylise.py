"""A copy of a data folder with its training images in the styles of other pictures, to train on.

Every image keeps its size, so boxes, masks and label maps stay true. Which style an image gets depends on the seed, its
name and the list of styles alone (one style each, as in Stylized-ImageNet; Geirhos et al., 2019).
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.augment.adain import Stylist
from rtx.datasets.export import Exported, copy_labels
from rtx.datasets.image_files import decode_rgb, encode, read_rgb, read_whole
from rtx.datasets.layout import DataFolder
from rtx.datasets.layouts import find_images
from rtx.datasets.manifest import MANIFEST, read_manifest
from rtx.errors import DataError, RtxError
from rtx.files import file_sha256, write_whole
from rtx.rng import image_rng
from rtx.types import CLEAN

log = logging.getLogger(__name__)

TRAINING = ("train2017", "train", "trainval", "training")
"""What the split of training images is called in the layouts."""
STYLE_SIDE = 512
"""Pixels: the shorter side that larger style images are resized to, as in the port's script."""


def find_training(root: Path, layout: str = "auto", split: str | None = None) -> DataFolder:
    """The training images of a data folder, or those of a split.

    Raises:
        DataError: there are none.
    """
    if split is not None:
        return find_images(root, layout, split)
    reasons = []
    for name in TRAINING:
        try:
            return find_images(root, layout, name)
        except DataError as error:
            reasons.append(str(error))
    raise DataError(f"{root}: no training images ({', '.join(TRAINING)}); name their --split ({reasons[0]})")


def find_styles(folder: Path) -> list[Path]:
    """The pictures of a folder at any depth, by name.

    Raises:
        DataError: there is none.
    """
    found = find_images(folder, "folder")
    return [found.root / image for image in found.images]


def stylise(
    folder: DataFolder,
    styles: Sequence[Path],
    out: Path,
    stylist: Stylist,
    settings: Mapping[str, Any],
    *,
    kept: DataFolder | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Exported:
    """Write the copy; a second call goes on where the first one ended.

    Args:
        folder: the images that are stylised, and their labels.
        styles: pictures to take styles from.
        out: the copy, of the same layout.
        stylist: does it.
        settings: `seed`, `quality` of JPEG files (None for PNG content under every name), and whatever else the pixels
            depend on.
        kept: images that are copied as they are, such as those for validation, and their labels.
        progress: called with (images done, images in all, seconds) about twice a second.

    Raises:
        RunConflict: `out` holds a copy with other settings.
        DataError: a style image cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    finished = read_manifest(out, {"layout": folder.layout, "image_key": "file_stem", **settings})
    for part in (folder, *([kept] if kept else [])):
        copy_labels(part, [out])
    if kept is not None:
        for image in sorted(set(kept.images) - set(folder.images)):
            _copy(kept.root / image, out / image)

    @cache
    def style_of(number: int) -> Any:
        return stylist.style(_style_image(styles[number]))

    written, failed, there = 0, [], 0
    start = last = time.monotonic()
    with (out / MANIFEST).open("a", encoding="utf-8") as manifest:
        for done, image in enumerate(folder.images, start=1):
            try:
                content = read_whole(folder.root / image)
                source = hashlib.sha256(content).hexdigest()
                size, before = finished.get(image.as_posix(), (-1, ""))
                if before == source and (out / image).is_file() and (out / image).stat().st_size == size:
                    there += 1
                    continue
                number = int(image_rng(settings["seed"], image.stem, CLEAN).integers(len(styles)))
                pixels = stylist(decode_rgb(content, folder.root / image), style_of(number))
                content = encode(pixels, image.suffix, quality=settings["quality"])
                write_whole(out / image, content, sync=False)
            except RtxError as error:
                failed.append((image.as_posix(), str(error)))
                continue
            record = dict(file=image.as_posix(), style=styles[number].name, source_sha256=source, bytes=len(content))
            manifest.write(json.dumps(record) + "\n")
            manifest.flush()
            written += 1
            now = time.monotonic()
            if progress is not None and (now - last > 0.5 or done == len(folder.images)):
                progress(done, len(folder.images), now - start)
                last = now
    return Exported(written, there, tuple(failed))


def digest_of(styles: Sequence[Path]) -> str:
    """Sha256 over names and contents of the style images, in order."""
    text = "".join(f"{path.name} {file_sha256(path)}\n" for path in styles)
    return hashlib.sha256(text.encode()).hexdigest()


def _style_image(path: Path) -> NDArray[np.uint8]:
    image = read_rgb(path)
    scale = STYLE_SIDE / min(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _copy(source: Path, target: Path) -> None:
    """Not a link: who edits the copy means the copy."""
    if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
