"""SourceResNet computes what torchvision, mmdet, mmseg and mmpretrain compute."""

from __future__ import annotations

import pytest
import torch

import rtx.backbones  # noqa: F401  # registers
from rtx.backbones import SourceResNet
from rtx.backbones.spec import BACKBONES, arch_of, spec_of
from rtx.errors import BadValue, UnknownName
from rtx.sources.catalog.archs import build_reference, reference_shapes
from tests.sources.made_up import random_state

SIZES = [(64, 96), (75, 61)]
RESNETS = [name for name, spec in BACKBONES.items() if spec.config["type"] == "SourceResNet"]


def build(arch, **kwargs):
    from mmengine.registry import MODELS

    return MODELS.build({**spec_of(arch).config, **kwargs})


def torchvision_features(net, x):
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    outputs = []
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = layer(x)
        outputs.append(x)
    return outputs


def assert_same(ours, theirs, atol=1e-6):
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs, strict=True):
        assert one.shape == two.shape
        # Relative to the size of the features: random nets reach hundreds, where 1e-6 lies below float32's own step.
        assert (one - two).abs().max() <= atol * max(1.0, float(two.abs().max()))


# Hundreds of millions of random numbers take longer than all the others together.
HEAVY = ("wide_resnet50_4", "resnext101_32x8d", "resnet152")


@pytest.mark.parametrize("arch", [pytest.param(name, marks=[pytest.mark.slow] * (name in HEAVY)) for name in RESNETS])
def test_features_and_keys_equal_torchvision(arch):
    state = random_state(arch, seed=3)
    reference = build_reference(arch)
    reference.load_state_dict(state)
    reference.eval()
    ours = build(arch).eval()
    kept = {key: value for key, value in state.items() if not key.startswith("fc.")}
    ours.load_state_dict(kept, strict=True)
    assert list(ours.state_dict()) == list(reference_shapes(arch))
    for size in SIZES:
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            features = ours(x)
            assert_same(features, torchvision_features(reference, x))
        assert tuple(f.shape[1] for f in features) == spec_of(arch).channels
        expected = [tuple(-(-n // s) for n in size) for s in spec_of(arch).strides]
        assert [tuple(f.shape[2:]) for f in features] == expected


ALSO_NATIVE = ("resnet34", "resnet101", "resnet152", "resnext50_32x4d")


@pytest.mark.parametrize("framework", ["mmdet", "mmseg", "mmpretrain"])
@pytest.mark.parametrize(
    "arch", ["resnet18", "resnet50", *(pytest.param(name, marks=pytest.mark.slow) for name in ALSO_NATIVE)]
)
def test_features_equal_the_frameworks_own_resnet(framework, arch):
    registry = pytest.importorskip(f"{framework}.registry").MODELS
    pytest.importorskip(f"{framework}.models")
    own = dict(spec_of(arch).config)
    # mmpretrain has another word for the width of a group.
    grouped = {"width_per_group": 4} if framework == "mmpretrain" else {"base_width": 4}
    kind = (
        {"type": f"{framework}.ResNeXt", "groups": 32, **grouped} if "next" in arch else {"type": f"{framework}.ResNet"}
    )
    stock = registry.build({**kind, "depth": own["depth"], "style": "pytorch", "out_indices": (0, 1, 2, 3)})
    ours = registry.build(own)
    state = {k: v for k, v in random_state(arch, seed=5).items() if not k.startswith("fc.")}
    stock.load_state_dict(state, strict=True)
    ours.load_state_dict(state, strict=True)
    stock.eval()  # mmdet's returns None
    ours.eval()
    for size in SIZES:
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert_same(ours(x), stock(x))


def test_checkpointed_blocks_give_the_same_gradients():
    torch.manual_seed(0)
    plain, saving = SourceResNet(18, frozen_stages=1), SourceResNet(18, frozen_stages=1, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for net in (plain, saving):
        sum(f.mean() for f in net(x)).backward()
    for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, two.grad)


def test_norm_cfg_decides_the_norm_layer():
    net = SourceResNet(18, norm_cfg={"type": "SyncBN", "requires_grad": True})
    assert isinstance(net.layer1[0].bn1, torch.nn.SyncBatchNorm)
    frozen = SourceResNet(18, norm_cfg={"type": "BN", "requires_grad": False})
    assert not frozen.layer4[0].bn1.weight.requires_grad


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"depth": 19}, "depth 19"),
        ({"depth": 18, "base_width": 128}, "from depth 50 on"),
        ({"depth": 18, "out_indices": (3, 0)}, "out_indices"),
        ({"depth": 18, "out_indices": ()}, "out_indices"),
        ({"depth": 18, "trainable_blocks": 9}, "8 blocks"),
        ({"depth": 18, "source": "x.pth", "init_cfg": {"type": "Pretrained"}}, "exclude each other"),
    ],
)
def test_arguments_that_make_no_network_are_refused(kwargs, text):
    with pytest.raises(BadValue, match=text):
        SourceResNet(**kwargs)


@pytest.mark.parametrize("arch", BACKBONES)
def test_spec_and_config_name_each_other(arch):
    assert arch_of(spec_of(arch).config) == arch
    assert arch_of({**spec_of(arch).config, "frozen_stages": 4, "source": "random"}) == arch


def test_a_stock_backbone_is_not_taken_for_ours():
    with pytest.raises(UnknownName, match="SourceResNet"):
        spec_of({"type": "ResNet", "depth": 50})
