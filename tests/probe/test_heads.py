"""Heads are the minimum that scikit-learn finds, in whatever groups they are fitted."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from rtx.errors import BadValue
from rtx.probe.design import spread
from rtx.probe.heads import Column, Fit, fit
from rtx.probe.source import load_frozen
from tests.probe.worlds import blobs


def together(fits: list[Fit]) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (S, J, K, D) and biases of all groups in order."""
    rows: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
    for one in fits:
        for a, subset in enumerate(one.subsets):
            for b, column in enumerate(one.columns):
                rows[subset, column] = (one.weight[a, b], one.bias[a, b])
    subsets, columns = (sorted({key[axis] for key in rows}) for axis in (0, 1))
    return tuple(torch.stack([torch.stack([rows[s, j][part] for j in columns]) for s in subsets]) for part in (0, 1))  # type: ignore[return-value]


def test_equals_scikit_learn_on_features_of_real_digits() -> None:
    digits = load_digits()
    pixels = torch.from_numpy(digits.images[:700] * 15).to(torch.uint8)
    pixels = pixels.repeat_interleave(4, 1).repeat_interleave(4, 2)[..., None].expand(-1, -1, -1, 3)
    features = load_frozen("resnet18:random")(pixels).numpy()
    labels = digits.target[:700].astype(np.int64)
    test, test_labels = features[500:], labels[500:]
    decays = [spread(features[:500]) * relative for relative in (1e-4, 1e-2)]
    subsets = np.stack([np.random.default_rng(seed).permutation(500)[:200] for seed in range(1)])
    fits = sorted(
        fit(features, labels, subsets, [Column(decay) for decay in decays], classes=10), key=lambda f: f.columns
    )
    assert all(bool(found.converged.all()) for found in fits)
    centre = features[:500].mean(0)  # its solver needs it; weights are the same, the bias moves along
    for s, rows in enumerate(subsets):
        for j, decay in enumerate(decays):
            theirs = LogisticRegression(C=1 / (decay * len(rows)), tol=1e-7, max_iter=20_000)
            theirs.fit((features[rows] - centre).astype(np.float64), labels[rows])
            ours, bias = fits[j].weight[s, 0].numpy(), fits[j].bias[s, 0].numpy()
            assert np.abs(ours - theirs.coef_).max() < 1e-3
            moved = theirs.intercept_ - theirs.coef_ @ centre
            np.testing.assert_allclose(bias - bias.mean(), moved - moved.mean(), atol=1e-2)
            guess = (test @ ours.T + bias).argmax(1)
            score = theirs.score((test - centre).astype(np.float64), test_labels)
            assert abs((guess == test_labels).mean() - score) <= 1e-3
            np.testing.assert_array_equal(fits[j].right[s, 0], theirs.predict(features[rows] - centre) == labels[rows])


