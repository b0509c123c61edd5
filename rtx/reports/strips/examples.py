"""The pixels of an example, and how well a model solves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from rtx.corruptions.settings import Settings, corrupt_as
from rtx.reports.text.wording import percent
from rtx.results import predictions
from rtx.results.examples import IGNORED, SHOWN, Box, Example, Labels
from rtx.types import CLEAN, Condition

MATCH_IOU = 0.5


@dataclass(frozen=True)
class Verdicts:
    """Predictions by outcome. Indices into the predictions, and into the truth for `missed`."""

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
        """The loss of the image under the corruption, in words."""
        points = percent(abs(self.drop), 0)
        word = "gains" if self.drop < 0 and points != "0" else "loses"
        return f"{word} {points} {'point' if points == '1' else 'points'} of quality on average"


def picture(example: Example, condition: Condition) -> Pixels:
    """An image under a condition, as the models received it: RGB (h, w, 3), no wider than a tile."""
    stored_file = example.views[condition].image
    if stored_file is not None:
        with PILImage.open(stored_file) as image:
            return reduced(image)
    assert example.original is not None
    return made_again(example.original, example.id, condition, example.settings)


def judge(truth: Sequence[Box], found: Sequence[Box], ignored: Sequence[Box] = ()) -> Verdicts:
    """Match predictions to objects of their class, the most certain first, at IoU 0.5.

    Predictions below a score of 0.3 are left out, as a reader would not see them. Those that match no object and lie
    at least half within a crowd or a difficult object of their class are neither right nor wrong, as for the scorers.
    """
    free = set(range(len(truth)))
    hits, alarms = [], []
    for index in sorted(range(len(found)), key=lambda i: (-found[i].score, i)):
        box = found[index]
        if box.score < SHOWN:
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
    return predictions.read_map(path, str(path)).astype(np.uint8)


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


Pixels = NDArray[np.uint8]
WIDTH = 256
"""Pixels: how wide a tile is stored in the page and in figures."""


@lru_cache(maxsize=256)
def made_again(original: Path, image_id: str, condition: Condition, settings: Settings | None) -> Pixels:
    """An original under a condition, pixel for pixel what the model saw, reduced to the width of a tile.

    Args:
        original: the image file.
        image_id: what seeds its noise: the stem of its name in the data set.
        condition: which corruption and severity.
        settings: what makes the corrupted pixels; needed for every condition but clean.

    Returns:
        RGB (h, w, 3).

    Raises:
        DataError: the original cannot be read.
    """
    # OpenCV, only where a report has examples: reading a report's numbers needs none.
    from rtx.datasets.image_files import read_rgb

    image = read_rgb(original)
    if condition != CLEAN and settings is not None:
        image = corrupt_as(image, condition, image_id, settings, name=str(original))
    return reduced(PILImage.fromarray(np.ascontiguousarray(image)))


def reduced(image: PILImage.Image) -> Pixels:
    """An image as an RGB array, no wider than a tile."""
    image = image.convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), PILImage.Resampling.LANCZOS)
    return np.asarray(image, np.uint8)
