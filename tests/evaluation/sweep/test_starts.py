"""Several starts on one folder: they share the cells, take over what a dead one held, and write one table."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rtx.errors import RunConflict
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.sweep.claims import Claims
from rtx.evaluation.sweep.events import Waiting
from rtx.evaluation.sweep.sweep import run
from rtx.types import Condition
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.evaluation.sweep.small_sweep import FEW, KEYS, Watch, evaluate
from tests.evaluation.worlds import table


def test_two_starts_at_once_share_the_cells_and_write_one_table(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    watches = [Watch(), Watch()]
    together = threading.Barrier(2)
    summaries: list[dict[str, Any]] = []

    def start(watch: Watch) -> None:
        together.wait()
        summaries.append(evaluate(made_coco, tmp_path, on_event=watch))

    threads = [threading.Thread(target=start, args=(watch,)) for watch in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(watches[0].started + watches[1].started) == sorted(KEYS), "no cell twice"
    assert summaries[0] == summaries[1]
    assert table(tmp_path) == whole


def test_starts_that_end_together_write_what_is_made_of_the_cells_one_after_the_other(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    """Else the second would write a summary without the intervals that the first has just put there.

    And the last one out takes away what a third one that was killed had half written.
    """
    evaluate(made_coco, tmp_path)
    inside: list[int] = []
    together = threading.Barrier(2)

    def complete(cells: Any) -> None:
        inside.append(len(inside))
        (tmp_path / "cells" / ".fog_2.json.k7ill3d").touch()
        time.sleep(0.3)
        inside.append(-1)

    def start() -> None:
        job = prepare(PixelDetector(), coco_config(made_coco), tmp_path, **FEW)
        together.wait()
        run(job, job.conditions, complete=complete)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert inside == [0, -1, 2, -1]
    assert table(tmp_path) == whole


def test_the_cell_of_a_start_that_died_is_taken_over_while_others_wait_for_it(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    dead = Claims(tmp_path, beat=1e9).__enter__()
    dead.me.update(host="node7", boot="other")
    assert dead.take(Condition("fog", 2))
    watch = Watch()
    job = prepare(PixelDetector(), coco_config(made_coco), tmp_path / ".", **FEW)
    run(job, job.conditions, on_event=watch, claims=Claims(tmp_path, patience=1.5))
    assert watch.started == [*KEYS[:2], "fog_2"]
    waits = [event for event in watch.events if isinstance(event, Waiting)]
    assert waits[0] == Waiting((Condition("fog", 2),), done=2, todo=3, elsewhere=0)
    assert {k: v for k, v in table(tmp_path).items() if k.startswith("cells/")}.items() <= whole.items()
    dead.__exit__()


def test_overwriting_under_a_running_sweep_is_refused_and_disturbs_nothing(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    refused: list[str] = []

    def again(cell: Any, done: int, todo: int) -> None:
        if done == 2:
            with pytest.raises(RunConflict) as caught:
                evaluate(made_coco, tmp_path, overwrite=True)
            refused.append(str(caught.value))

    evaluate(made_coco, tmp_path, on_cell=again)
    assert "is evaluating there; stop it before --overwrite" in refused[0]
    assert table(tmp_path) == whole