def test_groups_and_streams_change_nothing() -> None:
    x, y = blobs(60, 20, 3)
    subsets = np.stack([np.random.default_rng(seed).permutation(60)[:50] for seed in range(3)])
    columns = [Column(decay) for decay in (0.01, 0.1, 1.0)]
    whole = together(list(fit(x, y, subsets, columns, classes=3)))
    for budget, groups in ((80_000, 4), (8_000, 9)):
        pieces = list(fit(x, y, subsets, columns, classes=3, budget=budget, tolerance=1e-6))
        assert len(pieces) >= groups
        for a, b in zip(whole, together(pieces), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc")
def test_features_larger_than_the_budget_are_read_in_pieces(tmp_path: Path) -> None:
    """400,000 x 128 features are 195 MiB, and 390 in the float64 of small fits; labels and weights of rows grow."""
    n, width = 400_000, 128
    features = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (n, width))
    features[:: n // 100] = np.random.default_rng(0).normal(size=(100, width))  # the rest is a hole
    features.flush()
    features = np.load(tmp_path / "x.npy", mmap_mode="r")
    labels = np.arange(n) % 10

    def held() -> float:
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024

    before, peak, going = held(), [0.0], threading.Event()

    def watch() -> None:
        while not going.wait(0.005):
            peak[0] = max(peak[0], held())

    watcher = threading.Thread(target=watch)
    watcher.start()
    (found,) = fit(features, labels, np.arange(n)[None], [Column(0.1)], classes=10, budget=2**25, max_evaluations=3)
    going.set()
    watcher.join()
    assert found.evaluations == 3 and peak[0] - before < 100, peak[0] - before


def test_the_way_to_a_minimum_changes_nothing() -> None:
    """Alone from zero, or along a path of stronger decays, near or far, in any order; where float32 is not enough."""
    x, y = blobs(60, 20, 3)
    subsets = np.stack([np.random.default_rng(seed).permutation(60)[:50] for seed in range(2)])
    folds = np.tile(np.arange(50) % 5, (2, 1))
    columns = [Column(decay, fold) for decay in (1e-4, 3.0, 0.03, 0.1, 0.0999) for fold in (None, 3)]
    given = dict(classes=3, folds=folds, tolerance=1e-10, max_evaluations=5000)
    weight, bias = together(list(fit(x, y, subsets, columns, **given)))
    for j, column in enumerate(columns):
        (alone,) = fit(x, y, subsets, [column], **given)
        assert bool(alone.converged.all())
        exact = 1e-6 if column.left_out is None else 1e-3
        torch.testing.assert_close(weight[:, j], alone.weight[:, 0], rtol=exact, atol=exact)
        # A number added to every bias changes nothing.
        centred = [found - found.mean(-1, keepdim=True) for found in (bias[:, j], alone.bias[:, 0])]
        torch.testing.assert_close(*centred, rtol=10 * exact, atol=10 * exact)


def test_a_path_takes_fewer_steps() -> None:
    x, y = blobs(200, 40, 3, apart=0.3)
    columns = [Column(10.0**-k, 0) for k in range(6)]
    given = dict(classes=3, folds=(np.arange(200) % 5)[None])
    path = sum(found.evaluations for found in fit(x, y, np.arange(200)[None], columns, **given))
    alone = sum(found.evaluations for c in columns for found in fit(x, y, np.arange(200)[None], [c], **given))
    assert path < 0.7 * alone, (path, alone)


def test_a_left_out_fold_is_a_fit_on_the_rest() -> None:
    x, y = blobs(60, 20, 3)
    folds = (np.arange(60) % 5)[None]
    everything = np.arange(60)[None]
    (found,) = fit(x, y, everything, [Column(0.1), Column(0.1, 2)], classes=3, folds=folds, tolerance=1e-9)
    (rest,) = fit(x, y, np.flatnonzero(folds[0] != 2)[None], [Column(0.1)], classes=3, tolerance=1e-9)
    torch.testing.assert_close(found.weight[0, 1], rest.weight[0, 0], rtol=0, atol=1e-5)
    assert float((found.weight[0, 0] - rest.weight[0, 0]).abs().max()) > 1e-3
    out = torch.from_numpy(folds[0] == 2)
    logits = torch.from_numpy(x[folds[0] == 2]).double() @ found.weight[0, 1].T + found.bias[0, 1]
    right = logits.log_softmax(1).gather(1, torch.from_numpy(y[folds[0] == 2])[:, None])[:, 0]
    torch.testing.assert_close(found.log_probability[0, 1][out], right, rtol=0, atol=1e-9)


def test_more_features_than_images_and_constant_ones() -> None:
    x, y = blobs(30, 200, 3)
    x[:, 5] = 7.0
    (found,) = fit(x, y, np.arange(30)[None], [Column(0.1)], classes=3)
    assert bool(found.converged.all()) and float(found.weight[0, 0, :, 5].abs().max()) < 1e-9
    ours = torch.from_numpy(x).double() @ found.weight[0, 0].T + found.bias[0, 0]
    torch.testing.assert_close(
        ours.log_softmax(1).gather(1, torch.from_numpy(y)[:, None])[:, 0], found.log_probability[0, 0]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(classes=2), "labels run from 0 to 2; 2 classes"),
        (dict(columns=[Column(0.0)]), "weight decay 0.0"),
        (dict(columns=[]), "weight decay missing"),
        (dict(subsets=np.array([[0, 60]])), "a row that is not among the 60"),
        (dict(labels=np.zeros(3, np.int64)), "60 rows of features and 3 labels"),
    ],
)
def test_bad_input(change: dict, said: str) -> None:
    x, y = blobs(60, 5, 3)
    given = dict(features=x, labels=y, subsets=np.arange(60)[None], columns=[Column(0.1)], classes=3) | change
    with pytest.raises(BadValue, match=said):
        list(fit(**given))


@pytest.mark.gpu
def test_a_gpu_finds_the_same_heads() -> None:
    x, y = blobs(60, 20, 3)
    subsets = np.stack([np.random.default_rng(seed).permutation(60)[:50] for seed in range(3)])
    for budget in (1 << 30, 8_000):
        on_cpu, on_gpu = (
            together(list(fit(x, y, subsets, [Column(0.1)], classes=3, device=device, budget=budget)))
            for device in ("cpu", "cuda")
        )
        for a, b in zip(on_cpu, on_gpu, strict=True):
            torch.testing.assert_close(a, b.cpu(), rtol=0, atol=1e-3)
