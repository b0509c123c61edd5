"""Laws of the freezing plan and of the modes it gives."""

from __future__ import annotations

import pytest
import torch

from rtx.backbones import SourceResNet
from rtx.backbones.freezing import Part, plan_freezing
from rtx.errors import BadValue, UnknownName

PARTS = [Part("stem", 0, False)] + [Part(f"s{s}.{b}", s, True) for s in range(1, 5) for b in range(2)]


def plan(**kwargs):
    return plan_freezing(PARTS, **{"frozen_stages": -1, "trainable_blocks": None, "last_stage": 4, **kwargs})


@pytest.mark.parametrize("frozen_stages", [-1, 0, 1, 2, 3, 4])
def test_frozen_stages_freeze_the_stem_and_that_many_stages(frozen_stages):
    result = plan(frozen_stages=frozen_stages)
    assert result.frozen == tuple(part.name for part in PARTS if part.stage <= frozen_stages)
    assert result.frozen + result.trainable == tuple(part.name for part in PARTS)


@pytest.mark.parametrize("k", range(9))
def test_blocks_k_trains_exactly_the_last_k(k):
    result = plan(trainable_blocks=k)
    assert result.trainable == tuple(part.name for part in PARTS[len(PARTS) - k :])


def test_blocks_0_freezes_as_fixed_does():
    assert plan(trainable_blocks=0) == plan(frozen_stages=4)


@pytest.mark.parametrize("k", [9, 100, -1, True])
def test_more_blocks_than_there_are_is_an_error(k):
    with pytest.raises(BadValue, match=r"8 blocks .*s4\.1"):
        plan(trainable_blocks=k)


@pytest.mark.parametrize("n", [-2, 5, True])
def test_stages_that_do_not_exist_are_an_error(n):
    with pytest.raises(BadValue, match="frozen_stages"):
        plan(frozen_stages=n)


def test_both_kinds_of_freezing_are_an_error():
    with pytest.raises(BadValue, match="exclude each other"):
        plan(frozen_stages=1, trainable_blocks=2)


def test_stages_beyond_the_last_output_are_unused_and_not_counted():
    result = plan(trainable_blocks=1, last_stage=3)
    assert result.trainable == ("s3.1",)
    assert result.unused == ("s4.0", "s4.1")


def test_frozen_parameters_never_receive_a_gradient_and_trainable_ones_do():
    backbone = SourceResNet(18, trainable_blocks=3)
    sum(f.mean() for f in backbone(torch.randn(2, 3, 64, 64))).backward()
    with_grad = {name for name, p in backbone.named_parameters() if p.grad is not None}
    expected = {n for n, _ in backbone.named_parameters() if n.startswith(("layer3.1", "layer4.0", "layer4.1"))}
    assert with_grad == expected


def test_unused_stages_do_not_wait_for_a_gradient():
    backbone = SourceResNet(18, out_indices=(0, 1))
    outputs = backbone(torch.randn(1, 3, 32, 32))
    sum(f.mean() for f in outputs).backward()
    assert len(outputs) == 2
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def _trained_norms(backbone):
    """Names of the batch norms whose statistics moved in one training forward pass."""
    before = {name: b.clone() for name, b in backbone.named_buffers() if name.endswith("running_mean")}
    backbone.train()
    backbone(torch.randn(2, 3, 64, 64))
    return {
        name.rsplit(".", 1)[0] for name, b in backbone.named_buffers() if name in before and not b.equal(before[name])
    }


@pytest.mark.parametrize(
    ("policy", "frozen_stages", "moving_stages"),
    [
        ("eval", -1, set()),
        ("frozen_affine", 1, set()),
        ("train", -1, {"bn1", "layer1", "layer2", "layer3", "layer4"}),
        ("train", 2, {"layer3", "layer4"}),
        ("train", 4, set()),
        ("upstream", 4, {"bn1", "layer1", "layer2", "layer3", "layer4"}),
    ],
)
def test_norm_policy_decides_which_statistics_move(policy, frozen_stages, moving_stages):
    backbone = SourceResNet(18, norm_policy=policy, frozen_stages=frozen_stages)
    assert {name.split(".")[0] for name in _trained_norms(backbone)} == moving_stages


def test_frozen_affine_freezes_scale_and_shift_everywhere_and_eval_does_not():
    def trains(policy):
        backbone = SourceResNet(18, norm_policy=policy)
        return backbone.layer4[1].bn2.weight.requires_grad, backbone.layer4[1].conv2.weight.requires_grad

    assert trains("frozen_affine") == (False, True)
    assert trains("eval") == (True, True)


def test_train_called_again_from_outside_keeps_frozen_parts_in_eval_mode():
    backbone = SourceResNet(18, frozen_stages=2, norm_policy="train")
    backbone.eval()
    torch.nn.ModuleDict({"backbone": backbone}).train()
    assert not backbone.layer2.training or not any(block.training for block in backbone.layer2)
    assert backbone.layer3[0].bn1.training and not backbone.layer2[0].bn1.training


def test_unknown_policy_shows_the_nearest():
    with pytest.raises(UnknownName, match="'eval'"):
        SourceResNet(18, norm_policy="evals")
