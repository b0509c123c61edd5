"""Scores by class: their mean is the metric, and they are written only for the cells that they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rtx.metrics.per_image import DetectionEvidence, Measure, PixelEvidence, Ranking
from rtx.reports.runs.runs import load_run
from rtx.results.by_class import class_scores, evidence_scores, write_classes
from rtx.results.evaluation import Evaluation
from rtx.results.resample import scores
from rtx.types import CLEAN
from tests.reports.made import make_evidence_run

ONES = np.ones((1, 3), np.uint16)


def detections(absent: str) -> DetectionEvidence:
    """Three classes on three images; the last class has no object."""
    ranking = Ranking(
        images=np.array([0, 1, 2, 0, 2]),
        hits=np.array([1, 0, 1, 1, 0]),
        ignored=np.zeros(5, np.int64),
        tied=np.zeros(5, bool),
        starts=np.array([0, 3, 4, 5]),
        objects=np.array([[0, 0, 1], [0, 2, 2], [1, 0, 2]]),
    )
    return DetectionEvidence(("a", "b", "c"), {"r": ranking}, {"AP": Measure("r", "101 points", (0,), absent)})


@pytest.mark.parametrize("absent", ["left out", "zero"])
def test_the_mean_over_classes_is_the_metric(absent: str) -> None:
    evidence = detections(absent)
    row = class_scores(evidence, "AP")
    assert np.nanmean(row) == pytest.approx(scores(evidence, ONES, "AP")[0], abs=1e-12)
    assert row[0] != row[1] and (np.isnan(row[2]) if absent == "left out" else row[2] == 0)


def test_pixels_by_hand() -> None:
    rows = np.array([(0, 0, 5, 10, 5), (1, 0, 5, 5, 10), (1, 1, 0, 0, 4)], np.int64)
    evidence = PixelEvidence(("a", "b", "c"), rows, 3)
    row = class_scores(evidence, "mIoU")
    assert row[:2].tolist() == [10 / 20, 0] and np.isnan(row[2])
    assert np.nanmean(row) == pytest.approx(scores(evidence, ONES, "mIoU")[0])
    assert np.isnan(class_scores(evidence, "aAcc")).all()


def test_written_read_and_refused(tmp_path: Path) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3)
    rows = evidence_scores(Evaluation.read(out), "mIoU")
    write_classes(Evaluation.read(out), "mIoU", ["sky", "sky"])
    named = load_run(out)
    assert {"mIoU/sky (0)", "mIoU/sky (1)"} <= set(named.metrics)
    assert named.cells[CLEAN].metrics["mIoU/sky (0)"] == rows[CLEAN][0]
    table = json.loads((out / "by_class.json").read_text())
    table["cells"]["fog_3"][0] += 0.01
    (out / "by_class.json").write_text(json.dumps(table))
    assert not [metric for metric in load_run(out).metrics if "/" in metric], "edited"
    (out / "by_class.json").write_text("{}")
    assert not [metric for metric in load_run(out).metrics if "/" in metric], "damaged"


def test_another_number_of_classes_writes_nothing(tmp_path: Path) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3)
    write_classes(Evaluation.read(out), "mIoU", ["one"])
    write_classes(Evaluation.read(out), "aAcc", ["sky", "road"])
    assert not (out / "by_class.json").exists()
