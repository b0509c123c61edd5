"""Scores over seeds: pairs are made by seed, and intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from rtx.errors import BadValue
from rtx.results.over_seeds import paired, spread


def test_the_interval_by_students_t_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).normal(0.7, 0.1, 5)
    found = spread(dict(enumerate(values)))
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert found.t == pytest.approx(expected)
    assert (found.lowest, found.highest, found.deviation) == (
        values.min(),
        values.max(),
        pytest.approx(values.std(ddof=1)),
    )


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(400):
        found = spread(dict(enumerate(rng.normal(0, 1, 20))), resamples=300)
        assert found.t is not None and found.bootstrap is not None
        held.append([low <= 0 <= high for low, high in (found.t, found.bootstrap)])
    by_t, by_bootstrap = np.mean(held, axis=0)
    assert 0.92 < by_t < 0.98 and 0.89 < by_bootstrap < 0.97


def test_neither_the_order_nor_the_names_of_seeds_count() -> None:
    one = spread({20_000_000: 0.1, 20_100_000: 0.3, 20_200_000: 0.2})
    assert one == spread({20_200_000: 0.2, 20_000_000: 0.1, 20_100_000: 0.3}) == spread({0: 0.1, 1: 0.3, 2: 0.2})


def test_a_pair_is_of_one_seed_and_sees_what_the_means_do_not() -> None:
    hard = np.random.default_rng(2).normal(0, 0.2, 12)  # how lucky each seed's subset is
    natural = {seed: 0.5 + luck for seed, luck in enumerate(hard)}
    robust = {seed: 0.52 + luck + 0.001 * (seed % 3) for seed, luck in enumerate(hard)}
    found = paired(robust, natural)
    assert found.difference.excludes_zero and found.difference.mean == pytest.approx(0.021) and found.alone == ()
    assert found.difference.deviation is not None and found.difference.deviation < 0.002
    mixed = {seed: robust[(seed + 1) % 12] for seed in robust}
    assert not paired(mixed, natural).difference.excludes_zero, "another seed's subset is no pair"
    backwards = paired(natural, robust).difference
    assert backwards.mean == -found.difference.mean


def test_one_seed_has_no_interval_and_none_no_mean() -> None:
    found = spread({3: 0.4})
    assert (found.n, found.mean, found.lowest, found.highest) == (1, 0.4, 0.4, 0.4)
    assert found.deviation is found.t is found.bootstrap is None and not found.excludes_zero
    for scores in ({}, {0: float("nan")}):
        with pytest.raises(BadValue, match="at least one, and all finite"):
            spread(scores)
    with pytest.raises(BadValue, match=r"seeds \[0\] and \[1\]: none is shared"):
        paired({0: 0.5}, {1: 0.5})
