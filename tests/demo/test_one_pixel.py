"""The one-pixel task: an eps-robust feature fails below beta = eps and works above it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from rtx.cli import main
from rtx.demo.one_pixel import feature, images, one_pixel
from rtx.errors import BadValue


@pytest.mark.parametrize("eps", [0.05, 0.5, 2.0])
def test_a_robust_feature_transfers_where_the_margin_exceeds_eps(eps: float) -> None:
    found = one_pixel([0, eps], [eps * f for f in (0.1, 0.5, 0.9, 1.1, 1.5, 4)])
    standard, robust = found.accuracy
    assert (standard == 1).all()
    assert (robust[3:] == 1).all()
    assert (robust[:3] == 0.5).all()
    assert (found.response[1, :3] == 0).all() and (found.response[1, 3:] > 0).all()


@pytest.mark.parametrize(("eps", "beta"), [(0.0, 1.0), (0.5, 1.0), (1.0, 3.0)])
def test_the_weights_are_where_the_objective_is_least(eps: float, beta: float) -> None:
    """The optimum is along the pixel: a w with (beta - eps) sigmoid(-(beta - eps) w) = decay w."""
    rng = np.random.default_rng(0)
    weights = feature(*images(beta, rng), eps=eps, rng=rng)
    margin, w = beta - eps, float(weights[0])
    assert margin / (1 + np.exp(margin * w)) == pytest.approx(0.01 * w, rel=0.03)
    assert np.abs(weights[1:]).max() < 0.01


def test_no_perturbation_of_norm_eps_fools_the_robust_feature() -> None:
    rng = np.random.default_rng(1)
    pixels, labels = images(1.0, rng)
    weights = feature(pixels, labels, eps=0.8, rng=rng)
    assert (labels * (pixels @ weights) > 0.8 * np.linalg.norm(weights)).all()


def test_the_command_writes_a_figure_and_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["one_pixel", "--out", str(tmp_path), "--eps", "0", "1", "--beta", "0.5", "2"]) == 0
    assert "eps 1: right from beta 2 on" in capsys.readouterr().out
    with (tmp_path / "one_pixel.csv").open() as file:
        rows = {(row["eps"], row["beta"]): float(row["accuracy"]) for row in csv.DictReader(file)}
    assert rows == {("0", "0.5"): 1, ("0", "2"): 1, ("1", "0.5"): 0.5, ("1", "2"): 1}
    assert (tmp_path / "one_pixel.png").stat().st_size > 5000


@pytest.mark.parametrize("options", [dict(eps=[-1.0]), dict(beta=[0.0]), dict(eps=[]), dict(beta=[float("inf")])])
def test_what_is_no_task_is_refused(options: dict[str, list[float]]) -> None:
    with pytest.raises(BadValue, match="0 or more and beta"):
        one_pixel(**options)
