"""The score of each class in each cell, from the evidence: who breaks, without a metric for each class in the cells.

`by_class.json` beside the cells: `{"format": "rtx.by_class/2", "metric": "bbox_mAP", "key": <protocol>,
"preview": false, "classes": [...], "cells": {"fog_3": [0.31, null, ...]}}`; null where a class has no object. Version 1
named the classes of COCO files wrongly whose category ids do not ascend.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import RtxError
from rtx.files import write_atomic
from rtx.metrics.per_image import DetectionEvidence, Evidence, PixelEvidence, Ranking
from rtx.results.confidence import evidence_path
from rtx.results.evidence_file import load
from rtx.results.protocol import protocol_key
from rtx.results.resample import scores
from rtx.types import Condition

log = logging.getLogger(__name__)

FORMAT = "rtx.by_class/2"
FIRST_FORMAT = "rtx.by_class/1"
FILE = "by_class.json"

Floats = NDArray[np.float64]


def names_are_sure(table: Mapping[str, Any], card: Mapping[str, Any]) -> bool:
    """Whether a `by_class.json` names its classes rightly; of version 1 over COCO files, that of COCO itself does."""
    if table["format"] == FORMAT or (card.get("metric") or {}).get("scorer") != "coco":
        return True
    names = table["classes"]
    return len(names) == 80 and (names[0], names[-1]) == ("person", "toothbrush")


def class_scores(evidence: Evidence, metric: str) -> Floats:
    """One metric of each class; NaN where a class has no object, and where the metric is none of classes.

    For an average precision and mIoU, the mean over classes is the metric.
    """
    if isinstance(evidence, PixelEvidence):
        if metric != "mIoU":
            return np.full(evidence.n_classes, np.nan)
        sums = np.zeros((3, evidence.n_classes))
        for part in range(3):
            sums[part] = np.bincount(evidence.rows[:, 1], evidence.rows[:, 2 + part], minlength=evidence.n_classes)
        union = sums[1] + sums[2] - sums[0]
        ratio: Floats = np.divide(sums[0], union, out=np.full(evidence.n_classes, np.nan), where=union > 0)
        return ratio
    if not isinstance(evidence, DetectionEvidence) or metric not in evidence.measures:
        return np.zeros(0)
    measure = evidence.measures[metric]
    ranking = evidence.rankings[measure.ranking]
    n_classes = len(ranking.starts) - 1
    ones = np.ones((1, len(evidence.image_ids)), np.uint16)
    there = set(ranking.objects[:, 0].tolist())
    found = np.full(n_classes, np.nan)
    for index in sorted(there):
        alone = {measure.ranking: _of_class(ranking, index)}
        one = replace(evidence, rankings=alone, measures={metric: measure})
        found[index] = scores(one, ones, metric)[0]
    if measure.absent == "zero":
        found[np.isnan(found)] = 0.0
    return found


def _of_class(ranking: Ranking, index: int) -> Ranking:
    part = slice(int(ranking.starts[index]), int(ranking.starts[index + 1]))
    objects = ranking.objects[ranking.objects[:, 0] == index].copy()
    objects[:, 0] = 0
    return Ranking(
        ranking.images[part],
        ranking.hits[part],
        ranking.ignored[part],
        ranking.tied[part],
        np.array([0, part.stop - part.start], np.int64),
        objects,
    )


def read_classes(root: Path, conditions: Iterable[Condition], metric: str, key: str) -> dict[Condition, Floats]:
    """Scores by class of every cell that has evidence of this protocol."""
    found = {}
    for condition in conditions:
        try:
            row = class_scores(load(evidence_path(root, condition), key=key), metric)
        except RtxError as error:
            log.info("no scores by class for %s: %s", condition.key, error)
            continue
        if len(row):
            found[condition] = row
    return found


def write_classes(
    root: Path, conditions: Iterable[Condition], metric: str, card: Mapping[str, Any], classes: Sequence[str]
) -> None:
    """Write `by_class.json` from the evidence; nothing for a metric that is not made of classes."""
    key = protocol_key(card)
    rows = read_classes(root, conditions, metric, key)
    if not rows or all(np.isnan(row).all() for row in rows.values()):
        return
    if any(len(row) != len(classes) for row in rows.values()):
        found = len(next(iter(rows.values())))
        log.warning("%s: evidence of %d classes, the data set names %d", root, found, len(classes))
        return
    cells = {c.key: [None if np.isnan(v) else float(v) for v in row] for c, row in rows.items()}
    head = {"format": FORMAT, "metric": metric, "key": key, "preview": card.get("limit") is not None}
    table = {**head, "classes": list(map(str, classes)), "cells": cells}
    write_atomic(root / FILE, json.dumps(table) + "\n")
