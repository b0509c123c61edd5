"""Whatever ranks models or calls one better says whether it may be chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtx.reports.figures import curve, families, scatter
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.text.verdict import verdict
from tests.reports.made import make_run

POINTS = {"curve": curve.point, "scatter": scatter.point, "families": families.point}
WORDS = ("may be chance", "no interval")


def _group(root: Path, robust: float, published: bool = False, **more: Any) -> Group:
    """Two models: one as robust as made by default, and another."""
    labels = {} if published else {"data": "fruits"}
    paths = [
        make_run(
            root,
            name,
            source=source,
            clean=0.3 + value / 5,
            robust=value,
            labels={"run": name, "config": "maskrcnn_r50", **labels},
            **more,
        )
        for name, source, value in (("std", "resnet50_l2_eps0", 0.2), ("eps3", "resnet50_l2_eps3", robust))
    ]
    (group,) = group_runs(load_runs(paths))
    return group


@pytest.mark.parametrize(
    ("robust", "more", "said"),
    [
        (0.5, {"resamples": 100}, ""),
        (0.5, {}, "no interval"),
        (0.5, {"resamples": 100, "n_images": 3}, "may be chance"),
        (0.2001, {"resamples": 100}, "may be chance"),
    ],
    ids=["sure", "no interval", "three images", "close"],
)
def test_a_title_that_ranks_models_says_how_sure_it_is(tmp_path: Path, robust: float, more: Any, said: str) -> None:
    group = _group(tmp_path, robust, n_images=more.pop("n_images", 900), **more)
    texts: dict[str, Callable[[Group], str]] = dict(POINTS)
    if robust < 0.25:
        texts = {"scatter": scatter.point}  # the others say that the models are alike
    for name, read in texts.items():
        assert [word for word in WORDS if word in read(group)] == ([said] if said else []), name


def test_a_distance_from_the_trend_says_how_sure_it_is(tmp_path: Path) -> None:
    bare = scatter.point(_group(tmp_path / "bare", 0.5, published=True))
    sure = scatter.point(_group(tmp_path / "sure", 0.5, published=True, resamples=100))
    assert "above the published trend" in bare and "above the published trend" in sure
    assert bare.endswith("(no interval)") and "(" not in sure


def test_a_gain_without_an_interval_is_possibly_chance(tmp_path: Path) -> None:
    bare = _group(tmp_path / "bare", 0.5)
    assert "against std (no interval), so it may be chance." in verdict(bare, bare.runs[1]).sentence
    sure = _group(tmp_path / "sure", 0.5, resamples=100)
    assert "chance" not in verdict(sure, sure.runs[1]).sentence
    close = _group(tmp_path / "close", 0.2001, resamples=100)
    assert "includes no difference" in verdict(close, close.runs[1]).sentence
