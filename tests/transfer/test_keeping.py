"""Ways to stay near the source: what the optimiser is given, what the backbone does, and what a run folder keeps."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from rtx.backbones import SourceResNet
from rtx.cli.keeping import add_keeping_arguments, keeping_of
from rtx.config import with_transfer
from rtx.errors import BadValue, RunConflict, UnknownName
from rtx.training import train
from rtx.transfer.keeping import Keeping, learning_rate_factors, with_keeping
from rtx.transfer.modes import transfer_name
from tests.evaluation.class_folders import make_folders
from tests.small_configs import small_config


class Model(nn.Module):
    """A backbone and a linear head."""

    def __init__(self, **backbone: Any) -> None:
        super().__init__()
        self.backbone = SourceResNet(18, **backbone)
        self.head = nn.Linear(512, 3)


def wrapper_of(model: nn.Module, keeping: Keeping, **wrapper: Any) -> Any:
    rule = dict(constructor="KeepingConstructor", paramwise_cfg={"rtx_keeping": keeping.card(), **wrapper})
    return build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=1.0, weight_decay=0.5), **rule))


def groups_of(model: nn.Module, wrapper: Any) -> dict[str, dict[str, Any]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(group["params"][0])]: group for group in wrapper.optimizer.param_groups}


def test_each_block_learns_at_a_factor_of_the_one_behind_it() -> None:
    model = Model()
    groups = groups_of(model, wrapper_of(model, Keeping(layer_decay=0.5, backbone_lr=0.1)))
    lr = {name: group["lr"] for name, group in groups.items()}
    assert lr["head.weight"] == 1.0
    blocks = [f"backbone.layer{stage}.{n}.conv1.weight" for stage in (4, 3, 2, 1) for n in (1, 0)]
    assert [lr[name] for name in blocks] == pytest.approx([0.1 * 0.5 ** (n + 1) for n in range(8)])
    assert lr["backbone.conv1.weight"] == lr["backbone.bn1.bias"] == pytest.approx(0.1 * 0.5**9)


def test_frozen_and_unused_parts_do_not_count() -> None:
    backbone = SourceResNet(18, out_indices=(0, 1), frozen_stages=0)
    factors = learning_rate_factors(backbone, Keeping(layer_decay=0.5))
    assert factors[id(backbone.layer2[1].conv1.weight)] == 0.5
    assert id(backbone.conv1.weight) not in factors and id(backbone.layer3[0].conv1.weight) not in factors


def test_rules_of_the_config_for_single_parameters_stay() -> None:
    model = Model()
    groups = groups_of(model, wrapper_of(model, Keeping(backbone_lr=0.1), norm_decay_mult=0.0))
    assert groups["backbone.bn1.weight"]["weight_decay"] == 0 and groups["backbone.bn1.weight"]["lr"] == 0.1
    assert groups["backbone.conv1.weight"]["weight_decay"] == 0.5


def test_an_anchored_backbone_has_no_weight_decay() -> None:
    model = Model()
    groups = groups_of(model, wrapper_of(model, Keeping(l2sp=0.1)))
    assert {name.split(".")[0] for name, group in groups.items() if group["weight_decay"] == 0} == {"backbone"}
    assert groups["head.weight"]["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (dict(), BadValue, "nothing is asked for"), (dict(l2sp=0), BadValue, "l2sp 0"),
        (dict(ema=1), BadValue, "ema 1"),
        (dict(layer_decay=1.5), BadValue, "layer_decay 1.5"), (dict(backbone_lr=float("nan")), BadValue, "nan"),
        (dict(l2sp=True), BadValue, "True"), (dict(l2sq=0.1), UnknownName, "l2sp"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_such_training_is_refused(wrong: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Keeping.of(wrong)


def arguments(*words: str) -> Any:
    parser = argparse.ArgumentParser()
    add_keeping_arguments(parser)
    return parser.parse_args(words)


def test_flags_go_before_the_line_in_the_config() -> None:
    cfg = Config(dict(rtx_keeping=dict(l2sp=0.1, ema=0.01)))
    assert keeping_of(arguments("--anchor", "l2sp=0.5"), cfg) == Keeping(l2sp=0.5, ema=0.01)
    assert keeping_of(arguments(), Config(dict())) is None
    for word in ("l2sp", "l2sp=x", "l3=1", "=1"):
        with pytest.raises(BadValue, match="l2sp=ALPHA"):
            keeping_of(arguments("--anchor", word), cfg)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shipped classifier over a made class folder, ResNet-18, 4 epochs of 3 steps."""
    root = tmp_path_factory.mktemp("keeping") / "data"
    make_folders(root / "train", per_class=4)
    make_folders(root / "val", per_class=2)
    cfg = small_config("classify_r50.py", root)
    cfg.model.backbone.depth = 18
    cfg.model.head.in_channels = 512
    cfg.train_dataloader.update(batch_size=8, num_workers=0, persistent_workers=False)
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_epochs=4, val_interval=4)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1)
    cfg.randomness = dict(seed=0)
    cfg.param_scheduler = []
    return cfg


