"""Intervals that an evaluation leaves in its folder, and how summaries and tables carry them."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtx.errors import MissingConditions
from rtx.metrics.miou import pixel_evidence
from rtx.metrics.per_image import Ranking
from rtx.reports.runs.intervals import read_intervals
from rtx.results import arrays as files
from rtx.results.cell import Cell
from rtx.results.confidence import write_confidences, write_results
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CellFolder, evidence_path
from rtx.results.intervals import Confidence, confidence
from rtx.results.resample import COCO_POINTS, VOC_POINTS, draw, scores
from rtx.results.resample_ap import class_sums
from rtx.results.summary import write_summary
from rtx.types import CLEAN, Condition
from tests.results.pixel_worlds import pixel_world

FOG, SNOW, SPATTER = Condition("fog", 3), Condition("snow", 2), Condition("spatter", 1)
CARD = {"n_images": 9, "data_sha256": "d" * 64, "limit": None, "labels": {"run": "r"}}


def make_run(out: Path, *conditions: Condition, limit: int | None = None) -> Path:
    """A finished evaluation with made evidence."""
    folder = CellFolder(out, {**CARD, "limit": limit})
    folder.open()
    for n, condition in enumerate(conditions):
        evidence = pixel_evidence(pixel_world(n), 7)
        values = {name: float(scores(evidence, draw(9, 1) * 0 + 1, name)[0]) for name in ("mIoU", "aAcc")}
        files.save(evidence_path(out, condition), evidence, key=folder.key, condition=condition.key)
        folder.write(Cell(condition, {**values, "speed": 0.25}, 9, folder.card))
    return out


def write_confidence(
    out: Path, metric: str, *, conditions: Sequence[Condition] | None = None, **options: int
) -> Confidence:
    """Intervals of one metric."""
    return write_confidences(Evaluation.read(out, conditions), (metric,), **options)[metric]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", CLEAN, FOG, SNOW)


def test_the_files_say_what_the_evidence_gives_byte_for_byte(run: Path) -> None:
    found = write_confidence(run, "mIoU", resamples=40)
    source = {c: pixel_evidence(pixel_world(n), 7) for n, c in enumerate((CLEAN, FOG, SNOW))}
    assert found == confidence(source, "mIoU", resamples=40)
    before = [(run / name).read_bytes() for name in ("confidence.json", "resamples.npz")]
    row = json.loads(before[0])
    assert row["P"]["low"] == found.P.low and row["preview"] is False and row["missing"] == {}
    assert Confidence.from_dict(row) == found
    for name in ("confidence.json", "resamples.npz"):
        (run / name).unlink()
    write_confidence(run, "mIoU", resamples=40)
    assert before == [(run / name).read_bytes() for name in ("confidence.json", "resamples.npz")]


def test_what_is_there_is_kept_until_anything_it_is_made_of_changes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_confidence(run, "mIoU", resamples=20)
    with monkeypatch.context() as patch:
        patch.setattr("rtx.results.confidence.resampled_tables", None)
        assert write_confidence(run, "mIoU", resamples=20) == first
    assert write_confidence(run, "mIoU", resamples=21).resamples == 21
    assert write_confidence(run, "mIoU", resamples=20, conditions=[CLEAN, FOG]).mPC != first.mPC
    evidence_path(run, FOG).unlink()
    assert "fog_3" in write_confidence(run, "mIoU", resamples=20).missing
    (run / "confidence.json").write_text("{")
    assert "fog_3" in write_confidence(run, "mIoU", resamples=20).missing


def test_cells_that_cannot_be_resampled_cost_their_own_interval_and_those_of_the_means(run: Path) -> None:
    evidence_path(run, FOG).write_bytes(b"nothing")
    found = write_confidence(run, "mIoU", resamples=20)
    assert found.P is not None and found.mPC is None and found.rPC is None
    assert set(found.cells) == {CLEAN, SNOW}
    assert "not an rtx evidence file" in found.missing["fog_3"]
    assert found.missing["mPC"] == "1 of its cells have no interval, e.g. fog_3"
    # Evidence of another cell: the score it gives is not the cell's.
    evidence_path(run, CLEAN).write_bytes(evidence_path(run, SNOW).read_bytes())
    found = write_confidence(run, "mIoU", resamples=20)
    assert found.P is None and "gives mIoU" in found.missing["clean"] and found.missing["P"]
    evidence_path(run, SNOW).unlink()
    with pytest.raises(MissingConditions, match="nothing to resample"):
        write_confidence(run, "mIoU", resamples=20)


def test_an_undefined_score_has_a_reason_instead_of_an_interval(tmp_path: Path) -> None:
    out = make_run(tmp_path, CLEAN)
    folder = CellFolder.there(out)
    nothing = pixel_evidence([(str(n), pixel_world(0)[0][1].empty(7)) for n in range(9)], 7)
    files.save(evidence_path(out, FOG), nothing, key=folder.key, condition=FOG.key)
    folder.write(Cell(FOG, {"mIoU": math.nan}, 9, folder.card))
    found = write_confidence(out, "mIoU", resamples=20)
    assert "undefined" in found.missing["fog_3"] and "undefined" in found.missing["mPC"]
    assert json.loads((out / "confidence.json").read_text())["cells"]["fog_3"]["low"] is None


def test_corruptions_families_and_drops_have_intervals_over_the_same_draws(run: Path) -> None:
    found = write_confidence(run, "mIoU", resamples=200)
    weights, order = draw(9, 200, 0), (CLEAN, FOG, SNOW)
    rows = {c: scores(pixel_evidence(pixel_world(n), 7), weights, "mIoU") for n, c in enumerate(order)}
    weather, drop = (rows[FOG] + rows[SNOW]) / 2, 1 - rows[FOG] / rows[CLEAN]
    assert (found.means["weather"].low, found.means["weather"].high) == pytest.approx(ends(weather))
    assert (found.drops["fog"].low, found.drops["fog"].high) == pytest.approx(ends(drop))
    assert set(found.means) == set(found.drops) == {"fog", "snow", "weather"}
    evidence_path(run, FOG).unlink()
    assert set(write_confidence(run, "mIoU", resamples=200).means) == {"snow"}, "a family without fog is another one"


def ends(values: np.ndarray) -> tuple[float, float]:
    return tuple(np.quantile(values, [0.025, 0.975]))


def test_the_report_reads_them_as_they_are(run: Path) -> None:
    found = write_confidence(run, "mIoU", resamples=50)
    read = read_intervals(Evaluation.read(run), "mIoU")
    assert read.of("P") == pytest.approx((found.P.low, found.P.high))
    assert read.cell(FOG) == pytest.approx((found.cells[FOG].low, found.cells[FOG].high))


@pytest.mark.parametrize("limit", [None, 9])
def test_tables_carry_intervals_and_a_preview_shows_no_bare_number(tmp_path: Path, limit: int | None) -> None:
    out = make_run(tmp_path, CLEAN, FOG, SPATTER, limit=limit)
    evaluation = Evaluation.read(out)
    every = write_confidences(evaluation, ("mIoU", "aAcc", "speed"), resamples=30)
    found = every["mIoU"]
    summary = write_summary(evaluation, "mIoU", every)
    assert summary["intervals"]["P"] == [found.P.low, found.P.high] and summary["preview"] is (limit is not None)
    text = (out / "table.md").read_text()
    ends = f"[{100 * found.mPC.low:.2f}, {100 * found.mPC.high:.2f}]"
    assert f"{100 * summary['mPC']:.2f} {ends}" in text and "95 % intervals" in text
    rows = list(csv.DictReader((out / "cells.csv").open()))
    for name, known in every.items():
        fog = next(row for row in rows if row["corruption"] == "fog" and row["metric"] == name)
        assert float(fog["low"]) == known.cells[FOG].low and float(fog["high"]) == known.cells[FOG].high
    assert {row["low"] for row in rows if row["metric"] == "speed"} == {""}, "the evidence does not hold it"
    marked = [line for line in text.splitlines() if line.startswith("| fog")]
    assert ("[" in marked[0]) is (limit is not None)
    assert {row["label"] for row in rows} == ({"PREVIEW"} if limit else {""})
    heads = [line for line in text.splitlines() if line.startswith(("| metric", "| corruption"))]
    assert all(("PREVIEW" in line) is (limit is not None) for line in heads)
    bare = [line for line in text.splitlines() if re.search(r"\d\.\d\d (?!\[)", line)]
    if limit:
        assert all(line.startswith("| speed (no interval) |") for line in bare) and bare
        assert "Rows without are of metrics that the evidence does not hold" in text
    before = (out / "summary.json").read_bytes()
    assert write_results(evaluation, "mIoU", resamples=0) == summary, "the same scores keep their intervals"
    assert (out / "summary.json").read_bytes() == before
    fog = evaluation.cells[FOG]
    evaluation.cells[FOG] = replace(fog, metrics={**fog.metrics, "mIoU": 0.1})
    assert write_results(evaluation, "mIoU", resamples=0)["intervals"] is None, "other scores do not"
    assert ("No intervals were computed." in (out / "table.md").read_text()) is (limit is not None)


def test_the_other_metrics_are_resampled_by_the_same_draws_and_kept_with_them(run: Path) -> None:
    every = write_confidences(Evaluation.read(run), ("mIoU", "aAcc", "speed"), resamples=40)
    assert list(every) == ["mIoU", "aAcc"]
    for name, found in every.items():
        source = {c: pixel_evidence(pixel_world(n), 7) for n, c in enumerate((CLEAN, FOG, SNOW))}
        assert found == confidence(source, name, resamples=40)
    row = json.loads((run / "confidence.json").read_text())
    assert row["metric"] == "mIoU" and list(row["others"]) == ["aAcc"]
    assert row["without"] == {"speed": "the evidence does not hold it"}
    before = (run / "confidence.json").stat().st_mtime_ns
    assert write_confidences(Evaluation.read(run), ("mIoU", "aAcc", "speed"), resamples=40) == every
    assert (run / "confidence.json").stat().st_mtime_ns == before, "read, not computed again"
    evidence_path(run, FOG).unlink()
    again = write_confidences(Evaluation.read(run), ("mIoU", "aAcc"), resamples=40)
    assert again["aAcc"].mPC is None and "fog_3" in again["aAcc"].missing


def made_ranking(n_images: int = 30) -> Ranking:
    """Two classes, three thresholds, no ties."""
    rng = np.random.default_rng(5)
    n = 120
    hits = np.where(rng.random(n) < 0.5, rng.choice([1, 3, 7], n), 0)
    ignored = np.where((hits == 0) & (rng.random(n) < 0.2), 7, 0)
    objects = np.array([(k, i, 3) for k in range(2) for i in range(n_images)])
    return Ranking(rng.integers(0, n_images, n), hits, ignored, np.zeros(n, bool), np.array([0, 70, n]), objects)


@pytest.mark.parametrize("times", [20, pytest.param(300, marks=pytest.mark.slow)])  # 300 compiles wider draws
@pytest.mark.parametrize("points", [VOC_POINTS, np.zeros(0)], ids=["11 points", "area"])
def test_drawing_every_image_so_many_times_as_often_changes_nothing(points: np.ndarray, times: int) -> None:
    ranking, weights = made_ranking(), draw(30, 200, 1)
    once, counted = class_sums(ranking, (0, 2), weights, points, 0.0)
    often, _ = class_sums(ranking, (0, 2), weights * np.uint16(times), points, 0.0)
    assert np.allclose(once, often, rtol=0, atol=1e-12) and (counted == 2).all() and once.std() > 0


def test_recall_points_are_whole_multiples_of_the_first() -> None:
    for points in (COCO_POINTS, VOC_POINTS):
        assert (points == np.arange(len(points)) * points[1]).all(), "the kernel computes them so"
