"""Reference cycles are not searched for while a command starts, and are again once it has begun its work."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from rtx.cli.collector import collections_resume, no_collections
from rtx.cli.sweeping import Sweep
from rtx.evaluation.protocol import Protocol


class Node:
    """One half of a cycle."""

    other: Node


def cycle() -> weakref.ref[Node]:
    """A cycle that nothing else holds."""
    one, two = Node(), Node()
    one.other, two.other = two, one
    return weakref.ref(one)


@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_made_before_the_work_is_left_alone_and_what_comes_then_is_collected(enabled: bool) -> None:
    try:
        if not enabled:
            gc.disable()
        with no_collections():
            assert not gc.isenabled()
            before = cycle()
            collections_resume()
            assert gc.isenabled()
            then = cycle()
            gc.collect()
            assert before() is not None and then() is None
        assert gc.isenabled() is enabled and gc.get_freeze_count() == 0
        gc.collect()
        assert before() is None
    finally:
        gc.enable()


def test_an_error_while_starting_leaves_the_collector_on() -> None:
    with pytest.raises(KeyboardInterrupt), no_collections():
        raise KeyboardInterrupt
    assert gc.isenabled()


def test_a_sweep_starts_without_and_works_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def evaluate(*args: Any, **options: Any) -> dict[str, Any]:
        seen.append(gc.isenabled())
        return {"complete": False, "P": 0.5}

    monkeypatch.setattr("rtx.evaluation.evaluate.evaluate", evaluate)
    sweep = Sweep()
    sweep.out = tmp_path

    def work() -> int:
        seen.append(gc.isenabled())
        sweep.evaluate(None, None, Protocol())
        return 0

    assert sweep.run(work) == 0
    assert seen == [False, True]
