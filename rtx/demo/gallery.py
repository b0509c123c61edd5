"""One picture that shows what the corruptions do to a scene."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK, corrupt
from rtx.demo.scenes import render_scene
from rtx.demo.scenes_layouts import scene_name
from rtx.errors import DataError
from rtx.rng import image_rng
from rtx.types import CLEAN, Condition

COLUMNS = 4
ZOOM = 2
BAR = 24


def write_gallery(path: Path, seed: int = 0, *, severity: int = 3) -> None:
    """Write a sheet of one val scene, clean and under each of the 15 corruptions, with the pixels of an evaluation.

    Args:
        path: a .png file.
        seed: of the scene and of the corruptions.
        severity: 1 to 5.

    Raises:
        DataError: the file could not be written.
    """
    image, name = render_scene(seed, "val", 0).image, scene_name("val", 0)
    conditions = [CLEAN, *(Condition(corruption, severity) for corruption in BENCHMARK)]
    tiles = [_tile(corrupt(image, c, image_rng(seed, name, c)), c.key.replace("_", " ")) for c in conditions]
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.ascontiguousarray(np.vstack(rows)[..., ::-1])):
        raise DataError(f"{path}: the picture could not be written; is the disk full or the folder read-only?")


def _tile(image: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    bar = np.full((BAR, image.shape[1] * ZOOM, 3), 255, np.uint8)
    cv2.putText(bar, title, (6, BAR - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, np.repeat(np.repeat(image, ZOOM, axis=0), ZOOM, axis=1)])
