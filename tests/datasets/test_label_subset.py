"""Subsets hold every class, are nested, and depend on labels, size, seed and rule alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rtx.datasets.label_subset import RULES, choose
from rtx.errors import BadValue, UnknownName

LABELS = np.repeat(np.arange(5), [400, 3, 60, 1, 36])


@pytest.mark.parametrize("n", [5, 6, 50, 500])
def test_every_class_is_there_once_chosen(n: int) -> None:
    for seed in range(30):
        chosen = choose(LABELS, n, seed)
        assert len(set(chosen.tolist())) == n and chosen.dtype == np.int64
        assert set(LABELS[chosen]) == set(range(5))
    assert sorted(choose(LABELS, 500, 1)) == list(range(500))


@pytest.mark.parametrize("rule", RULES)
def test_a_smaller_subset_is_a_prefix(rule: str) -> None:
    large = choose(LABELS, 200, 7, rule)
    for n in (5, 100, 199):
        assert np.array_equal(choose(LABELS, n, 7, rule), large[:n])
    assert not np.array_equal(choose(LABELS, 200, 8, rule), large)


def test_utrera_code_is_numpys_choice() -> None:
    for seed in (0, 3, 20_000_000):
        expected = np.random.RandomState(seed).choice(list(range(500)), size=40, replace=False)
        assert np.array_equal(choose(LABELS, 40, seed, "utrera_code"), expected)


def test_beyond_one_of_each_class_the_draw_is_uniform() -> None:
    drawn = np.zeros(500)
    for seed in range(2000):
        drawn[choose(LABELS, 55, seed)] += 1
    # Of 500 images, 5 come first and 50 of the other 495 follow; the one of class 3 is always there.
    rest = 50 / 495
    for label, size in enumerate([400, 3, 60, 1, 36]):
        expected = 1 / size + (1 - 1 / size) * rest
        found = drawn[label == LABELS].mean() / 2000
        assert abs(found - expected) < 4 * np.sqrt(expected / (2000 * size)) + 1e-9, label


def test_another_process_chooses_the_same() -> None:
    code = "import numpy as np; from rtx.datasets.label_subset import choose; print(*choose(np.arange(90) % 9, 12, 4))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Written down, so that another version of NumPy cannot change a published subset unseen.
    assert [int(word) for word in done.stdout.split()] == [0, 59, 89, 6, 64, 88, 12, 67, 20, 28, 31, 1]


def test_what_cannot_be_chosen_is_an_error() -> None:
    with pytest.raises(BadValue, match="501 images of a training set of 500"):
        choose(LABELS, 501, 0)
    with pytest.raises(BadValue, match=r"4 images for 5 classes.*utrera_code"):
        choose(LABELS, 4, 0)
    assert len(choose(LABELS, 4, 0, "utrera_code")) == 4
    with pytest.raises(BadValue, match="seed -1"):
        choose(LABELS, 50, -1)
    with pytest.raises(UnknownName, match="did you mean 'stratified'"):
        choose(LABELS, 50, 0, "stratifed")
