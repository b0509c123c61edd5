"""A sweep that is killed at any moment loses the cells in flight and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.sweeper import Sweeper
from tests.evaluation.worlds import table

GRID = dict(corruptions=["noise", "fog", "frost", "pixelate"], severities=[1, 3, 5])


@pytest.fixture(scope="module")
def sweeper() -> Iterator[Sweeper]:
    process = Sweeper()
    yield process
    process.close()


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.ci])])
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_table(
    sweeper: Sweeper, made_coco: Path, tmp_path: Path, kills: int
) -> None:
    whole = tmp_path / "whole"
    sweeper.sweep(made_coco, whole, workers=0, scoring="process", **GRID)
    calm = sweeper.sweep(made_coco, tmp_path / "calm", workers=1, scoring="inline", **GRID)
    assert calm["status"] == 0
    assert len(calm["taken"]) == 19
    assert table(tmp_path / "calm") == table(whole)
    rng = random.Random(kills)
    done = rounds = 0
    while done < kills or rounds == 0:
        out = tmp_path / f"round{rounds}"
        while True:
            options = dict(workers=rng.choice([0, 0, 1, 2]), scoring="process" if rng.random() < 0.1 else "inline")
            there = {path.stem for path in (out / "cells").glob("*.json")}
            moment = rng.uniform(0, 1.2 * calm["seconds"]) if done < kills else None
            end = sweeper.sweep(made_coco, out, kill_after=moment, **GRID, **options)
            assert not there & set(end["taken"]), "a cell that was there is evaluated again"
            assert len(set(end["taken"])) == len(end["taken"])
            if end["status"] == 0:
                break
            assert end["status"] == -9
            done += 1
        assert table(out) == table(whole)
        rounds += 1
