"""A pool does every unit once, whatever its workers do, and says what became of each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtx.engines import Begun, Engine, Outcome, Retried, opened
from rtx.engines.pool import attempt
from rtx.errors import BadValue, DataError, EngineError
from tests.engines.units import OtherAfterDeath, broken_setup, setup

SERIAL, RAY = Engine(), Engine("ray", workers=2)


def done(engine: Engine, tasks: Sequence[Any]) -> tuple[dict[str, Outcome], list[Begun | Retried]]:
    named = iter([(f"{n}", task) for n, task in enumerate(tasks)])
    told: list[Begun | Retried] = []
    with opened(engine, setup) as pool:
        found = list(pool.outcomes(lambda: next(named, None), told.append))
    assert len({one.name for one in found}) == len(found), "no unit ends twice"
    return {one.name: one for one in found}, told


def test_processor_time_holds_that_of_the_processes_that_a_unit_started() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    found = attempt(lambda payload: subprocess.run([sys.executable, "-c", payload], check=True), spin)
    assert found["processor_seconds"] > 0.25 and attempt(time.sleep, 0.3)["processor_seconds"] < 0.25


def test_ray_does_what_serial_does(two_nodes: Any) -> None:
    tasks = [*(("square", n) for n in range(20)), ("fail", "a.jpg"), ("odd", "words"), ("exit", 4)]
    (here, _), (there, told) = done(SERIAL, tasks), done(RAY, tasks)
    assert {n: one.result for n, one in here.items()} == {n: one.result for n, one in there.items()}
    assert there["5"].result == 25 and there["5"].error is None
    for found in (here, there):
        assert isinstance(found["20"].error, DataError) and "a.jpg" in found["20"].log
        assert "words" in str(found["21"].error)
        assert "4" in str(found["22"].error) and "WARNING made: goes now" in found["22"].log
    assert len({one.worker for one in there.values()}) == 2
    assert sorted(e.name for e in told if isinstance(e, Begun)) == sorted(there)


def test_units_of_dead_workers_are_tried_again_within_a_bound(two_nodes: Any, tmp_path: Path) -> None:
    tasks = [("die", (str(tmp_path / "once"), 1)), ("die", (str(tmp_path / "always"), 99)), *[("square", 3)] * 4]
    found, told = done(RAY, tasks)
    assert found["0"].result == "alive" and [found[str(n)].result for n in range(2, 6)] == [9] * 4
    assert isinstance(found["1"].error, EngineError) and "died 3 times" in str(found["1"].error)
    assert sorted(e.name for e in told if isinstance(e, Retried)) == ["0", "1", "1"]
    assert len((tmp_path / "always").read_text().split()) == 3


def test_a_unit_that_kills_the_only_worker_costs_no_other_unit(two_nodes: Any, tmp_path: Path) -> None:
    found, _ = done(Engine("ray", workers=1), [("die", (str(tmp_path / "always"), 99)), ("square", 3), ("square", 4)])
    assert "died 3 times" in str(found["0"].error) and (found["1"].result, found["2"].result) == (9, 16)


def test_a_result_that_cannot_be_sent_is_an_error_of_its_unit_at_once(two_nodes: Any, tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    found, told = done(RAY, [("lock", str(tried)), *[("square", 3)] * 3])
    assert isinstance(found["0"].error, BadValue) and "a lock, cannot be sent to the driver" in str(found["0"].error)
    assert "locks now" in found["0"].log and len(tried.read_text().split()) == 1
    assert [found[str(n)].result for n in (1, 2, 3)] == [9] * 3 and all(isinstance(e, Begun) for e in told)


@pytest.mark.parametrize("comes_back", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_worker_whose_node_is_lost_is_waited_for_within_a_bound(two_nodes: Any, comes_back: bool) -> None:
    large = dict(num_cpus=4, object_store_memory=100 * 2**20)
    nodes = [two_nodes.add_node(**large)]
    tasks = iter([("0", ("square", 3)), ("1", ("sleep", 5)), ("2", ("square", 4))])
    told: list[Begun | Retried] = []

    def lose_the_node(event: Begun | Retried) -> None:
        told.append(event)
        if event.name == "1" and len(told) == 2:
            two_nodes.remove_node(nodes.pop(), allow_graceful=False)
        if isinstance(event, Retried) and comes_back:
            nodes.append(two_nodes.add_node(**large))

    try:
        with opened(Engine("ray", workers=1, cpus_per_worker=4, start_seconds=90), setup) as pool:
            if not comes_back:
                pool.engine = replace(pool.engine, start_seconds=3)  # type: ignore[attr-defined]
            outcomes = pool.outcomes(lambda: next(tasks, None), lose_the_node)
            assert next(outcomes).result == 9
            if comes_back:
                assert [one.result for one in outcomes] == [25, 16]
            else:
                with pytest.raises(EngineError, match=r"within 3 s: each needs a node with 4 CPUs.*start the lost"):
                    next(outcomes)
        assert sum(isinstance(event, Retried) for event in told) == 1
    finally:
        for node in nodes:
            two_nodes.remove_node(node)
        nodes_now = pytest.importorskip("ray").nodes
        while sum(node["Alive"] for node in nodes_now()) > 2:  # until Ray notices, later tests have a node too many
            time.sleep(0.5)


def test_a_worker_that_comes_back_on_another_kind_of_node_gets_no_unit(two_nodes: Any, tmp_path: Path) -> None:
    died = str(tmp_path / "died")
    waiting = iter([("0", ("die", (died, 1))), ("1", ("wait", f"{died}.back")), ("2", ("square", 3))])
    with opened(RAY, OtherAfterDeath(died)) as pool:
        there = set(pool.facts)
        found = list(pool.outcomes(lambda: next(waiting, None), lambda event: None))
        assert len(found) == 3 and {one.worker for one in found} < there
        assert set(pool.facts) == there, "the numbers of two kinds never meet"


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        (Engine("ray", workers=3, start_seconds=60), "cluster holds 2 of 1 CPUs.*for lack of CPUs"),
        (Engine("ray", per_gpu=0.5), "0 of 1 CPUs, 0.5 GPUs.*for lack of GPUs"),
    ],
    ids=["cpus", "gpus"],
)
def test_more_workers_than_fit_are_an_error(two_nodes: Any, engine: Engine, fault: str) -> None:
    with pytest.raises(EngineError, match=fault), opened(engine, setup):
        pass


def test_more_than_memory_holds_is_an_error(two_nodes: Any) -> None:
    with pytest.raises(EngineError, match="for lack of memory"), opened(RAY, setup, memory=2**50):
        pass


def test_an_error_while_setting_up_names_the_worker(two_nodes: Any) -> None:
    with pytest.raises(DataError, match=r"worker .*/\d+: folder 'data' is not there"), opened(RAY, broken_setup):
        pass


def test_another_rtx_on_a_node_is_an_error(two_nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtx.__version__", "9.9")
    with pytest.raises(EngineError, match=r"worker .*: rtx .* there, 9.9 here"), opened(RAY, setup):
        pass


def test_what_cannot_be_sent_is_an_error(two_nodes: Any, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        held: Callable[[str], Any] = lambda device: (file, None)  # noqa: E731
        with pytest.raises(Exception, match="cannot be sent to a worker"), opened(RAY, held):
            pass
