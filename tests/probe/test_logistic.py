"""The weight decay is the best on held-out training images; only when asked, on the test set."""

from __future__ import annotations

import numpy as np
import pytest

from rtx.errors import UnknownName
from rtx.probe.design import spread
from rtx.probe.folds import deal
from rtx.probe.heads import Column, fit
from rtx.probe.logistic import DECAYS as STANDARD
from rtx.probe.logistic import LOWER, Split, probe
from tests.probe.worlds import blobs

DECAYS = (1e-2, 1.0, 1e3)


@pytest.fixture
def split() -> Split:
    x, y = blobs(120, 10, 4, apart=0.5)
    return Split(x[:80], y[:80], x[80:], y[80:], 4)


def test_held_out(split: Split) -> None:
    subsets = np.stack([np.random.default_rng(seed).permutation(80)[:40] for seed in range(2)])
    found = probe(split, subsets, spread=2.0, decays=DECAYS)
    for rows, one in zip(subsets, found, strict=True):
        folds = deal(split.train_labels[rows])
        scores = []
        for decay in DECAYS:
            right, log_probability = 0, 0.0
            for fold in range(5):
                out = folds == fold
                (head,) = fit(split.train, split.train_labels, rows[~out][None], [Column(2 * decay)], classes=4)
                logits = split.train[rows[out]] @ head.weight[0, 0].numpy().T + head.bias[0, 0].numpy()
                truth = split.train_labels[rows[out]]
                right += (logits.argmax(1) == truth).sum()
                logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
                log_probability += logits[np.arange(len(truth)), truth].sum()
            scores.append((right, log_probability))
        right = [count for count, _ in scores]
        smooth = [2 * right[0] + right[1], sum(right), right[1] + 2 * right[2]]
        best = max(range(3), key=lambda g: (smooth[g], scores[g][1]))
        assert one.decay == DECAYS[best] and one.selected_on == "held-out"
        assert one.held_out_accuracy == pytest.approx(scores[best][0] / 40)
        assert one.at_edge == (best in (0, 2)) and one.converged
        (head,) = fit(split.train, split.train_labels, rows[None], [Column(2 * one.decay)], classes=4)
        guess = (split.test @ head.weight[0, 0].numpy().T + head.bias[0, 0].numpy()).argmax(1)
        assert one.accuracy == pytest.approx((guess == split.test_labels).mean())


def test_the_test_labels_decide_nothing_unless_asked(split: Split) -> None:
    subsets = np.arange(40)[None]
    other = Split(split.train, split.train_labels, split.test, (split.test_labels + 1) % 4, 4)
    one, two = (probe(s, subsets, spread=2.0, decays=DECAYS)[0] for s in (split, other))
    assert one.decay == two.decay and one.accuracy != two.accuracy
    grid = [probe(split, subsets, spread=2.0, decays=[decay])[0] for decay in DECAYS]
    on_test = probe(split, subsets, spread=2.0, decays=DECAYS, select="test")[0]
    assert on_test.accuracy == max(g.accuracy for g in grid) and on_test.selected_on == "test"
    assert on_test.held_out_accuracy is None and not grid[0].at_edge
    by_class = probe(split, subsets, spread=2.0, decays=DECAYS, select="test", by_class=True)[0]
    assert by_class.mean_per_class == max(g.mean_per_class for g in grid)


def test_the_grid_goes_on_below_where_its_lower_end_is_chosen() -> None:
    """One direction without meaning holds nearly all of the spread; the classes need a decay far below it."""
    x, y = blobs(400, 10, 4, apart=0.8)
    x[:, 0] = 300 * np.random.default_rng(0).normal(size=len(x))
    split = Split(x[:200], y[:200], x[200:], y[200:], 4)
    subsets = np.stack([np.random.default_rng(seed).permutation(200)[:60] for seed in range(2)])
    scale = spread(split.train)
    found = probe(split, subsets, spread=scale)
    assert all(one.decay in LOWER for one in found)
    for n, (rows, one) in enumerate(zip(subsets, found, strict=True)):
        # Each seed by itself, on the whole grid.
        (alone,) = probe(split, rows[None], spread=scale, decays=[*LOWER, *STANDARD])
        assert alone.decay == one.decay and alone.accuracy == pytest.approx(one.accuracy), n
        assert alone.held_out_accuracy == one.held_out_accuracy and alone.at_edge == one.at_edge


def test_the_grid_goes_on_below_where_all_of_it_is_near_chance() -> None:
    """So large a direction without meaning that some decay of the grid is the best by chance alone."""
    x, y = blobs(400, 10, 4, apart=0.8)
    x[:, 0] = 3000 * np.random.default_rng(0).normal(size=len(x))
    split = Split(x[:200], y[:200], x[200:], y[200:], 4)
    subsets = np.stack([np.random.default_rng(seed).permutation(200)[:60] for seed in range(8)])
    scale = spread(split.train)
    standard = probe(split, subsets, spread=scale, decays=STANDARD)
    misled = [n for n, one in enumerate(standard) if one.decay != min(STANDARD) and one.accuracy < 0.5]
    assert misled, "a seed whose best is by chance not the lower end"
    found = probe(split, subsets, spread=scale)
    assert all(found[n].decay in LOWER and found[n].accuracy > 0.5 for n in misled)


def test_seeds_inside_the_grid_stay_there(split: Split) -> None:
    subsets = np.stack([np.random.default_rng(seed).permutation(80)[:40] for seed in range(2)])
    scale = spread(split.train)
    assert probe(split, subsets, spread=scale) == probe(split, subsets, spread=scale, decays=STANDARD)


def test_one_image_a_class_takes_the_default(split: Split) -> None:
    firsts = np.array([[int(np.flatnonzero(split.train_labels == label)[0]) for label in range(4)]])
    (found,) = probe(split, firsts, spread=2.0)
    assert found.selected_on == "default" and found.decay == pytest.approx(1e-3) and found.held_out_accuracy is None


def test_an_unknown_selection(split: Split) -> None:
    with pytest.raises(UnknownName, match="'val'"):
        probe(split, np.arange(40)[None], spread=1.0, select="val")
