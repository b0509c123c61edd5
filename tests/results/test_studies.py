"""R2, the best eps with its ties, learning curves and the degree of fine-tuning."""

from __future__ import annotations

import pytest

from rtx.errors import BadValue
from rtx.results.studies import at_epoch, best, curve_difference, degrees, learning_curve, r_squared

# Salman et al. (2020), Table 2, architectures A to F.
STANDARD = (77.37, 77.32, 73.66, 65.26, 64.25, 60.97), (97.84, 97.47, 96.08, 95.86, 95.82, 95.55)
ROBUST = (66.12, 65.92, 56.78, 50.05, 42.87, 41.03), (98.67, 98.22, 97.27, 96.91, 96.23, 95.99)


def test_r2_of_the_printed_rows_is_the_printed_one() -> None:
    assert round(r_squared(*STANDARD), 2) == 0.79 and round(r_squared(*STANDARD), 4) == 0.7925
    assert round(r_squared(*ROBUST), 2) == 0.97 and round(r_squared(*ROBUST), 4) == 0.9719


@pytest.mark.parametrize("pairs", [((1, 2), (1, 2)), ((1, 1, 1), (1, 2, 3)), ((1, 2, 3), (1, 2))], ids=str)
def test_r2_needs_three_pairs_that_differ(pairs: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    with pytest.raises(BadValue, match="three pairs or more"):
        r_squared(*pairs)


def test_the_best_eps_names_those_that_may_be_as_good() -> None:
    scores = {
        0.0: {0: 0.70, 1: 0.72, 2: 0.71},  # lower for every seed
        1.0: {0: 0.80, 1: 0.79, 2: 0.84},
        3.0: {0: 0.80, 1: 0.84, 2: 0.81},
        5.0: {7: 0.75, 8: 0.75},  # of other seeds
    }
    found = best(scores)
    assert (found.key, found.ties, found.untested) == (3.0, (1.0,), (5.0,))
    assert found.score.mean == pytest.approx(0.8167, abs=1e-4)
    assert best({0.5: {0: 0.5}, 1.0: {0: 0.5}}).ties == (1.0,), "equal is equal, with one seed too"
    assert best({0.5: {0: 0.5}, 1.0: {0: 0.6}}).untested == (0.5,)
    with pytest.raises(BadValue, match="no setting"):
        best({})


def test_curves_are_of_the_epochs_that_all_seeds_have() -> None:
    natural = {0: {1: 0.1, 11: 0.5, 150: 0.7}, 1: {1: 0.2, 11: 0.6, 21: 0.65, 150: 0.68}}
    robust = {0: {1: 0.1, 11: 0.6, 150: 0.72}, 1: {1: 0.2, 11: 0.7, 150: 0.7}}
    curve = learning_curve(natural)
    assert list(curve) == [1, 11, 150] and curve[11].mean == pytest.approx(0.55)
    gain = curve_difference(robust, natural)
    assert [round(gain[e].mean, 3) for e in gain] == [0, 0.1, 0.02]
    assert at_epoch(natural, "last") == {0: 0.7, 1: 0.68} and at_epoch(natural, 11) == {0: 0.5, 1: 0.6}
    assert at_epoch({0: {1: 0.9, 2: 0.8}}, "best") == {0: 0.9} and at_epoch({0: {1: 0.9, 2: 0.8}}, "last") == {0: 0.8}
    with pytest.raises(BadValue, match=r"epoch 21: seed 0 was tested after \[1, 11, 150\]"):
        at_epoch(natural, 21)
    with pytest.raises(BadValue, match="one of last, best"):
        at_epoch(natural, "first")


def test_a_small_rate_can_lose_accuracy_and_keep_more_of_it() -> None:
    small, large = degrees({0.04: {0: (0.40, 0.30), 1: (0.42, 0.31)}, 0.01: {0: (0.30, 0.27), 1: (0.32, 0.28)}})
    assert (small.rate, large.rate) == (0.01, 0.04) and small.clean.mean < large.clean.mean
    assert (
        small.drop.mean == pytest.approx((1 - 0.27 / 0.30 + 1 - 0.28 / 0.32) / 2) and small.drop.mean < large.drop.mean
    )
    with pytest.raises(BadValue, match="a clean score is 0"):
        degrees({0.1: {0: (0.0, 0.0)}})
