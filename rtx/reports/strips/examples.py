"""Example images with predictions: their folder format, and which of them a report shows.

An evaluation folder may hold `examples/index.json`, with the image files beside it:

    {"format": "rtx.examples/1", "task": "detection" | "segmentation", "classes": ["person", ...], "evaluated": 5000,
     "images": [{"id": "000000000139", "original": "00.jpg", "width": 640, "height": 426,
                 "truth": [{"bbox": [x1, y1, x2, y2], "label": 0, "polygons": [[x, y, ...]]}],   # detection
                 "ignored": [{"bbox": [x1, y1, x2, y2], "label": 0}],   # crowds, difficult objects; may be left out
                 "truth_map": "139_truth.png",                                                   # segmentation
                 "conditions": {"clean": {"image": "139_clean.jpg",
                                          "predictions": [{"bbox": [...], "label": 0, "score": 0.9, "polygons": [...]}],
                                          "map": "139_clean_map.png"}, "fog_3": {...}}}]}

A condition without an `image` is the `original` under the engine, seed and channel order of the protocol card; `id` is
what seeds its noise. `rtx corrupt_eval --keep-predictions` writes folders of that kind, other tools may store pictures.
Boxes are in pixels of `width` and `height`. Label maps are 8-bit PNG files of class indices, 255 where nothing counts.
A strip needs the clean image and all five severities of a corruption. `key`, where it is there, is the protocol's: with
another one than the card's the examples are left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue
from rtx.reports.strips.pixels import Maker, Pixels, made_again, maker_of, stored
from rtx.reports.text.wording import percent
from rtx.results.protocol import protocol_key
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

EXAMPLES_FORMAT = "rtx.examples/1"
SCORE_THRESHOLD = 0.3
MATCH_IOU = 0.5
IGNORED = 255

NOTHING_KNOWN = Maker(None)

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """One object, predicted or true.

    Attributes:
        bbox: left, top, right, bottom in pixels.
        label: index into the classes.
        score: 1 for a true one.
        polygons: outlines of its mask, each [x, y, x, y, ...].
    """

    bbox: tuple[float, float, float, float]
    label: int
    score: float
    polygons: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class View:
    """One image under one condition, with what a model says about it; without a picture, the original gives it."""

    image: Path | None
    boxes: tuple[Box, ...]
    map: Path | None


@dataclass(frozen=True)
class Example:
    """One image of the test set under several conditions."""

    id: str
    width: int
    height: int
    truth: tuple[Box, ...]
    truth_map: Path | None
    views: Mapping[Condition, View]
    original: Path | None = None
    maker: Maker = NOTHING_KNOWN
    ignored: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Examples:
    """The examples of one run: of what task, with which images, out of how many that were evaluated."""

    task: str
    classes: tuple[str, ...]
    images: Mapping[str, Example]
    evaluated: int = 0
    maker: Maker = NOTHING_KNOWN


@dataclass(frozen=True)
class Verdicts:
    """Predictions told apart. Indices into the predictions, and into the truth for `missed`."""

    hits: tuple[int, ...]
    false_alarms: tuple[int, ...]
    missed: tuple[int, ...]

    @property
    def quality(self) -> float:
        """F1: 2 hits / (2 hits + false alarms + missed); 1 where there is nothing and nothing was found."""
        total = 2 * len(self.hits) + len(self.false_alarms) + len(self.missed)
        return 2 * len(self.hits) / total if total else 1.0


@dataclass(frozen=True)
class Choice:
    """An image and a corruption to show, and why."""

    image: str
    corruption: str
    reason: str
    drop: float

    @property
    def cost(self) -> str:
        """What the corruption costs the image, in words."""
        points = percent(abs(self.drop), 0)
        word = "gains" if self.drop < 0 and points != "0" else "loses"
        return f"{word} {points} {'point' if points == '1' else 'points'} of quality on average"


def read_examples(folder: Path, card: Mapping[str, Any] | None = None) -> Examples | None:
    """The examples of an evaluation folder, None where there are none.

    Args:
        folder: the evaluation.
        card: its protocol card, which says how corrupted pixels are made again.

    Raises:
        BadValue: the index is damaged, or names a file outside the folder or one that is not there.
    """
    root = folder / "examples"
    path = root / "index.json"
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != EXAMPLES_FORMAT:
            raise ValueError(f"format {table['format']!r}")
        if card and table.get("key") not in (None, protocol_key(card)):
            log.warning("%s: its pictures are of another protocol than the cells, so they are left out", path)
            return None
        maker = maker_of(card or {})
        images = [_example(row, root, maker) for row in table["images"]]
        classes = tuple(map(str, table["classes"]))
        evaluated = int(table.get("evaluated") or len(images))
        return Examples(str(table["task"]), classes, {image.id: image for image in images}, evaluated, maker)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValue(f"{path}: not an index of examples ({error}); delete the folder or make it again") from error


def _example(row: Mapping[str, Any], root: Path, maker: Maker) -> Example:
    original = _file(root, row["original"]) if row.get("original") else None
    again = original is not None and maker.engine is not None
    views = {
        Condition.from_key(key): View(
            _file(root, view["image"]) if view.get("image") else None,
            tuple(_box(b) for b in view.get("predictions", ())),
            _file(root, view["map"]) if view.get("map") else None,
        )
        for key, view in row["conditions"].items()
        if again or view.get("image") or (original and key == CLEAN.key)
    }
    truth_map = _file(root, row["truth_map"]) if row.get("truth_map") else None
    truth = tuple(_box(b) for b in row.get("truth", ()))
    ignored = tuple(_box(b) for b in row.get("ignored", ()))
    size = int(row["width"]), int(row["height"])
    return Example(str(row["id"]), *size, truth, truth_map, views, original, maker, ignored)


def picture(example: Example, condition: Condition) -> Pixels:
    """What the models saw of an image under a condition: RGB (h, w, 3), no wider than a tile."""
    stored_file = example.views[condition].image
    if stored_file is not None:
        return stored(stored_file)
    assert example.original is not None
    return made_again(example.original, example.id, condition, example.maker)


def _file(root: Path, name: str) -> Path:
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        raise ValueError(f"file {name!r} is not in the folder")
    return path


def _box(row: Mapping[str, Any]) -> Box:
    left, top, right, bottom = (float(v) for v in row["bbox"])
    polygons = tuple(tuple(float(v) for v in ring) for ring in row.get("polygons") or ())
    return Box((left, top, right, bottom), int(row["label"]), float(row.get("score", 1.0)), polygons)


def judge(truth: Sequence[Box], found: Sequence[Box], ignored: Sequence[Box] = ()) -> Verdicts:
    """Match predictions to objects of their class, the most certain first, at IoU 0.5.

    Predictions below a score of 0.3 are left out, as a reader would not see them. Those that match no object and lie
    at least half within a crowd or a difficult object of their class are neither right nor wrong, as for the scorers.
    """
    free = set(range(len(truth)))
    hits, alarms = [], []
    for index in sorted(range(len(found)), key=lambda i: (-found[i].score, i)):
        box = found[index]
        if box.score < SCORE_THRESHOLD:
            continue
        near = [(iou(box.bbox, truth[t].bbox), -t) for t in free if truth[t].label == box.label]
        best, place = max(near, default=(0.0, 0))
        if best >= MATCH_IOU:
            free.remove(-place)
            hits.append(index)
        elif not any(box.label == area.label and within(box.bbox, area.bbox) >= MATCH_IOU for area in ignored):
            alarms.append(index)
    return Verdicts(tuple(sorted(hits)), tuple(sorted(alarms)), tuple(sorted(free)))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes.

    Example:
        >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
        0.3333333333333333
    """
    both = _shared(a, b)
    union = _area(a) + _area(b) - both
    return both / union if union > 0 else 0.0


