"""A sweep that is killed at any moment loses the cells in flight and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.sweeper import Sweeper
from tests.evaluation.worlds import table

Table = dict[str, object]
GRID = dict(corruptions=["noise", "fog", "frost", "pixelate"], severities=[1, 3, 5], resamples=20)


@pytest.fixture(scope="module")
def sweeper() -> Iterator[Sweeper]:
    process = Sweeper()
    yield process
    process.close()


@pytest.fixture(scope="module")
def whole(sweeper: Sweeper, made_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The files of an undisturbed sweep."""
    out = tmp_path_factory.mktemp("whole")
    sweeper.sweep(made_coco, out, workers=0, scoring="process", **GRID)
    return table(out)


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.ci])])
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_table(
    sweeper: Sweeper, whole: Table, made_coco: Path, tmp_path: Path, kills: int
) -> None:
    calm = sweeper.sweep(made_coco, tmp_path / "calm", workers=1, scoring="inline", **GRID)
    assert calm["status"] == [0]
    assert len(calm["taken"]) == 19
    assert table(tmp_path / "calm") == whole
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
            if end["status"] == [0]:
                break
            assert end["status"] == [-9]
            done += 1
        assert table(out) == whole
        rounds += 1


@pytest.mark.parametrize("kill_after", [None, 0.8], ids=["all live", "one dies"])
def test_three_starts_at_once_share_the_cells_whoever_dies(
    sweeper: Sweeper, whole: Table, made_coco: Path, tmp_path: Path, kill_after: float | None
) -> None:
    out = tmp_path / "out"
    end = sweeper.sweep(made_coco, out, starts=3, kill_after=kill_after, workers=0, scoring="inline", **GRID)
    assert end["status"][1:] == [0, 0]
    assert end["status"][0] in (0, -9)
    assert set(end["taken"]) == {path.stem for path in (out / "cells").glob("*.json")}
    # The one that died held one cell, and had maybe taken the next one already.
    assert len(end["taken"]) <= 19 + (2 if end["status"][0] else 0)
    assert table(out) == whole