def trained(cfg: Any, folder: Path) -> list[dict[str, torch.Tensor]]:
    """The weights after each epoch."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(folder)
    train(cfg)
    files = sorted(folder.glob("epoch_*.pth"))
    return [torch.load(file, weights_only=False)["state_dict"] for file in files]


def moved(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], part: str) -> bool:
    return any(not torch.equal(first[name], second[name]) for name in first if name.startswith(part))


def test_the_head_trains_first_on_a_backbone_that_stays(small: Any, tmp_path: Path) -> None:
    cfg = with_transfer(small, "lpft:2", "train")
    assert transfer_name(cfg.model.backbone, "mmpretrain") == "lpft:2"
    one, two, three, four = trained(cfg, tmp_path / "whole")
    assert not moved(one, two, "backbone."), "also the statistics of its batch norms"
    assert moved(one, two, "head.") and moved(two, three, "backbone.") and moved(three, four, "head.")
    cfg.resume, cfg.load_from = True, str(tmp_path / "whole/epoch_1.pth")
    again = trained(cfg, tmp_path / "from_1")  # goes on in the phase of the head
    assert not moved(one, again[0], "backbone.") and moved(again[0], again[1], "backbone.")
    cfg.load_from = str(tmp_path / "whole/epoch_3.pth")
    assert moved(three, trained(cfg, tmp_path / "from_3")[0], "backbone.")


def test_a_mode_that_follows_takes_the_phase_away(small: Any) -> None:
    cfg = with_transfer(with_transfer(small, "lpft:2"), "full")
    assert transfer_name(cfg.model.backbone, "mmpretrain") == "full"
    assert [hook["type"] for hook in cfg.custom_hooks] == ["FrozenGuardHook"]


def test_a_schedule_that_ends_before_the_backbone_trains_is_refused(small: Any, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="never train"):
        trained(with_transfer(small, "lpft:4"), tmp_path)


def test_the_anchor_is_the_gradient_of_its_penalty(small: Any, tmp_path: Path) -> None:
    """One step of SGD from w with the hook is one with the penalty in the loss; it pulls, so the distance shrinks."""
    from types import SimpleNamespace

    from mmengine.logging import MessageHub

    from rtx.transfer.keeping import Anchor

    torch.manual_seed(0)
    model, hub = Model(), MessageHub.get_instance("anchor")
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
    hook = Anchor(0.5)
    hook.before_train(SimpleNamespace(model=model, message_hub=hub, optim_wrapper=wrapper, _resume=False))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    twin = copy.deepcopy(model)
    x = torch.randn(2, 3, 32, 32)

    def loss(net: Any) -> torch.Tensor:
        return net.head(net.backbone(x)[-1].mean((2, 3))).square().mean() * 1e-3

    wrapper.update_params(loss(model))
    penalty = sum((p - start[n]).square().sum() for n, p in twin.named_parameters() if n.startswith("backbone."))
    (loss(twin) + 0.25 * penalty).backward()
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=lambda text, name=name: f"{name}: {text}", rtol=1e-4, atol=1e-6)


def test_an_anchored_training_stays_nearer_and_keeps_its_anchor_when_resumed(small: Any, tmp_path: Path) -> None:
    def distance(weights: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> float:
        names = [n for n in start if n.startswith("backbone.") and "running" not in n and "num_" not in n]
        return float(sum((weights[n] - start[n]).square().sum() for n in names))

    weights = SourceResNet(18)
    file = tmp_path / "source.pth"
    torch.save({**weights.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, file)
    cfg = copy.deepcopy(small)
    cfg.model.backbone.source = f"resnet18:{file}"
    start = {f"backbone.{name}": value for name, value in weights.state_dict().items()}
    free = trained(cfg, tmp_path / "free")
    anchored = with_keeping(cfg, Keeping(l2sp=2.0))
    held = trained(anchored, tmp_path / "held")
    assert distance(held[-1], start) < 0.8 * distance(free[-1], start)
    anchored.resume, anchored.load_from = True, str(tmp_path / "held/epoch_2.pth")
    again = trained(anchored, tmp_path / "again")
    assert distance(again[-1], start) < 0.8 * distance(free[-1], start)
    other = copy.deepcopy(anchored)
    other.model.backbone.source = "random"
    with pytest.raises(RunConflict, match="--anchor"):
        trained(other, tmp_path / "other")


def test_the_average_is_what_a_run_saves(small: Any, tmp_path: Path) -> None:
    first, *_, last = trained(with_keeping(small, Keeping(ema=1e-9)), tmp_path)
    difference = max(float((first[n] - last[n]).abs().max()) for n in first if n.endswith("weight"))
    assert difference < 1e-6, "an average that hardly moves"


@pytest.mark.parametrize("setting", [dict(l2sp=0.1), dict(layer_decay=0.9), dict(backbone_lr=0.1)], ids=str)
def test_of_a_frozen_backbone_nothing_is_kept(setting: dict[str, float]) -> None:
    with pytest.raises(BadValue, match="nothing of the backbone trains"):
        wrapper_of(Model(frozen_stages=4), Keeping(**setting))


def test_without_an_optimiser_there_is_nothing_to_set() -> None:
    with pytest.raises(BadValue, match="no optim_wrapper"):
        with_keeping(Config(dict(model={})), Keeping(l2sp=0.1))


def test_an_optimiser_that_is_built_in_a_way_of_its_own_is_refused(small: Any) -> None:
    cfg = copy.deepcopy(small)
    cfg.optim_wrapper.constructor = "LearningRateDecayOptimWrapperConstructor"
    with pytest.raises(BadValue, match="constructor"):
        with_keeping(cfg, Keeping(layer_decay=0.9))
