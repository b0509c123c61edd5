"""The label files of YOLO's layout: where they lie, and what a line in them says.

A line is `class x_centre y_centre width height`, or `class x1 y1 x2 y2 x3 y3 ...` for an outline, coordinates as
fractions of the image's width and height. Source: https://docs.ultralytics.com/datasets/detect and .../segment; where
that leaves something open, Ultralytics' own reader decides, and the place says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtx.errors import DataError

SLACK = 0.01
"""How far a coordinate may lie outside of 0..1: Ultralytics' own tolerance; it drops the whole image beyond it."""


def label_file(image: Path, home: Path) -> Path:
    """Where the labels of an image lie: `labels` in place of the last `images` of its path, else beside it.

    Example:
        >>> label_file(Path("set/images/val/7.jpg"), Path("set")).as_posix()
        'set/labels/val/7.txt'
    """
    parts = list(image.relative_to(home).parts)
    places = [n for n, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return home.joinpath(*parts).with_suffix(".txt")


def read_labels(path: Path, n_classes: int) -> list[tuple[float, ...]]:
    """The lines of a label file as numbers, the class first; none where there is no file.

    Raises:
        DataError: the file cannot be read, or a line is no box or outline of one of the classes.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); it must have a box or an outline a line") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if words := line.split():
            try:
                found.append(_line(words, n_classes))
            except ValueError as error:
                raise DataError(f"{path}: line {number} is {line.strip()[:60]!r}: {error}") from error
    return found


def _line(words: Sequence[str], n_classes: int) -> tuple[float, ...]:
    try:
        values = tuple(map(float, words))
    except ValueError:
        raise ValueError("it must hold numbers only") from None
    if len(values) == 6:
        raise ValueError("a box has 5 numbers; 6 are those of a prediction with its score, which are no ground truth")
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ValueError(f"{len(values)} numbers; a box has 5, an outline of n points 1 + 2 n, n at least 3")
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")
    if values[0] != int(values[0]) or not 0 <= values[0] < n_classes:
        raise ValueError(f"class {words[0]}; data.yaml has the classes 0 to {n_classes - 1}")
    worst = max(values[1:], key=lambda value: abs(value - 0.5))
    if not -SLACK <= worst <= 1 + SLACK:
        raise ValueError(f"{worst:g} lies outside of the image; coordinates are fractions of its width and height")
    if len(values) == 5 and min(values[3:]) < 0:
        raise ValueError("width and height must not be negative")
    return values


def annotation(values: tuple[float, ...], image: int | str, number: int, width: int, height: int) -> dict[str, Any]:
    """A line as `read_labels` gives it, as an annotation in COCO's form: pixels of an image of that size."""
    row: dict[str, Any] = dict(id=number, image_id=image, category_id=int(values[0]) + 1, iscrowd=0)
    if len(values) == 5:
        _, x, y, w, h = values
        return row | dict(bbox=[(x - w / 2) * width, (y - h / 2) * height, w * width, h * height],
                          area=w * width * h * height)  # fmt: skip
    xs, ys = [x * width for x in values[1::2]], [y * height for y in values[2::2]]
    twice = sum(a * d - b * c for a, b, c, d in zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True))
    outline = [part for point in zip(xs, ys, strict=True) for part in point]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return row | dict(bbox=box, area=abs(twice) / 2, segmentation=[outline])
