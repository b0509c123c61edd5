"""The score of each class in each cell, from the evidence: who breaks, without a metric for each class in the cells.

`by_class.json` beside the cells: `{"format": "rtx.by_class/1", "metric": "bbox_mAP", "made_from": <sha256>,
"preview": false, "classes": [...], "cells": {"fog_3": [0.31, null, ...]}}`; null where a class has no object.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rtx.errors import RtxError
from rtx.files import read_json, write_atomic
from rtx.metrics.metric import ratio
from rtx.metrics.per_image import DetectionEvidence, Evidence, PixelEvidence, Ranking
from rtx.results.cell import Cell
from rtx.results.evaluation import Evaluation
from rtx.results.folder import BY_CLASS, WRITTEN_AGAIN
from rtx.results.resample import scores
from rtx.types import Condition

log = logging.getLogger(__name__)

FORMAT = "rtx.by_class/1"

Floats = NDArray[np.float64]
Rows = dict[Condition, list[float | None]]
"""Condition -> score of each class, None where a class has no object."""


def class_scores(evidence: Evidence, metric: str) -> Floats:
    """One metric of each class; NaN where a class has no object, and where the metric is none of classes.

    For an average precision and mIoU, the mean over classes is the metric.
    """
    if isinstance(evidence, PixelEvidence):
        if metric != "mIoU":
            return np.full(evidence.n_classes, np.nan)
        classes = evidence.rows[:, 1]
        sums = [np.bincount(classes, column, minlength=evidence.n_classes) for column in evidence.rows[:, 2:].T]
        return ratio(sums[0], sums[1] + sums[2] - sums[0])
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


def evidence_scores(evaluation: Evaluation, metric: str) -> Rows:
    """Scores by class of every cell, from its evidence; cells without any are left out, with the reason in the log."""
    rows: Rows = {}
    for condition, cell in evaluation.cells.items():
        try:
            row = class_scores(evaluation.evidence[condition], metric)
        except RtxError as error:
            log.info("no scores by class for %s: %s", condition.key, error)
            continue
        if not len(row):
            continue
        known = row[~np.isnan(row)]
        if len(known) and not np.isclose(known.mean(), cell.metrics.get(metric, np.nan), rtol=0, atol=1e-9):
            log.warning("no scores by class for %s: its evidence is of other scores", condition.key)
            continue
        rows[condition] = [None if np.isnan(value) else float(value) for value in row]
    return rows if any(value is not None for row in rows.values() for value in row) else {}


def read_classes(evaluation: Evaluation, metric: str) -> tuple[list[str], Rows]:
    """Class names and their scores from `by_class.json`; empty where it does not count for metric and cells."""
    path = evaluation.root / BY_CLASS
    if not path.is_file():
        return [], {}
    try:
        table = read_json(path)
        rows = {Condition.from_key(key): list(row) for key, row in table["cells"].items()}
        names = [str(name) for name in table["classes"]]
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']!r}")
        if any(len(row) != len(names) for row in rows.values()):
            raise ValueError("rows of another length than the classes")
        of_metric = table["metric"] == metric
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: left out, not readable (%s); %s", path, error, WRITTEN_AGAIN)
        return [], {}
    if not evaluation.is_origin_of(table, rows):
        log.warning("%s: left out, it belongs to other scores; %s", path, WRITTEN_AGAIN)
        return [], {}
    return (names, rows) if of_metric else ([], {})


def with_classes(evaluation: Evaluation, metric: str) -> dict[Condition, Cell]:
    """The cells with a metric `<metric>/<class>` for every class, where these are known.

    Names that come twice get their number: nothing may stand for two classes.
    """
    classes, rows = read_classes(evaluation, metric)
    names = [f"{name} ({n})" if classes.count(name) > 1 else name for n, name in enumerate(classes)]
    found = {}
    for condition, cell in evaluation.cells.items():
        row = rows.get(condition, [None] * len(names))
        there = {f"{metric}/{name}": value for name, value in zip(names, row, strict=True) if value is not None}
        found[condition] = replace(cell, metrics={**cell.metrics, **there})
    return found


def write_classes(evaluation: Evaluation, metric: str, classes: Sequence[str]) -> None:
    """Write `by_class.json` from the evidence; nothing for a metric that is not made of classes."""
    rows = evidence_scores(evaluation, metric)
    if not rows:
        return
    if any(len(row) != len(classes) for row in rows.values()):
        found = len(next(iter(rows.values())))
        log.warning("%s: evidence of %d classes, the data set names %d", evaluation.root, found, len(classes))
        return
    table = {
        "format": FORMAT,
        "metric": metric,
        "made_from": "",
        "preview": evaluation.card.get("limit") is not None,
        "classes": list(map(str, classes)),
        "cells": {condition.key: row for condition, row in rows.items()},
    }
    table["made_from"] = evaluation.made_from(table, rows)
    write_atomic(evaluation.root / BY_CLASS, json.dumps(table) + "\n")