def within(a: Sequence[float], b: Sequence[float]) -> float:
    """The part of box `a` that lies in box `b`.

    Example:
        >>> within((0, 0, 2, 2), (1, 0, 9, 9))
        0.5
    """
    return _shared(a, b) / _area(a) if _area(a) > 0 else 0.0


def _shared(a: Sequence[float], b: Sequence[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def read_map(path: Path) -> Labels:
    """A label map."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("L") if image.mode not in ("L", "P") else image, np.uint8)


def map_quality(truth: Labels, found: Labels) -> float:
    """Mean IoU over the classes that are in the truth, pixels without label left out."""
    counted = truth != IGNORED
    scores = []
    for label in np.unique(truth[counted]):
        both = ((truth == label) & (found == label) & counted).sum()
        union = (((truth == label) | (found == label)) & counted).sum()
        scores.append(both / union)
    return float(np.mean(scores)) if scores else 1.0


def quality(example: Example, condition: Condition) -> float | None:
    """How well one image is solved under a condition, 0 to 1; None where it is not there."""
    view = example.views.get(condition)
    if view is None:
        return None
    if example.truth_map is not None and view.map is not None:
        return map_quality(read_map(example.truth_map), read_map(view.map))
    return judge(example.truth, view.boxes, example.ignored).quality
