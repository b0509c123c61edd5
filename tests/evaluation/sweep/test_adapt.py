"""Batch-norm statistics of the evaluated images: what they are, that they come and go, and that the card says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rtx import evaluate
from rtx.errors import BadValue
from rtx.evaluation.norm_adaptation import NormAdaptation
from rtx.evaluation.sweep.adapt import Adapted
from rtx.files import read_json
from rtx.results.protocol import differing
from tests.evaluation.class_folders import class_config, make_folders, train


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    with torch.no_grad():
        layers[1].running_mean.normal_()
    return layers.eval()


def state(model: nn.Module) -> list[torch.Tensor]:
    return [t.clone() for t in model.state_dict().values()]


def test_one_batch_without_prior_gives_what_training_mode_computes() -> None:
    x = torch.randn(6, 3, 20, 20)
    model, twin = net(), net().train()
    for norm in (twin[1], twin[4]):
        norm.momentum = 1.0
    with torch.no_grad():
        twin(x)
        Adapted(model, NormAdaptation(6)).estimate([(6, lambda: model(x))])
    torch.testing.assert_close(model[4].running_mean, twin[4].running_mean)
    count = x.shape[0] * 16 * 16
    torch.testing.assert_close(model[4].running_var, twin[4].running_var * (count - 1) / count)


def test_of_the_first_layer_the_batch_size_changes_nothing() -> None:
    x, model = torch.randn(6, 3, 20, 20), net()
    found = []
    for size in (1, 2, 6):
        with torch.no_grad():
            parts = [(size, lambda part=part: model(part)) for part in x.split(size)]
            Adapted(model, NormAdaptation(6)).estimate(parts)
        found.append((model[1].running_mean.clone(), model[1].running_var.clone()))
    for mean, var in found[1:]:
        torch.testing.assert_close(mean, found[0][0])
        torch.testing.assert_close(var, found[0][1])


def test_the_prior_mixes_linearly_and_everything_can_be_undone() -> None:
    x, model = torch.randn(4, 3, 20, 20), net()
    before = state(model)
    trained = model[1].running_mean.clone()
    means = {}
    for prior in (0.0, 4.0, 1e12):
        adapted = Adapted(model, NormAdaptation(4, prior))
        with torch.no_grad():
            adapted.estimate([(4, lambda: model(x))])
        means[prior] = model[1].running_mean.clone()
        adapted.restore()
        assert all(torch.equal(a, b) for a, b in zip(state(model), before, strict=True))
    torch.testing.assert_close(means[4.0], (trained + means[0.0]) / 2)
    torch.testing.assert_close(means[1e12], trained)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A trained classifier and its config."""
    from mmengine.registry import MODELS, init_default_scope

    cfg = class_config(make_folders(tmp_path_factory.mktemp("adapt") / "set", per_class=4))
    init_default_scope("mmpretrain")
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    train(model)
    return model, cfg


GRID: dict[str, Any] = dict(corruptions=("contrast",), severities=(4, 5), workers=0, resamples=0)


def cells(out: Path) -> dict[str, Any]:
    return {p.stem: read_json(p)["metrics"] for p in sorted((out / "cells").glob("*.json"))}


def test_an_evaluation_adapts_each_cell_by_itself_and_leaves_the_model_as_it_was(world: Any, tmp_path: Path) -> None:
    model, cfg = world
    before = state(model)
    evaluate(model, cfg, tmp_path / "plain", **GRID)
    evaluate(model, cfg, tmp_path / "both", adapt_norm="24", batch_size=4, **GRID)
    assert all(torch.equal(a, b) for a, b in zip(state(model), before, strict=True))
    evaluate(model, cfg, tmp_path / "alone", adapt_norm="24", batch_size=4, **{**GRID, "severities": (5,)})
    both, alone, plain = (cells(tmp_path / name) for name in ("both", "alone", "plain"))
    assert both["contrast_5"] == alone["contrast_5"], "what was evaluated before leaves no trace"
    assert both["contrast_5"]["accuracy_top1"] > plain["contrast_5"]["accuracy_top1"], "contrast is what it undoes"
    first, second = (read_json(tmp_path / name / "protocol.json") for name in ("plain", "both"))
    assert "norm_adaptation" in differing(first, second)


def test_what_cannot_be_adapted_is_refused(world: Any, tmp_path: Path) -> None:
    for text in ("0", "x", "8:-1", "8:", "1.5", ""):
        with pytest.raises(BadValue, match="--adapt-norm"):
            NormAdaptation.parse(text)
    with pytest.raises(BadValue, match="no batch norm"):
        Adapted(nn.Linear(2, 2), NormAdaptation(1))
    import rtx

    model = rtx.Classifier(lambda images: [[1.0] * 6 for _ in images], "abcdef", name="one")
    with pytest.raises(BadValue, match="another library"):
        evaluate(model, tmp_path, tmp_path / "out", adapt_norm="8")
