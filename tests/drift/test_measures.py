"""Laws of linear CKA with unbiased HSIC, of its jackknife, and of cosines."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from rtx.drift.measures import cka, cosine, grams, mean_without, minibatches
from rtx.errors import BadValue


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alike(x: torch.Tensor, y: torch.Tensor, size: int = 16) -> float:
    parts = minibatches(len(x), size, seed=0)
    return cka(grams(x, parts), grams(y, parts))[0]


def biased(x: torch.Tensor, y: torch.Tensor) -> float:
    """Kornblith et al. (2019), of centred features."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


def test_of_itself_it_is_one_to_the_last_bit() -> None:
    x = normal(40, 7).float() + 5
    parts = minibatches(40, 16, seed=0)
    value, without = cka(grams(x, parts), grams(x.clone(), parts))
    assert value == 1 and (without == 1).all()


def test_invariant_to_rotation_scale_and_shift_and_to_nothing_more() -> None:
    x = normal(40, 7) * torch.arange(1, 8)
    y = x @ normal(7, 5, seed=1)
    rotation = torch.linalg.qr(normal(7, 7, seed=2)).Q
    for other in (x @ rotation, 3.5 * x, x + 1e5):
        assert alike(x, other) == pytest.approx(1, abs=1e-9)
        assert alike(other, y) == pytest.approx(alike(x, y), abs=1e-9)
    assert alike(y, x) == alike(x, y)
    assert alike(x, x * torch.arange(1, 8) ** 2) < 0.99


def test_independent_features_have_none_where_the_biased_estimate_has_much() -> None:
    pairs = [(normal(24, 300, seed=2 * n), normal(24, 300, seed=2 * n + 1)) for n in range(40)]
    found = np.array([alike(*pair, size=24) for pair in pairs])
    assert abs(found.mean()) < 4 * found.std() / 40**0.5 and abs(found.mean()) < 0.02
    assert np.mean([biased(*pair) for pair in pairs]) > 0.8


def hsic(x: torch.Tensor, y: torch.Tensor) -> float:
    """By the definition, on matrices that are written out."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    k.fill_diagonal_(0)
    m.fill_diagonal_(0)
    one = torch.ones(n, 1, dtype=torch.float64)
    terms = (k @ m).trace() + (one.T @ k @ one) * (one.T @ m @ one) / ((n - 1) * (n - 2))
    return float((terms - 2 / (n - 2) * (one.T @ k @ m @ one)) / (n * (n - 3)))


def test_it_is_made_of_estimates_that_are_unbiased() -> None:
    """Over all parts of a population the mean is the population's own: then the size of a part has no bias."""
    x, y = normal(8, 3) + 2, normal(8, 4, seed=1) - 1
    parts = [list(part) for part in combinations(range(8), 5)]
    assert np.mean([hsic(x[part], y[part]) for part in parts]) == pytest.approx(hsic(x, y), abs=1e-10)
    two = torch.cat([x, 3 * x[:, :1] + normal(8, 2, seed=4)], 1)
    halves = torch.cat([x, normal(8, 3, seed=5)]), torch.cat([two, normal(8, 5, seed=6)])
    parts = minibatches(16, 16, seed=0)
    own = [hsic(a, b) for a, b in ((halves[0], halves[1]), (halves[0],) * 2, (halves[1],) * 2)]
    value = cka(grams(halves[0], parts), grams(halves[1], parts))[0]
    assert value == pytest.approx(own[0] / (own[1] * own[2]) ** 0.5, abs=1e-12)


def test_minibatches_are_summed_before_the_ratio() -> None:
    x, y = normal(40, 5), normal(40, 6, seed=1)
    y[:, :3] += x[:, :3]
    parts = minibatches(40, 16, seed=3)
    assert [len(part) for part in parts] == [14, 13, 13] and sorted(np.concatenate(parts)) == list(range(40))
    sums = [sum(hsic(a[part], b[part]) for part in parts) for a, b in ((x, y), (x, x), (y, y))]
    value = cka(grams(x, parts), grams(y, parts))[0]
    assert value == pytest.approx(sums[0] / (sums[1] * sums[2]) ** 0.5, abs=1e-12)


def test_the_jackknife_leaves_out_each_image() -> None:
    x, y = normal(20, 5) + 3, normal(20, 6, seed=1)
    y[:, :5] += x
    parts = minibatches(20, 16, seed=0)
    _, without = cka(grams(x, parts), grams(y, parts))
    place = 0
    for number, part in enumerate(parts):
        for row in part:
            fewer = [p if n != number else p[p != row] for n, p in enumerate(parts)]
            sums = [sum(hsic(a[p], b[p]) for p in fewer) for a, b in ((x, y), (x, x), (y, y))]
            assert without[place] == pytest.approx(sums[0] / (sums[1] * sums[2]) ** 0.5, abs=1e-11)
            place += 1


def test_dead_features_are_undefined() -> None:
    parts = minibatches(16, 16, seed=0)
    value, without = cka(grams(torch.ones(16, 3), parts), grams(normal(16, 3), parts))
    assert np.isnan(value) and np.isnan(without).all()


@pytest.mark.parametrize(("n", "size"), [(7, 16), (100, 15), (0, 256)])
def test_too_few(n: int, size: int) -> None:
    with pytest.raises(BadValue, match=f"{n} images in minibatches of {size}.*--images"):
        minibatches(n, size, 0)


def test_cosine_of_nothing() -> None:
    x = torch.tensor([[3.0, 0, 0, 1], [4, 0, 0, 1]])
    y = torch.tensor([[3.0, 0, 2, -1], [4, 0, 0, -1]])
    assert cosine(x, y).tolist() == [1, 1, 0, -1]
    value, without = mean_without(np.array([0.0, 0.5, 1.0]))
    assert value == 0.5 and without.tolist() == [0.75, 0.5, 0.25]


def test_equals_pytorch_cka() -> None:
    theirs = pytest.importorskip("cka", reason="pytorch-cka is not installed")
    x, y = normal(60, 9), normal(60, 12, seed=1)
    y[:, :9] += x
    parts = minibatches(60, 20, seed=0)
    a, b = ([features[torch.from_numpy(part)] for part in parts] for features in (x, y))
    ours = [cka(grams(one, [np.arange(20)]), grams(two, [np.arange(20)]))[0] for one, two in zip(a, b, strict=True)]
    assert [float(theirs.cka_from_features(one, two)) for one, two in zip(a, b, strict=True)] == pytest.approx(ours)
    kernels = [torch.stack([one @ one.T for one in rows]) for rows in (a, b)]
    sums = [matrix.diagonal().sum() if matrix.ndim == 2 else matrix.sum() for matrix in theirs.hsic(*kernels)]
    whole = cka(grams(x, parts), grams(y, parts))[0]
    assert float(sums[0] / (sums[1] * sums[2]).sqrt()) == pytest.approx(whole, abs=1e-10)
