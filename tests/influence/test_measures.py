"""Label match from any matrix of influences."""

from __future__ import annotations

import numpy as np
import pytest

from rtx.errors import BadValue
from rtx.influence.measures import matches, paired, rate


def test_matches_of_a_matrix_by_hand() -> None:
    train, test = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1])
    values = np.array([[9.0, 8, 1, 7, 6, 0], [-9, 5, 4, 3, 2, -1]])
    found = matches(values, test, train)
    # Matches by rank: 1 1 0 0 1 0 of the first test image, 0 0 1 1 1 0 of the second; three of five in both.
    assert found.by_rank.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 0.0]
    assert found.top1.value == 0.5 and found.three_of_five is not None and found.three_of_five.value == 1.0
    assert found.chance == 0.5 and found.hits["top1"].tolist() == [True, False]
    # A large harm ranks last: the sign counts, not the size.
    assert matches(-np.abs(values), test, train).hits["top1"].tolist() == [False, True]


def test_no_signal_is_at_chance() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 10, 500), rng.integers(0, 10, 4000)
    found = matches(rng.normal(size=(4000, 500)), test, train)
    assert found.top1.low < found.chance < found.top1.high
    assert len(found.by_rank) == 100 and found.by_rank.mean() == pytest.approx(found.chance, abs=0.003)


def test_a_perfect_matrix_is_at_one() -> None:
    labels = np.arange(30) % 3
    found = matches((labels[:, None] == labels).astype(float), labels, labels)
    assert found.top1.value == 1.0 and (found.by_rank[:10] == 1).all() and (found.by_rank[10:] == 0).all()
    assert found.top1.high == pytest.approx(1) and 0.85 < found.top1.low < 0.9


def test_few_training_images_have_no_top_five() -> None:
    found = matches(np.eye(3), np.arange(3), np.arange(3))
    assert found.three_of_five is None and len(found.by_rank) == 3


def test_intervals_cover() -> None:
    rng = np.random.default_rng(1)
    found = [rate(rng.random(200) < 0.9) for _ in range(400)]
    assert 0.92 < np.mean([one.low <= 0.9 <= one.high for one in found]) < 0.98
    both = rng.random(300) < 0.5
    assert paired(both, both).value == paired(both, both).low == 0.0
    assert paired(both, ~both).value == pytest.approx(2 * both.mean() - 1)


def test_shapes_must_fit() -> None:
    with pytest.raises(BadValue, match=r"influences \(2, 3\) of 3 test and 3 training"):
        matches(np.zeros((2, 3)), np.arange(3), np.arange(3))
