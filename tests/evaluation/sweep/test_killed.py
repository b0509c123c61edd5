"""A sweep that is killed at any moment loses the cells in flight and nothing else; and one whose data are read-only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evaluation.sweep.sweeper import NOT_PERMITTED, Sweeper
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
    sweeper.sweep(made_coco, out, workers=0, **GRID)
    return table(out)


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_table(
    sweeper: Sweeper, whole: Table, made_coco: Path, tmp_path: Path, kills: int
) -> None:
    calm = sweeper.sweep(made_coco, tmp_path / "calm", workers=1, **GRID)
    assert calm["status"] == 0
    assert len(calm["begun"]) == 19
    assert table(tmp_path / "calm") == whole
    rng = random.Random(kills)
    done = rounds = 0
    while done < kills or rounds == 0:
        out = tmp_path / f"round{rounds}"
        while True:
            options = dict(workers=rng.choice([0, 0, 1, 2]))
            there = {path.stem for path in (out / "cells").glob("*.json")}
            moment = rng.uniform(0, 1.2 * calm["seconds"]) if done < kills else None
            end = sweeper.sweep(made_coco, out, kill_after=moment, **GRID, **options)
            assert not there & set(end["begun"]), "a cell that was there is evaluated again"
            assert len(set(end["begun"])) == len(end["begun"])
            if end["status"] == 0:
                break
            assert end["status"] == -9
            done += 1
        assert table(out) == whole
        rounds += 1


@pytest.mark.parametrize("workers", [0, 1])
def test_data_on_a_read_only_mount_are_enough(
    sweeper: Sweeper, whole: Table, made_coco: Path, tmp_path: Path, workers: int
) -> None:
    end = sweeper.sweep(made_coco, tmp_path / "out", read_only=True, workers=workers, **GRID)
    if end["status"] == NOT_PERMITTED:
        pytest.skip("this machine lets no process have mounts of its own")
    assert end["status"] == 0
    assert table(tmp_path / "out") == whole
    assert not (made_coco / "written").exists()
