"""Resamples count only beside the scores that they were made of, and are read the same way everywhere."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from rtx.cli.main import main
from rtx.results.confidence import write_confidences
from rtx.results.evaluation import Evaluation
from rtx.reports.runs.intervals import Resamples, difference, interval
from rtx.reports.runs.runs import load_run
from rtx.types import CLEAN, Condition
from tests.reports.made import make_evidence_run, make_run


def test_resamples_of_another_run_are_left_out_with_a_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (make_run(tmp_path, n, robust=r, resamples=60) for n, r in (("a", 0.1), ("bb", 0.4)))
    known = load_run(b).intervals
    shutil.copy(a / "resamples.npz", b / "resamples.npz")
    with caplog.at_level(logging.WARNING, "rtx"):
        found = load_run(b).intervals
    assert found.resamples is None and difference(load_run(a).intervals, found, Resamples.mean) is None
    assert found.of("mPC") == pytest.approx(known.of("mPC")), "those of confidence.json belong to the scores"
    assert "bb/resamples.npz" in caplog.text and "the evaluation's command writes it again" in caplog.text
    assert main(["compare", str(a), str(b)]) == 0
    assert "no paired interval" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["a column", "a cell less", "two cells swapped"])
def test_any_change_of_the_resamples_is_seen(tmp_path: Path, change: str) -> None:
    out = make_run(tmp_path, "m", resamples=60)
    with np.load(out / "resamples.npz") as table:
        arrays = dict(table)
    values, names = arrays["bbox_mAP"], arrays["conditions"]
    if change == "a column":
        values = values + 1e-6 * (np.arange(values.shape[1]) == 7)
    elif change == "a cell less":
        values, names = values[:, 1:], names[1:]
    else:
        names = names[[1, 0, *range(2, len(names))]]
    np.savez(out / "resamples.npz", **{**arrays, "bbox_mAP": values, "conditions": names})
    assert load_run(out).intervals.resamples is None


def test_what_an_evaluation_writes_belongs_to_it(tmp_path: Path) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3)
    write_confidences(Evaluation.read(out), ["mIoU"])
    assert load_run(out).intervals.resamples is not None
