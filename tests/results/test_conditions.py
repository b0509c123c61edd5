"""The grid: what is asked for is what is evaluated, or an error that names it."""

from __future__ import annotations

import pytest

from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue, UnknownName
from rtx.results.conditions import grid
from rtx.types import CLEAN, Condition


def test_the_benchmark_is_clean_and_75_cells_each_once() -> None:
    cells = grid()
    assert len(cells) == len(set(cells)) == 76
    assert cells[0] == CLEAN
    assert {c.corruption for c in cells[1:]} == set(BENCHMARK)


def test_groups_are_a_union_in_canonical_order() -> None:
    assert grid(["jpeg_compression", "noise", "shot_noise"], [2])[1:] == tuple(
        Condition(name, 2) for name in ("gaussian_noise", "shot_noise", "impulse_noise", "jpeg_compression")
    )


@pytest.mark.parametrize("severity", [-1, 6, 30])
def test_a_severity_outside_the_scale_is_named(severity: int) -> None:
    with pytest.raises(BadValue, match=f"severity {severity}"):
        grid(["fog"], [1, severity])


def test_a_wrong_corruption_shows_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"'gausian_noise'.*did you mean 'gaussian_noise'"):
        grid(["gausian_noise"])


def test_severity_0_asks_for_the_clean_images_once() -> None:
    assert grid(["fog"], [0, 1]) == (CLEAN, Condition("fog", 1))
