"""Coordinates of a design are the rows, turned and centred; weights found there are the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rtx.probe.design import Design, spread
from tests.probe.worlds import blobs


@pytest.mark.parametrize(("n", "width"), [(12, 30), (40, 7)])
def test_rows_come_back(n: int, width: int) -> None:
    x, _ = blobs(50, width, 3)
    subsets = np.stack([np.random.default_rng(seed).permutation(50)[:n] for seed in range(2)])
    design = Design(x, subsets, "cpu")
    rows = torch.cat([piece for _, piece in design.chunks(5, torch.float64)], 1)
    assert rows.shape == (2, n, min(n, width))
    back = rows @ design.basis.mT + design.mean[:, None]
    np.testing.assert_allclose(back.numpy(), x[subsets], atol=1e-5)
    np.testing.assert_allclose((rows**2).mean(1), design.variance, atol=1e-9)


def test_streamed_is_the_same_head() -> None:
    x, _ = blobs(50, 7, 3)
    subset = np.arange(40)[None]
    design = Design(x, subset, "cpu", streamed=True)
    weight, bias = torch.randn(1, 2, 3, 7, dtype=torch.float64), torch.randn(1, 2, 3, dtype=torch.float64)
    pieces = [
        (part, rows @ design.to_rows(weight.flatten(1, 2)).float().mT)
        for part, rows in design.chunks(11, torch.float32)
    ]
    assert [part.start for part, _ in pieces] == [0, 11, 22, 33]
    logits = torch.cat([found for _, found in pieces], 1).view(1, 40, 2, 3) + bias[:, None]
    raw_weight, raw_bias = design.raw_head(weight, bias)
    direct = torch.einsum("nf,sjkf->snjk", torch.from_numpy(x[:40]).double(), raw_weight) + raw_bias[:, None]
    torch.testing.assert_close(logits.double(), direct, rtol=0, atol=1e-4)


def test_spread_is_the_total_variance() -> None:
    x, _ = blobs(50, 7, 3)
    assert spread(x, 8) == pytest.approx(x.astype(np.float64).var(0).sum())


def test_a_sample_conditions_and_changes_no_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtx.probe.design._SAMPLE", 10)
    x, _ = blobs(50, 7, 3)
    design = Design(x, np.arange(50)[None], "cpu", streamed=True)
    np.testing.assert_allclose(design.mean[0], x[::5].astype(np.float64).mean(0), atol=1e-6)
    weight, bias = torch.randn(1, 2, 3, 7, dtype=torch.float64), torch.randn(1, 2, 3, dtype=torch.float64)
    logits = torch.cat(
        [rows @ design.to_rows(weight.flatten(1, 2)).float().mT for _, rows in design.chunks(8, torch.float32)], 1
    )
    raw_weight, raw_bias = design.raw_head(weight, bias)
    direct = torch.einsum("nf,sjkf->snjk", torch.from_numpy(x).double(), raw_weight) + raw_bias[:, None]
    torch.testing.assert_close(logits.view(1, 50, 2, 3).double() + bias[:, None], direct, rtol=0, atol=1e-4)
