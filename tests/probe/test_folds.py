"""Held-out images: each once, classes in turn, and never the last one of a class."""

from __future__ import annotations

import numpy as np
import pytest

from rtx.probe.folds import FOLDS, deal, left_out


@pytest.mark.parametrize("seed", range(5))
def test_every_class_stays_and_folds_are_even(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 12, 100) * 3
    labels[0] = 50  # alone in its class
    folds = deal(labels)
    assert folds[0] == -1 and set(folds[1:]) <= {-1, *range(FOLDS)}
    for fold in range(FOLDS):
        assert set(labels[folds != fold]) == set(labels)
    counts = np.bincount(folds[folds >= 0], minlength=FOLDS)
    assert counts.max() - counts.min() <= 1
    for label in np.unique(labels):
        mine = np.bincount(folds[(labels == label) & (folds >= 0)], minlength=FOLDS)
        assert mine.max() - mine.min() <= 1


def test_one_image_a_class_holds_nothing_out() -> None:
    assert (deal(np.arange(20)) == -1).all()


def test_large_sets_hold_out_once() -> None:
    assert len(left_out(999)) == FOLDS and left_out(1000) == (0,)
