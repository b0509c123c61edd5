"""Transfer modes become backbone arguments; what trains is counted and listed."""

from __future__ import annotations

import logging

import pytest
import torch

from rtx.backbones import SourceResNet
from rtx.errors import UnknownName
from rtx.transfer.guard import freeze_map, frozen_tensors
from rtx.transfer.modes import apply_transfer
from rtx.types import TransferMode

R18 = {"type": "SourceResNet", "depth": 18}


def transferred(mode, framework="mmdet", norm=None):
    config = apply_transfer(R18, TransferMode.parse(mode), norm, framework)
    return SourceResNet(**{key: value for key, value in config.items() if key != "type"})


@pytest.mark.parametrize(
    ("mode", "framework", "frozen_stages", "blocks", "policy"),
    [
        ("fixed", "mmdet", 4, None, "eval"),
        ("fixed", "mmseg", 4, None, "eval"),
        ("full", "mmdet", 1, None, "eval"),
        ("full", "mmseg", -1, None, "train"),
        ("full", "mmpretrain", -1, None, "train"),
        ("full_strict", "mmdet", -1, None, "eval"),
        ("full_strict", "mmseg", -1, None, "train"),
        ("blocks:3", "mmdet", -1, 3, "eval"),
        ("blocks:3", "mmseg", -1, 3, "train"),
    ],
)
def test_modes_mean_what_the_protocol_says(mode, framework, frozen_stages, blocks, policy):
    backbone = transferred(mode, framework)
    assert (backbone.frozen_stages, backbone.trainable_blocks, backbone.norm_policy) == (frozen_stages, blocks, policy)


def test_full_in_mmdet_freezes_what_mmdets_own_default_freezes():
    models = pytest.importorskip("mmdet.models")
    stock = models.ResNet(depth=18, frozen_stages=1, norm_eval=True)
    ours = transferred("full")
    frozen = lambda net: {name for name, p in net.named_parameters() if not p.requires_grad}  # noqa: E731
    assert frozen(ours) == frozen(stock) != set()
    still = lambda net: {name for name, m in net.named_modules() if "bn" in name and not m.training}  # noqa: E731
    stock.train()
    assert still(ours) == still(stock)


def test_a_given_norm_policy_wins_and_unknown_ones_are_refused():
    assert transferred("fixed", norm="upstream").norm_policy == "upstream"
    with pytest.raises(UnknownName, match="'train'"):
        transferred("fixed", norm="trian")
    with pytest.raises(UnknownName, match="mmseg"):
        transferred("fixed", framework="mmsegm")


def test_the_log_states_the_frameworks_default(caplog):
    with caplog.at_level(logging.INFO, "rtx.transfer.modes"):
        transferred("full")
    assert "stem and stage 1 frozen" in caplog.text


def test_stock_words_for_the_norm_policy_do_not_survive():
    config = apply_transfer({**R18, "norm_eval": True}, TransferMode("fixed"), None, "mmdet")
    assert "norm_eval" not in config


def test_freeze_map_counts_every_parameter_once():
    model = torch.nn.ModuleDict({"backbone": transferred("blocks:1"), "head": torch.nn.Linear(4, 2)})
    facts = freeze_map(model)
    block = sum(p.numel() for p in model["backbone"].layer4[1].parameters())
    assert facts["backbone"]["trainable"] == block
    assert facts["total"]["trainable"] == block + 10
    assert facts["total"]["trainable"] + facts["total"]["frozen"] == sum(p.numel() for p in model.parameters())
    assert facts["backbone"]["trainable_parts"] == ["layer4.1"]


def test_fixed_promises_every_parameter_and_buffer():
    backbone = transferred("fixed")
    assert {name for name, _ in frozen_tensors(backbone)} == set(backbone.state_dict())


def test_upstream_promises_parameters_only():
    backbone = transferred("fixed", norm="upstream")
    assert {name for name, _ in frozen_tensors(backbone)} == {name for name, _ in backbone.named_parameters()}
    assert freeze_map(backbone)["backbone"]["frozen_norm_buffers"] is False
