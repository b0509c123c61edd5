from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES, GROUPS, HELD_OUT
from rtx.errors import BadValue, MissingConditions, UnknownName
from rtx.metrics.robustness import clean, mpc, rpc, summarise
from rtx.types import CLEAN, SEVERITIES, Condition

CELLS = [Condition(name, level) for name in BENCHMARK for level in SEVERITIES]
fractions = st.floats(0, 1, allow_nan=False)
grids = st.lists(fractions, min_size=76, max_size=76).map(
    lambda values: dict(zip([CLEAN, *CELLS], values, strict=True))
)


def flat(score: float, reference: float) -> dict[Condition, float]:
    return {CLEAN: reference, **dict.fromkeys(CELLS, score)}


@pytest.mark.parametrize(
    ("reference", "score", "drop"),
    [(36.42, 28.30, 22.29), (31.47, 24.80, 21.21), (40.64, 28.56, 29.73), (40.91, 30.56, 25.31)],
)
def test_printed_drops_follow_from_printed_scores(reference: float, score: float, drop: float) -> None:
    """Yamada & Otani, Tables 4 and 5; their drops come from unrounded scores, hence 0.02 points of slack."""
    grid = flat(score / 100, reference / 100)
    assert 100 * (1 - rpc(grid)) == pytest.approx(drop, abs=0.02)
    assert 100 * summarise(grid).drop == pytest.approx(drop, abs=0.02)


@pytest.mark.parametrize(
    ("noise", "blur", "digital", "weather", "overall", "simple"),
    [(36.09, 44.00, 21.17, 17.59, 29.29, 29.71), (48.98, 29.42, 17.01, 25.68, 29.03, 30.27)],
)
def test_overall_drop_weighs_corruptions_and_the_mean_of_families_has_its_own_name(
    noise: float, blur: float, digital: float, weather: float, overall: float, simple: float
) -> None:
    """Yamada & Otani, Tables 1 and 2, "Regular": 3/4/4/4 corruptions make two different overall numbers."""
    drops = {"noise": noise, "blur": blur, "weather": weather, "digital": digital}
    grid = {CLEAN: 0.4, **{cell: 0.4 * (1 - drops[CORRUPTIONS[cell.corruption]] / 100) for cell in CELLS}}
    summary = summarise(grid)
    assert 100 * summary.drop == pytest.approx(overall, abs=0.01)
    assert 100 * summary.mean_family_drop == pytest.approx(simple, abs=0.01)
    assert {f: 100 * row.drop for f, row in summary.families.items()} == pytest.approx(drops)


@settings(max_examples=50, deadline=None)
@given(grids, st.randoms(use_true_random=False))
def test_order_of_cells_and_of_names_changes_nothing(grid: dict[Condition, float], rng: random.Random) -> None:
    shuffled = dict(rng.sample(sorted(grid.items()), len(grid)))
    names, levels = rng.sample(BENCHMARK, len(BENCHMARK)), rng.sample(SEVERITIES, len(SEVERITIES))
    assert mpc(shuffled, names, levels) == mpc(grid)
    assert json.dumps(summarise(shuffled, names, levels).to_dict()) == json.dumps(summarise(grid).to_dict())


@settings(max_examples=50, deadline=None)
@given(grids)
def test_every_cell_weighs_the_same(grid: dict[Condition, float]) -> None:
    summary = summarise(grid)
    assert mpc(grid) == pytest.approx(sum(grid[cell] for cell in CELLS) / 75)
    assert mpc(grid) == pytest.approx(sum(summary.per_corruption.values()) / 15)
    assert mpc(grid) == pytest.approx(sum(summary.per_severity.values()) / 5)
    assert mpc(grid) == pytest.approx(sum(row.score * row.cells for row in summary.families.values()) / 75)
    assert summary.mPC == mpc(grid)


def test_neither_clean_nor_held_out_scores_enter_the_mean() -> None:
    grid = flat(0.2, 0.5)
    with_held_out = {**{Condition(name, level): 0.9 for name in HELD_OUT for level in SEVERITIES}, **grid}
    assert mpc(with_held_out) == mpc(grid) == pytest.approx(0.2)
    summary = summarise(with_held_out, CORRUPTIONS)
    assert (summary.mPC, summary.label, summary.complete) == (pytest.approx(0.2), "mPC", True)
    assert summary.held_out == {name: pytest.approx(0.9) for name in HELD_OUT}
    assert not set(summary.per_corruption) & set(HELD_OUT)
    with pytest.raises(BadValue, match=r"held-out.*spatter"):
        mpc(with_held_out, ["fog", "spatter"])


