"""Example strips as elements of a page: one image, severities in columns, models in rows, predictions drawn on top."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from rtx.reports.runs.naming import readable
from rtx.reports.strips.examples import (
    IGNORED,
    Box,
    Choice,
    Example,
    Examples,
    Labels,
    judge,
    map_quality,
    picture,
    quality,
    read_map,
)
from rtx.reports.strips.pixels import WIDTH, Pixels
from rtx.reports.text.wording import corruption_name, shortened
from rtx.types import CLEAN, SEVERITIES, Condition

BUDGET = 1_500_000
"""Bytes of pictures in one page at most; further strips are files only."""


@dataclass(frozen=True)
class Mark:
    """One drawn box: where, what it is and what it is called."""

    kind: str  # hit, alarm, miss
    place: tuple[str, ...]  # left, top, width, height in pixels of the image
    polygons: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Tile:
    """One image of a strip: which stored picture, what is drawn on it, and how good it is."""

    picture: str
    overlay: str
    marks: tuple[Mark, ...]
    summary: str


@dataclass(frozen=True)
class Strip:
    """One image under one corruption for every model."""

    choice: Choice
    width: int
    height: int
    rows: tuple[tuple[str, tuple[Tile, ...]], ...]

    @property
    def title(self) -> str:
        """The corruption, the image and what it cost."""
        name = corruption_name(self.choice.corruption)
        return f"{name}, image “{readable(self.choice.image)}” {self.choice.cost}"


@dataclass(frozen=True)
class Strips:
    """All strips, the pictures that they share (name -> data URI), and what the models are called beside them."""

    strips: tuple[Strip, ...]
    pictures: dict[str, str]
    left_out: int
    names: dict[str, str]


def build(chosen: Sequence[Choice], runs: Sequence[tuple[str, Examples]], most: int = BUDGET) -> Strips:
    """Lay out the chosen examples, as many as fit into `most` bytes of pictures.

    Pictures are stored once and shared by all models: they are evaluated on the same pixels.
    """
    pictures: dict[str, str] = {}
    strips: list[Strip] = []
    names = dict(zip((name for name, _ in runs), shortened([name for name, _ in runs], 34), strict=True))
    for number, choice in enumerate(chosen):
        added: dict[str, str] = {}
        strip = _strip(number, choice, runs, added)
        if sum(map(len, pictures.values())) + sum(map(len, added.values())) > most:
            return Strips(tuple(strips), pictures, len(chosen) - number, names)
        pictures |= added
        strips.append(strip)
    return Strips(tuple(strips), pictures, 0, names)


def _strip(number: int, choice: Choice, runs: Sequence[tuple[str, Examples]], pictures: dict[str, str]) -> Strip:
    rows = []
    conditions = [CLEAN, *(Condition(choice.corruption, level) for level in SEVERITIES)]
    first = runs[0][1].images[choice.image]
    for row, (name, examples) in enumerate(runs):
        example = examples.images[choice.image]
        tiles = []
        for condition in conditions:
            key = f"ex{number}-{condition.severity}"
            if key not in pictures:
                pictures[key] = _photo(picture(example, condition))
            tiles.append(_tile(example, condition, examples.classes, key, f"{key}-map{row}", pictures))
        rows.append((name, tuple(tiles)))
    return Strip(choice, first.width, first.height, tuple(rows))


def _tile(
    example: Example, condition: Condition, classes: Sequence[str], key: str, map_key: str, pictures: dict[str, str]
) -> Tile:
    view = example.views[condition]
    if example.truth_map is not None and view.map is not None:
        truth, found = read_map(example.truth_map), read_map(view.map)
        pictures[map_key] = _error_map(truth, found)
        return Tile(key, map_key, (), f"IoU {100 * map_quality(truth, found):.0f} %")
    verdicts = judge(example.truth, view.boxes, example.ignored)
    marks = [_mark("miss", example.truth[i], classes, example.width) for i in verdicts.missed]
    marks += [_mark("alarm", view.boxes[i], classes, example.width) for i in verdicts.false_alarms]
    marks += [_mark("hit", view.boxes[i], classes, example.width) for i in verdicts.hits]
    text = f"{len(verdicts.hits)} hits, {len(verdicts.false_alarms)} false alarms, {len(verdicts.missed)} missed"
    return Tile(key, "", tuple(marks), f"{text}; F1 {100 * (quality(example, condition) or 0):.0f} %")


def _mark(kind: str, box: Box, classes: Sequence[str], wide: int) -> Mark:
    digits = 0 if wide >= WIDTH else 1  # a tile shows no more
    left, top, right, bottom = (round(v, digits) for v in box.bbox)
    label = box.label
    name = readable(classes[label]) if 0 <= label < len(classes) else f"class {label}"
    rings = tuple(" ".join(f"{round(v, digits):g}" for v in ring) for ring in box.polygons)
    word = {"hit": "hit", "alarm": "false alarm", "miss": "missed"}[kind]
    place = tuple(f"{round(v, digits):g}" for v in (left, top, right - left, bottom - top))
    return Mark(kind, place, rings, f"{word}: {name}")


def _photo(pixels: Pixels) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=72)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _error_map(truth: Labels, found: Labels) -> str:
    """Right pixels clear, wrong ones hatched red-orange, unlabelled ones grey; readable over any photo."""
    height, width = truth.shape
    rgba = np.zeros((height, width, 4), np.uint8)
    wrong = (truth != found) & (truth != IGNORED)
    rgba[wrong] = (213, 94, 0, 150)
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // 4) % 2 == 0
    rgba[wrong & stripes] = (255, 255, 255, 120)
    rgba[truth == IGNORED] = (128, 128, 128, 90)
    image = Image.fromarray(rgba)
    if width > WIDTH:
        image = image.resize((WIDTH, round(height * WIDTH / width)), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.quantize(8).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
