"""The other convolutional backbones compute what torchvision's networks compute, tapped at strides 4 to 32."""

from __future__ import annotations

import pytest
import torch

from rtx.backbones import SourceConvNet
from rtx.backbones.convnets import CHANNELS
from rtx.backbones.spec import spec_of
from rtx.errors import BadValue, UnknownName
from rtx.sources.catalog.archs import build_reference, find_arch, reference_shapes
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD, Pixels
from rtx.transfer.modes import apply_transfer
from rtx.types import TransferMode
from tests.sources.made_up import random_state

SIZES = [(64, 96), (75, 101)]
SMALL = ["efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5"]


def torchvision_last(net, arch, x):
    """What the classifier of torchvision's network pools."""
    if arch == "mnasnet1_0":
        return net.layers(x)
    if arch == "shufflenet_v2_x1_0":
        return net.conv5(net.stage4(net.stage3(net.stage2(net.maxpool(net.conv1(x))))))
    return torch.relu(net.features(x)) if arch == "densenet161" else net.features(x)


# Modules of torchvision's network whose outputs are the first three stages.
TAPS = {
    "densenet161": ("features.transition1.relu", "features.transition2.relu", "features.transition3.relu"),
    "mnasnet1_0": ("layers.8", "layers.9", "layers.11"),
    "mobilenet_v2": ("features.3", "features.6", "features.13"),
    "shufflenet_v2_x1_0": ("maxpool", "stage2", "stage3"),
    "vgg16_bn": ("features.22", "features.32", "features.42"),
}


@pytest.mark.parametrize("arch", TAPS)
def test_features_and_keys_equal_torchvision(arch):
    reference = build_reference(arch)
    state = random_state(arch, seed=1)
    with torch.no_grad():  # not load_state_dict: MNASNet's insists on a version number beside the keys
        for key, value in reference.state_dict().items():
            value.copy_(state[key])
    reference.eval()
    ours = SourceConvNet(arch).eval()
    ours.load_state_dict({key: state[key] for key in reference_shapes(arch)}, strict=True)
    seen = {}
    for name in TAPS[arch]:
        reference.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: seen.update({name: o.clone()}))
    for size in SIZES:
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            features = ours(x)
            last = torchvision_last(reference, arch, x)
        for mine, theirs in zip(features, [*(seen[name] for name in TAPS[arch]), last], strict=True):
            assert mine.shape == theirs.shape
            assert (mine - theirs).abs().max() <= 1e-5 * max(1, theirs.abs().max())
        assert tuple(f.shape[1] for f in features) == spec_of(arch).channels
        for feature, stride in zip(features, spec_of(arch).strides, strict=True):
            # Networks without padding in their pools round down, the others up.
            assert all(feature.shape[2 + i] in (size[i] // stride, -(-size[i] // stride)) for i in (0, 1))


def slow_but(names, fast):
    return [pytest.param(name, marks=() if name in fast else (pytest.mark.slow,)) for name in names]


@pytest.mark.parametrize("arch", slow_but(CHANNELS, SMALL))
@torch.no_grad()
def test_maps_are_those_of_torchvisions_feature_extraction(arch):
    """At the last module of each stage, with the statistics of all published weights, and no weight left behind."""
    from torchvision.models import get_model_weights
    from torchvision.models.feature_extraction import create_feature_extractor

    ours = SourceConvNet(arch).eval()
    for size in ((64, 96), (75, 101)):
        maps = ours(torch.randn(2, 3, *size))
        assert tuple(m.shape[1] for m in maps) == spec_of(arch).channels == CHANNELS[arch]
        assert all(
            m.shape[2 + i] in (size[i] // s, -(-size[i] // s))
            for m, s in zip(maps, (4, 8, 16, 32), strict=True)
            for i in (0, 1)
        )
    whole = build_reference(arch).eval()
    shapes = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    assert shapes == reference_shapes(arch) == {k: tuple(v.shape) for k, v in whole.state_dict().items() if k in shapes}
    with torch.no_grad():  # not load_state_dict: MNASNet's insists on a version number beside the keys
        own = ours.state_dict()
        for key, value in whole.state_dict().items():
            value.copy_(own.get(key, value))
    last = {stage: part.name for stage in (1, 2, 3, 4) for part in ours.parts if part.stage == stage}
    if arch.startswith("densenet"):
        last[4] = "features.norm5"
    nodes = {name: str(stage) for stage, name in last.items()}
    x = torch.randn(1, 3, 64, 96)
    theirs = create_feature_extractor(whole, nodes)(x)
    for stage, mine in enumerate(ours(x), start=1):
        one = theirs[str(stage)].relu() if (arch[:8], stage) == ("densenet", 4) else theirs[str(stage)]
        assert (mine - one).abs().max() <= 1e-5 * max(1, one.abs().max())
    row = find_arch(arch).pixels or Pixels()
    for weights in get_model_weights(arch):
        if weights.name == "IMAGENET1K_FEATURES":  # of another framework, with a scale of its own
            continue
        published = weights.transforms()
        stated = (tuple(published.mean), tuple(published.std))
        if arch == "googlenet":  # its weights come with a step from ImageNet's statistics to these
            assert stated == (IMAGENET_MEAN, IMAGENET_STD) and (row.mean, row.std) == ((0.5,) * 3,) * 2
        else:
            assert stated == (row.mean, row.std)


@pytest.mark.parametrize("arch", [*TAPS, *SMALL])
def test_fixed_trains_nothing_and_blocks_exactly_the_tail(arch):
    def build(mode):
        config = apply_transfer(spec_of(arch).config, TransferMode.parse(mode), None, "mmdet")
        return SourceConvNet(**{key: value for key, value in config.items() if key != "type"})

    assert not any(p.requires_grad for p in build("fixed").parameters())
    backbone = build("blocks:2")
    names = [part.name for part in backbone.parts]
    second_last = [part.name for part in backbone.parts if part.block][-2]
    tail = tuple(names[names.index(second_last) :])
    assert backbone.plan.trainable == tail
    x = torch.randn(2, 3, 64, 64)
    sum(f.mean() for f in backbone(x)).backward()
    trained = {name for name, p in backbone.named_parameters() if p.grad is not None}
    assert trained == {name for name, _ in backbone.named_parameters() if name.startswith(tuple(t + "." for t in tail))}


@pytest.mark.parametrize("arch", [*TAPS, *SMALL])
def test_every_parameter_belongs_to_exactly_one_part(arch):
    backbone = SourceConvNet(arch)
    for name, _ in backbone.named_parameters():
        assert sum(name.startswith(part.name + ".") for part in backbone.parts) == 1, name


def test_an_in_place_relu_behind_a_tap_does_not_change_it():
    backbone = SourceConvNet("vgg16_bn").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        alone = [SourceConvNet.forward(_only(backbone, i), x)[0].clone() for i in range(4)]
        _only(backbone, (0, 1, 2, 3))
        together = backbone(x)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def _only(backbone, indices):
    backbone.out_indices = (indices,) if isinstance(indices, int) else indices
    return backbone


def test_sync_batch_norm_and_frozen_affine_terms_as_the_config_says():
    net = SourceConvNet("mobilenet_v2", norm_cfg={"type": "SyncBN", "requires_grad": False})
    norms = [m for m in net.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert norms and not any(m.weight.requires_grad for m in norms)
    with pytest.raises(BadValue, match="GN"):
        SourceConvNet("mobilenet_v2", norm_cfg={"type": "GN"})


def test_unknown_architecture_shows_the_nearest():
    with pytest.raises(UnknownName, match="'vgg16_bn'"):
        SourceConvNet("vgg16bn")