def test_mpc_asks_for_every_condition() -> None:
    grid = flat(0.2, 0.5)
    del grid[Condition("fog", 3)]
    for function in (mpc, rpc):
        with pytest.raises(MissingConditions, match=r"1 of 75 .*fog severity 3"):
            function(grid)
    assert mpc(grid, ["fog"], [1, 2]) == pytest.approx(0.2)


def test_rpc_needs_the_clean_score() -> None:
    grid = flat(0.2, 0.5)
    del grid[CLEAN]
    for function in (rpc, clean):
        with pytest.raises(MissingConditions, match="clean"):
            function(grid)
    summary = summarise(grid)
    assert summary.mPC == pytest.approx(0.2)
    assert math.isnan(summary.rPC) and math.isnan(summary.P) and not summary.complete
    assert summary.missing == (CLEAN,) and "not evaluated" in summary.notes[0]


def test_a_clean_score_of_zero_makes_ratios_undefined(caplog: pytest.LogCaptureFixture) -> None:
    grid = flat(0.0, 0.0)
    assert math.isnan(rpc(grid)) and "P is 0" in caplog.text
    summary = summarise(grid)
    assert (summary.P, summary.mPC, summary.complete) == (0, 0, True)
    assert math.isnan(summary.rPC) and math.isnan(summary.mean_family_drop) and "P is 0" in summary.notes[0]
    assert summary.to_dict()["rPC"] is None
    json.dumps(summary.to_dict(), allow_nan=False)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 36.4])
def test_values_that_are_no_fraction_are_refused_by_cell(value: float) -> None:
    grid = {**flat(0.2, 0.5), Condition("fog", 3): value, Condition("snow", 1): value}
    for function in (mpc, rpc, summarise):
        with pytest.raises(BadValue, match=r"fog_3"):
            function(grid)
    with pytest.raises(BadValue, match=r"snow_1.*fog_3"):
        mpc(grid)
    with pytest.raises(BadValue, match="clean"):
        clean({CLEAN: value})


@pytest.mark.parametrize(
    ("names", "levels", "label"),
    [
        (BENCHMARK, SEVERITIES, "mPC"),
        (GROUPS["blur"], (2, 4), "mPC(4/15 corruptions, severities 2,4)"),
        (BENCHMARK, (3,), "mPC(15/15 corruptions, severity 3)"),
        (HELD_OUT, SEVERITIES, "mPC(no corrupted cell)"),
    ],
)
def test_only_the_whole_benchmark_is_called_mpc(names: tuple[str, ...], levels: tuple[int, ...], label: str) -> None:
    grid = {CLEAN: 0.5, **{Condition(name, level): 0.2 for name in names for level in levels}}
    summary = summarise(grid, names, levels)
    assert summary.label == label
    assert summary.complete == (label == "mPC")
    assert summary.missing == ()
    if names != HELD_OUT:
        assert summary.mPC == pytest.approx(0.2), "absent cells are not zeros"
        assert summary.rPC == pytest.approx(0.4)


def test_a_broken_off_sweep_is_averaged_over_what_is_there() -> None:
    grid = {CLEAN: 0.5, Condition("gaussian_noise", 1): 0.4, Condition("gaussian_noise", 2): 0.2}
    grid[Condition("fog", 1)] = 0.3
    summary = summarise(grid)
    assert summary.mPC == pytest.approx(0.3) and summary.cells == 3
    assert summary.label == "mPC(2/15 corruptions, severities 1,2, 3/4 cells)"
    assert len(summary.missing) == 72 and Condition("fog", 2) in summary.missing
    assert set(summary.families) == {"noise", "weather"} and math.isnan(summary.mean_family_drop)
    assert summary.families["noise"].corruptions == ("gaussian_noise",)
    assert "3 of 75" in summary.notes[0]


def test_names_and_severities_are_checked() -> None:
    grid = flat(0.2, 0.5)
    with pytest.raises(UnknownName, match="fogg"):
        mpc(grid, ["fogg"])
    for levels in ([0, 1], [6], [], [True]):
        with pytest.raises(BadValue, match="1 to 5"):
            summarise(grid, ["fog"], levels)
    assert mpc(grid, ["noise", "fog"], [1]) == pytest.approx(0.2)
    assert set(summarise(grid, ["noise", "fog"]).families) == {"noise", "weather"} < set(FAMILIES)
