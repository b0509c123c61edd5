"""Influence in closed form against automatic differentiation, retraining and another library; bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rtx.errors import BadValue, UnknownName
from rtx.influence import head as heads
from rtx.influence import solve
from rtx.influence.head import CURVATURES, Inverse, SoftmaxHead, influences, output_curvature
from tests.influence.worlds import by_autograd, fitted, losses, minimum


def penalty(head: SoftmaxHead, weight: float, bias: float) -> Any:
    blocks = np.full((len(head.bias), head.weight.shape[1] + 1), weight)
    blocks[:, -1] = bias
    return np.diag(blocks.ravel() * len(head.train))


@pytest.mark.parametrize("shape", [(60, 5, 3), (7, 12, 3), (40, 4, 2)], ids=["tall", "fewer rows than features", "two"])
def test_equals_the_autograd_hessian(shape: tuple[int, int, int]) -> None:
    head = fitted(*shape)
    hessian, train, test = by_autograd(head)
    close = dict(rtol=1e-10, atol=1e-10)
    found = influences(head, Inverse("ridge", 0.03)).values
    assert np.allclose(found, test @ np.linalg.inv(hessian + penalty(head, 0.03, 0.03)) @ train.T, **close)
    found = influences(head, Inverse("pinv", 0.05)).values
    assert np.allclose(found, test @ np.linalg.pinv(hessian, rcond=0.05, hermitian=True) @ train.T, **close)
    found = influences(replace(head, bias_decays=True)).values
    assert np.allclose(found, test @ np.linalg.inv(hessian + penalty(head, 0.02, 0.02)) @ train.T, **close)
    # Without decay of the bias the class shift stays singular; gradients have no part in it.
    found = influences(head).values
    inverse = np.linalg.pinv(hessian + penalty(head, 0.02, 0.0), rcond=1e-12, hermitian=True)
    assert np.allclose(found, test @ inverse @ train.T, **close)


def test_pseudo_inverse_without_a_cut_is_the_inverse_on_the_span() -> None:
    head = fitted()
    hessian, train, test = by_autograd(head)
    found = influences(head, Inverse("pinv", 1e-20))
    assert found.solver == "cholesky" and found.unknowns == 2 * 6
    assert np.allclose(found.values, test @ np.linalg.pinv(hessian, rcond=1e-12, hermitian=True) @ train.T, rtol=1e-8)


def test_lanczos_finds_what_the_dense_matrix_has(monkeypatch: pytest.MonkeyPatch) -> None:
    head = fitted(200, 60, 8, apart=0.2)
    dense = influences(head, Inverse("pinv", 0.5))
    monkeypatch.setattr(solve, "_DENSE", 10)
    found = influences(head, Inverse("pinv", 0.5))
    assert (dense.solver, found.solver, found.kept) == ("eigh", "lanczos", dense.kept)
    assert np.allclose(found.values, dense.values, rtol=1e-10, atol=1e-10)
    with pytest.raises(BadValue, match=r"more than 64 of 427 eigenvalues .* raise it"):
        influences(head, Inverse("pinv", 1e-6))


def test_more_test_than_training_images_is_the_same() -> None:
    head = fitted(30, tests=50)
    few = replace(head, test=head.test[:4], test_labels=head.test_labels[:4])
    assert np.allclose(influences(head).values[:4], influences(few).values, rtol=1e-10)


def test_pieces_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    head = fitted(60, 8, 3)
    whole = influences(head)
    monkeypatch.setattr(heads, "AT_ONCE", 4)
    monkeypatch.setattr(solve, "AT_ONCE", 4)
    found = influences(head)
    assert np.allclose(found.values, whole.values, rtol=1e-12)
    assert found.condition == pytest.approx(whole.condition, rel=1e-9)


def test_curvatures() -> None:
    """Hessian, Gauss-Newton and Fisher are one matrix on a linear softmax head; the empirical one is another."""
    head = fitted()
    found = {kind: influences(head, curvature=kind).values for kind in CURVATURES}
    assert np.allclose(found["ggn"], found["hessian"], rtol=1e-12)
    assert np.allclose(found["fisher"], found["hessian"], rtol=1e-12)
    assert not np.allclose(found["empirical"], found["hessian"], rtol=0.1)
    _, train, test = by_autograd(head)
    inverse = np.linalg.inv(train.T @ train + penalty(head, 0.03, 0.03))
    assert np.allclose(
        influences(head, Inverse("ridge", 0.03), "empirical").values, test @ inverse @ train.T, rtol=1e-9
    )
    p, residual = head.residuals(head.train, head.train_labels)
    with pytest.raises(UnknownName, match="curvature 'hesian'"):
        output_curvature(p, residual, "hesian")
    # Where the head is right about how sure it is, the empirical Fisher matrix tends to the true one.
    y = torch.multinomial(p.repeat(20_000, 1), 1, generator=torch.Generator().manual_seed(0))[:, 0].view(20_000, -1)
    drawn = p - torch.nn.functional.one_hot(y, 3)
    mean = torch.einsum("sik,sil->ikl", drawn, drawn) / len(drawn)
    assert torch.allclose(mean, output_curvature(p, residual, "hessian"), atol=0.02)


@pytest.mark.parametrize("inverse", [Inverse(), Inverse("ridge", 1e-3)], ids=str)
@pytest.mark.parametrize("kind", ["hessian", "empirical"])
def test_without_the_matrix_it_is_the_same(inverse: Inverse, kind: str) -> None:
    head = fitted(60, 7, 5)
    dense = influences(head, inverse, kind)
    found = influences(head, inverse, kind, solver="cg", memory=1)
    assert np.allclose(found.values, dense.values, rtol=1e-7, atol=1e-8 * np.abs(dense.values).max())
    assert found.solver == "cg" and np.isnan(found.condition) and found.unknowns == dense.unknowns
    with pytest.raises(BadValue, match=r"--solver cg: damps, and --inverse pinv:0.05 does not"):
        influences(head, Inverse("pinv", 0.05), solver="cg")
    with pytest.raises(UnknownName, match=r"solver 'dens'.*did you mean 'dense'"):
        influences(head, solver="dens")


def test_conjugate_gradients_say_where_they_do_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtx.influence.solve._MOST_STEPS", 2)
    with pytest.raises(BadValue, match=r"--solver cg, --inverse decay: 2 steps leave \d\.\de[-+]\d+ .*damp more"):
        influences(fitted(), solver="cg")


def left_out(head: SoftmaxHead, count: int) -> Any:
    """Growth of each test loss (m, count) where one of the first images is left out and the head fitted again."""
    before, n = losses(head, head.weight, head.bias), len(head.train)
    # The sum of the losses has a decay of n; without one image it keeps it.
    decay = head.decay * n / (n - 1)
    heads = (minimum(head.train, head.train_labels, np.delete(np.arange(n), i), decay, 3) for i in range(count))
    return np.stack([losses(head, *again) - before for again in heads], 1)


def test_leaving_an_image_out_and_training_again() -> None:
    head = fitted(48, 6, 3)
    change, found = left_out(head, 48), influences(head).values
    assert np.corrcoef(found.ravel(), change.ravel())[0, 1] > 0.98
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(found, change, strict=True)) > 0.9


def test_it_is_in_nats() -> None:
    """Of thirty copies of each image one matters so little that the first order is all."""
    head = fitted(48, 6, 3)
    many = replace(head, train=np.tile(head.train, (30, 1)), train_labels=np.tile(head.train_labels, 30))
    change, found = left_out(many, 10), influences(many).values[:, :10]
    assert np.allclose(found, influences(head).values[:, :10] / 30, rtol=1e-8)
    assert np.polyfit(change.ravel(), found.ravel(), 1)[0] == pytest.approx(1, abs=0.05)


def test_a_sure_head_keeps_its_digits() -> None:
    """1 - p is zero in float64 where the other classes share 1e-20."""
    head = SoftmaxHead(np.eye(2) * 23, np.zeros(2), np.eye(2, dtype=np.float32), np.arange(2), *[np.zeros(0)] * 2, 0)
    _, residual = head.residuals(head.train, head.train_labels)
    assert residual[0, 0].item() == pytest.approx(-np.exp(-23), rel=1e-9, abs=0)
    sure = replace(head, weight=np.eye(2) * 50)
    assert sure.residuals(sure.train, sure.train_labels)[1][0, 0].item() == pytest.approx(-np.exp(-50), rel=1e-9, abs=0)


def test_gradient_norm_is_zero_at_the_optimum() -> None:
    head = fitted()
    assert head.gradient_norm() < 1e-9
    assert replace(head, decay=0.04).gradient_norm() > 1e-3
    assert head.gradient_share() < 1e-8
    zeros = replace(head, weight=0 * head.weight, bias=0 * head.bias)
    assert zeros.gradient_share() == 1 and replace(zeros, decay=5.0).gradient_norm() == zeros.gradient_norm()


def test_bad_input() -> None:
    head = fitted()
    few = replace(head, train=head.train[:2], train_labels=head.train_labels[:2])
    with pytest.raises(BadValue, match="2 training images and 3 classes"):
        influences(few)
    far = replace(head, weight=head.weight * 400, bias=head.bias * 400)
    with pytest.raises(BadValue, match=r"condition number (inf|\d.\de\+\d+).*ridge:1e-4"):
        influences(far, Inverse("pinv", 0.0))
    with pytest.raises(BadValue, match=r"12 unknowns \(2 x 6\) need .* --memory"):
        influences(head, memory=1000)


@pytest.mark.parametrize(
    "text", ["ridge", "ridge:-1", "ridge:nan", "ridge:inf", "pinv:1", "pinv:x", "decay:2", "svd:1"]
)
def test_inverses_that_do_not_exist(text: str) -> None:
    with pytest.raises((BadValue, UnknownName), match=text):
        Inverse.parse(text)


def test_inverses_are_printed_as_they_are_read() -> None:
    for text in ("decay", "ridge:0.001", "pinv:1e-20"):
        assert str(Inverse.parse(text)) == text
