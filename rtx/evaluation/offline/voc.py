"""PASCAL VOC ground truth on disk, and detections for it as other tools write them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.datasets.voc import NAMES, left_out, read_evaluated, repeated, voc_truth
from rtx.errors import BadValue, some, unknown_name
from rtx.evaluation.offline.truth import DetectionTruth, entry_files
from rtx.metrics import coco, voc
from rtx.metrics.coco_truth import ImageId
from rtx.results.predictions import detections

log = logging.getLogger(__name__)

Row = tuple[tuple[float, float, float, float], float, int]


class VocFolder(DetectionTruth):
    """One split of a VOC folder.

    Boxes are VOC's pixel indices, counted from 1, minus 1 on all four sides. Difficult objects are neither hit nor
    mistake; objects without area stay and cost recall where nothing can match them.

    Args:
        path: holds `VOCdevkit`, or years (`VOC2007`), or is one year.
        split: name of the split file; `test` of the first year that has one, else `val`, when None.
        classes: class names in the order of the labels; when None, VOC's twenty or the names in the labels of the
            training and evaluated splits, see `rtx.datasets.voc.class_names`.
        headline: the definition of AP that P, mPC and rPC are made of.
    """

    suffixes = (".npz", ".json", ".txt")
    metric: voc.VocAP

    def __init__(
        self,
        path: Path,
        *,
        split: str | None = None,
        classes: Sequence[str] | None = None,
        headline: str = "AP50_07",
    ) -> None:
        part, self.classes, objects = read_evaluated(path, split, classes)
        self.truth = voc_truth(part, objects, self.classes)
        self.metric = voc.VocAP(self.truth, self.classes, headline=headline)
        self.place, self.images = str(part.listing), self.metric.truth
        log.info("%s: %d images, %d classes", part.listing, len(self.images), len(self.classes))
        for warning in filter(None, (left_out(objects, self.classes), repeated(part.stems, objects))):
            log.warning("%s: %s", part.listing, warning)
        used = {item.name for row in objects for item in row}
        absent = [name for name in self.classes if name not in used]
        if absent and self.classes != NAMES:
            log.warning("%s: %d of %d classes have no object: %s", path, len(absent), len(self.classes), some(absent))

    def read(self, entry: Path) -> Iterable[tuple[Any, ...]]:
        """Images with their detections; see `Truth.read`."""
        kept = self._kept(entry)
        found = self._read(entry) if kept is None else kept
        return ((image, found.get(image)) for image in (self.images if kept is None else kept))

    def _read(self, entry: Path) -> dict[ImageId, coco.Detections]:
        files = entry_files(entry, self.suffixes)
        kinds = {file.suffix.lower() for file in files}
        if len(kinds) > 1:
            raise BadValue(f"{entry}: holds {' and '.join(file.name for file in files[:3])}; leave one kind of file")
        rows: dict[str, list[Row]] = {}
        for file in files:
            read = self._results(file) if kinds == {".json"} else self._lines(file)
            for image, row in read:
                if image not in self.images:
                    raise BadValue(f"{file}: image {image!r} is not in {self.place}; use the names of that list")
                rows.setdefault(image, []).append(row)
        return {image: detections(image, part, np.float32) for image, part in rows.items()}

    def _results(self, file: Path) -> list[tuple[str, Row]]:
        """Rows of `image_id`, `category` (a name), `bbox` (left, top, width, height, from 0) and `score`."""
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise BadValue(f"{file}: cannot be read as JSON ({error})") from error
        if not isinstance(content, list):
            raise BadValue(f"{file}: must be a list of detections with image_id, category, bbox and score")
        found = []
        for n, row in enumerate(content):
            place = f"{file}: row {n}"
            try:
                left, top, width, height = (float(v) for v in row["bbox"])
                name, score, image = row["category"], float(row["score"]), str(row["image_id"])
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise BadValue(
                    f"{place}: needs image_id, category, bbox of four numbers and score ({error!r})"
                ) from error
            found.append((image, self._row((left, top, left + width, top + height), score, name, place)))
        return found

    def _lines(self, file: Path) -> list[tuple[str, Row]]:
        """VOC's own result files, `comp4_det_test_<class>.txt`: image, score, left, top, right, bottom from 1."""
        fitting = [name for name in self.classes if file.stem == name or file.stem.endswith(f"_{name}")]
        if not fitting:
            raise BadValue(f"{file}: is named after none of the classes ({', '.join(self.classes)}), as in _car.txt")
        found = []
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise BadValue(f"{file}: cannot be read as text ({error})") from error
        for n, line in enumerate(text.splitlines()):
            if not line.strip():
                continue
            place = f"{file}: line {n + 1}"
            try:
                image, score, *corners = line.split()
                left, top, right, bottom = (float(v) - 1 for v in corners)
                found.append((image, self._row((left, top, right, bottom), float(score), max(fitting, key=len), place)))
            except (TypeError, ValueError) as error:
                if isinstance(error, BadValue):
                    raise
                raise BadValue(f"{place}: must be image, score, left, top, right, bottom ({line.strip()!r})") from error
        return found

    def _row(self, box: tuple[float, float, float, float], score: float, name: Any, place: str) -> Row:
        if name not in self.classes:
            raise unknown_name("class", name, place=f"{self.place} (from {place})", choices=self.classes)
        if not np.isfinite([*box, score]).all() or box[2] < box[0] or box[3] < box[1]:
            raise BadValue(
                f"{place}: box {box} and score {score} must be numbers, right and bottom not before left and top"
            )
        return box, score, self.classes.index(name)
