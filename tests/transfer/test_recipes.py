"""The papers' schedules, seeds and recipes."""

from __future__ import annotations

import pytest

from rtx.errors import BadValue, UnknownName
from rtx.transfer.recipes import RECIPES, UTRERA_SIZES, Schedule, find_recipe, schedule_of, utrera_seeds


def test_the_rows_are_the_papers() -> None:
    assert {name: (row.lr, row.batch_size, row.epochs, row.preprocessing) for name, row in RECIPES.items()} == {
        "salman": (0.01, 64, 150, "salman"),
        "utrera": (0.1, 128, None, "utrera"),
        "yamada": (0.01, 64, 150, "salman"),
        "source": (0.1, 128, 90, "salman"),
    }
    decays = {name: row.weight_decay for name, row in RECIPES.items()}
    assert decays == {"salman": 5e-4, "utrera": 5e-4, "yamada": 5e-4, "source": 1e-4}
    assert all(row.momentum == 0.9 for row in RECIPES.values())
    assert RECIPES["salman"].lr_grid == (0.01, 0.001)
    with pytest.raises(UnknownName, match="did you mean 'salman'"):
        find_recipe("salmon")


def test_utreras_schedule_follows_the_size() -> None:
    found = {size: schedule_of(RECIPES["utrera"], size) for size in (*UTRERA_SIZES, None)}
    assert UTRERA_SIZES == (100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600)
    for size in (100, 200, 400, 800, 1600):
        assert found[size] == Schedule(100, (33, 66), 20, 20)
    for size in (3200, 6400):
        assert found[size] == Schedule(150, (50, 100), 10, 10)
    for size in (12800, 25600):
        assert found[size] == Schedule(150, (50, 100), 10, 5)
    assert found[None] == Schedule(150, (50, 100), 10, 1)
    # One source, one number of blocks, one data set: Table 4; the paper's 12,576 runs are 96 of these.
    assert sum(schedule.seeds for schedule in found.values()) == 131
    assert 96 * 131 == 12_576


def test_the_code_drops_once_more_before_the_end() -> None:
    assert schedule_of(RECIPES["utrera"], 100, lr_drops="code").drops == (33, 66, 99)
    assert schedule_of(RECIPES["utrera"], 3200, lr_drops="code").drops == (50, 100), "150 is the end"
    assert schedule_of(RECIPES["salman"], None, lr_drops="code").drops == (50, 100)
    with pytest.raises(UnknownName, match="'paper'"):
        schedule_of(RECIPES["utrera"], 100, lr_drops="papers")


@pytest.mark.parametrize("epochs", range(1, 8))
def test_a_short_schedule_drops_inside_it(epochs: int) -> None:
    for rule in ("paper", "code"):
        found = schedule_of(RECIPES["salman"], 50, epochs=epochs, lr_drops=rule)
        assert found.epochs == epochs and 1 <= found.test_every <= epochs
        assert all(0 < drop < epochs for drop in found.drops)
    with pytest.raises(BadValue, match="--epochs 0"):
        schedule_of(RECIPES["salman"], 50, epochs=0)


def test_seeds_are_equation_six() -> None:
    assert utrera_seeds(5) == (20_000_000, 20_100_000, 20_200_000, 20_300_000, 20_400_000)
    assert utrera_seeds(20)[-1] == 21_900_000 and utrera_seeds(20)[:10] == utrera_seeds(10)
