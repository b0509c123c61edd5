"""A classifier's config with a target: data, head, metric, schedule and statistics, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmpretrain")
import torch
from mmengine.registry import MODELS, init_default_scope

from rtx.config import check_statistics, load, with_source, with_transfer
from rtx.datasets import classification
from rtx.errors import BadValue, DataError, UnknownName
from rtx.transfer.classify import TargetOptions, fit_to_source, with_target
from rtx.types import TransferMode
from tests.datasets.target_worlds import folders, mnist

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LEAF = CONFIGS / "classify_r50.py"


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(folders(tmp_path_factory.mktemp("seven"), 7))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(mnist(tmp_path_factory.mktemp("digits"), [*range(10), *range(10)]))


def made(root: str, target: str = "folder", **options: Any) -> Any:
    return with_target(load(LEAF), TargetOptions(target, root, **options))


def test_recipe_and_data_reach_the_config(seven: str) -> None:
    cfg = made(seven, recipe="utrera", images=7, seed=20_000_000, subset_rule="utrera_code", lr_drops="code")
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=100, val_interval=20)
    assert cfg.param_scheduler[0].milestones == [33, 66, 99]
    assert cfg.optim_wrapper.optimizer == dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4)
    assert cfg.train_dataloader.batch_size == 128
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    assert (train.images, train.images_seed, train.images_rule) == (7, 20_000_000, "utrera_code")
    assert "images" not in test and test.split == "test" and cfg.val_dataloader.dataset == test
    assert cfg.rtx_target.lr_drops_after == [33, 66, 99] and cfg.rtx_target.recipe == "utrera"
    other = made(seven, epochs=6, lr=0.5)
    assert (other.train_cfg.max_epochs, other.optim_wrapper.optimizer.lr) == (6, 0.5)
    assert other.param_scheduler[0].milestones == [2, 4]


def test_the_head_has_the_classes_of_the_data(seven: str, digits: str) -> None:
    for target, root, n in (("folder", seven, 7), ("mnist", digits, 10)):
        cfg = made(root, target, subset=True)
        assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == n
        init_default_scope("mmpretrain")
        assert MODELS.build(cfg.model.head).fc.out_features == n


@pytest.mark.parametrize(("init", "spread"), [("default", 1 / 2048**0.5), ("utrera", 1.0)])
def test_the_head_starts_as_it_is_asked_to(seven: str, init: str, spread: float) -> None:
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    head = MODELS.build(made(seven, head_init=init).model.head)
    head.init_weights()
    weight, bias = head.fc.weight.detach(), head.fc.bias.detach()
    if init == "utrera":
        assert abs(float(weight.std()) - spread) < 0.02 and bool((bias == 0).all())
    else:  # uniform within 1/sqrt(inputs), as nn.Linear is made
        assert 0.99 * spread < float(weight.abs().max()) <= spread
        assert bool((bias != 0).any())


def test_the_metric_is_that_of_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(classification.TARGETS["pets"], classes=3, train=None, test=None)
    monkeypatch.setitem(classification.TARGETS, "pets", row)
    folders(tmp_path, 3)
    assert made(str(tmp_path), "pets").test_evaluator == dict(
        type="SingleLabelMetric", items=("recall",), average="macro"
    )
    assert made(str(tmp_path)).test_evaluator == dict(type="Accuracy", topk=(1,)), "3 classes have no top 5"


def test_normalisation_is_the_sources_or_upstreams(seven: str, digits: str) -> None:
    plain = fit_to_source(with_source(made(seven), "resnet50_l2_eps3"))
    assert plain.data_preprocessor.mean == [123.675, 116.28, 103.53]
    upstream = fit_to_source(with_source(made(seven, normalise="upstream"), "resnet50_l2_eps3"))
    assert (upstream.data_preprocessor.mean, upstream.data_preprocessor.std) == ([0.0] * 3, [255.0] * 3)
    check_statistics(upstream)
    plain.data_preprocessor.mean = [0.0] * 3
    with pytest.raises(BadValue, match=r"data_preprocessor\.mean"):
        check_statistics(plain)
    options = dict(recipe="utrera", normalise="upstream", subset=True)
    for source, mean in (("resnet50_l2_eps3", 123.675), ("resnet50_in1k_v1", 33.3285)):
        cfg = fit_to_source(with_source(made(digits, "mnist", **options), source))
        assert cfg.data_preprocessor.mean[0] == mean


@pytest.mark.parametrize(
    ("source", "k", "trained"),
    [
        ("resnet18_l2_eps3", 1, ["layer4.1"]),
        ("resnet18_l2_eps3", 3, ["layer3.1", "layer4.0", "layer4.1"]),
        ("resnet50_l2_eps3", 1, ["layer4.2"]),
        ("resnet50_l2_eps3", 3, ["layer4.0", "layer4.1", "layer4.2"]),
        ("resnet50_l2_eps3", 9, [f"layer3.{n}" for n in range(6)] + [f"layer4.{n}" for n in range(3)]),
        ("wide_resnet50_2_l2_eps3", 1, ["layer4.2"]),
    ],
)
def test_k_counts_residual_blocks(seven: str, source: str, k: int, trained: list[str]) -> None:
    cfg = with_transfer(with_source(made(seven), source), TransferMode("blocks", k))
    cfg.model.backbone.source = "random"
    init_default_scope("mmpretrain")
    model = MODELS.build(cfg.model)
    assert list(model.backbone.plan.trainable) == trained
    moving = {name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert all(name == "head.fc" or name.startswith(tuple(f"backbone.{t}" for t in trained)) for name in moving)


def test_hidden_layers_are_as_wide_as_the_features(seven: str) -> None:
    init_default_scope("mmpretrain")
    cfg = fit_to_source(with_source(made(seven, hidden_layers=2), "resnet18_l2_eps3"))
    head = MODELS.build(cfg.model.head)
    linear = [module for module in head.modules() if isinstance(module, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(512, 512), (512, 512), (512, 7)]
    assert sum(isinstance(module, torch.nn.ReLU) for module in head.modules()) == 2
    assert head((torch.zeros(3, 512),)).shape == (3, 7)


@pytest.mark.parametrize("arch", ["mobilenet_v2", "swin_t", "vgg16_bn"])
def test_any_backbone_becomes_a_classifier(seven: str, arch: str) -> None:
    cfg = with_source(made(seven), f"{arch}:own.pth")
    cfg = fit_to_source(with_transfer(cfg, TransferMode("blocks", 1)))
    cfg.model.backbone.source = "random"
    init_default_scope("mmpretrain")
    model = MODELS.build(cfg.model).eval()
    assert model.head(model.extract_feat(torch.zeros(1, 3, 64, 64))).shape == (1, 7)
    trained = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert trained and len(trained) < len(list(model.backbone.parameters()))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(images=8), BadValue, "8 images of a training set of 7"),
        (dict(images=6), BadValue, "6 images for 7 classes"),
        (dict(recipe="utrerra"), UnknownName, "did you mean 'utrera'"),
        (dict(head_init="normal"), UnknownName, "head init 'normal'"),
        (dict(normalise="none"), UnknownName, "normalise 'none'"),
        (dict(subset_rule="random", images=7), UnknownName, "subset rule 'random'"),
        (dict(caltech_split="last"), UnknownName, "Caltech split 'last'"),
        (dict(epochs=0), BadValue, "--epochs 0"),
        (dict(lr=0.0), BadValue, "--lr 0.0"),
        (dict(hidden_layers=-1), BadValue, "--hidden-layers -1"),
        (dict(image_size=8), BadValue, "--image-size 8"),
        (dict(target="pets"), DataError, "holds 7 classes, pets has 37"),
        (dict(target="svhn"), DataError, r"looked for train_32x32\.mat"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_said_at_once(
    seven: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        made(seven, **options)


def test_a_detector_takes_no_target(seven: str) -> None:
    with pytest.raises(BadValue, match=r"fasterrcnn_r50_voc\.py trains no classifier; give configs/classify_r50\.py"):
        with_target(load(CONFIGS / "fasterrcnn_r50_voc.py"), TargetOptions("folder", seven))
