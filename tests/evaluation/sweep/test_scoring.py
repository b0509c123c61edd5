"""Scoring beside the forward passes: the same bytes as in the process itself, and no cell lost when it fails."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from rtx.errors import BadValue, UnknownName
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.sweep.scoring import Beside, Inline, Work, put, score, scoring_place, take
from rtx.metrics.coco import Detections
from rtx.types import Condition
from tests.evaluation.counting import Counting, Lambda
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.evaluation.worlds import table

FOG = Condition("fog", 1)


def work(value: float, condition: Condition = FOG, *, keep: bool = False) -> Work:
    return Work(condition, {"seen": [value]}, 1, "key", keep, {"seconds": 1.0})


def test_what_reset_replaces_is_handed_over_and_the_rest_stays() -> None:
    first, second = Counting(), Counting()
    first.process([1.0, 2.0])
    state = take(first)
    assert state == {"seen": [1.0, 2.0]}
    assert first.seen == []
    second.process([7.0])
    put(second, state)
    assert second.compute() == {"sum": 13.0}


def test_the_process_gives_what_is_computed_here_in_order(caplog: pytest.LogCaptureFixture) -> None:
    place = Beside(Counting(), threads=1)
    try:
        for value in range(4):
            place.submit(work(value, keep=value == 1))
        got = list(place.results(wait=True))
    finally:
        place.close()
    assert [scored.metrics["sum"] for scored in got] == [10, 11, 12, 13]
    assert [scored.predictions for scored in got] == [None, (".npz", b"kept"), None, None]
    assert {scored.flags for scored in got} == {("process other",)}
    assert caplog.messages == ["a remark of the scorer"] * 4
    here = score(Counting(), work(0))
    assert (here.metrics, here.evidence) == (got[0].metrics, got[0].evidence)


def test_a_process_that_is_killed_costs_nothing_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    place = Beside(Counting())
    try:
        place.submit(work(0))
        got = list(place.results(wait=True))
        place.process.send_signal(signal.SIGKILL)
        for value in (1, 2, 3):
            place.submit(work(value))
        got += list(place.results(wait=True))
    finally:
        place.close()
    assert [scored.metrics["sum"] for scored in got] == [10, 11, 12, 13]
    assert sum("scoring goes on in this process" in text for text in caplog.messages) == 1


def test_a_scorer_that_cannot_be_sent_scores_here(caplog: pytest.LogCaptureFixture) -> None:
    place = Beside(Lambda())
    try:
        place.submit(work(5))
        assert [scored.metrics["sum"] for scored in place.results(wait=True)] == [15]
    finally:
        place.close()
    assert "cannot be sent" in caplog.text


def test_an_error_of_the_scorer_is_raised_here() -> None:
    place = Beside(Counting())
    try:
        place.submit(Work(FOG, {"seen": []}, 0, "key", False, {}))
        with pytest.raises(BadValue, match="nothing to score"):
            list(place.results(wait=True))
    finally:
        place.close()


def test_a_cell_is_not_lost_when_writing_it_fails() -> None:
    place = Inline(Counting())
    place.submit(work(1))
    with pytest.raises(OSError):
        for _ in place.results():
            raise OSError
    assert [scored.metrics["sum"] for scored in place.results()] == [11]


def test_inline_scoring_leaves_the_next_cell_alone() -> None:
    scorer = Counting()
    place = Inline(scorer)
    scorer.process([5.0])
    place.submit(work(1))
    assert scorer.seen == [5.0]


def test_a_process_is_started_only_where_it_pays() -> None:
    assert type(scoring_place("auto", Counting(), n_images=100, workers=2)) is Inline
    assert type(scoring_place("auto", Counting(), n_images=10**6, workers=0)) is Inline
    assert type(scoring_place("inline", Counting(), n_images=10**6, workers=2)) is Inline
    with pytest.raises(UnknownName, match=r"'proces'.*did you mean 'process'"):
        scoring_place("proces", Counting(), n_images=1, workers=0)


def test_a_sweep_scored_beside_writes_the_same_files(made_coco: Path, tmp_path: Path) -> None:
    for name in ("inline", "process"):
        evaluate(
            PixelDetector(),
            coco_config(made_coco),
            tmp_path / name,
            corruptions=["fog"],
            severities=[2, 4],
            workers=0,
            keep_predictions=True,
            scoring=name,
        )
    assert table(tmp_path / "inline") == table(tmp_path / "process")


def test_detections_go_through_the_pipe_as_they_are() -> None:
    import pickle

    found = Detections(3, np.ones((2, 4), np.float32), np.array([0.5, 0.25], np.float32), np.array([0, 1]))
    back = pickle.loads(pickle.dumps(found, protocol=5))
    assert back.boxes.dtype == np.float32
    assert (back.scores == found.scores).all()
