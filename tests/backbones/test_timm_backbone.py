"""Models of timm as backbones: timm's own features, frozen parts, strict weights, and configs that follow."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from rtx.backbones import SourceTimm
from rtx.backbones.freezing import norm_layers
from rtx.backbones.spec import arch_of, spec_of
from rtx.backbones.timm_layout import layout_of
from rtx.config import check_statistics, with_source, with_transfer
from rtx.errors import BadValue, UnknownName, WeightsMismatch
from rtx.transfer import FrozenGuardHook
from rtx.transfer.modes import apply_transfer
from rtx.types import TransferMode

timm = pytest.importorskip("timm", reason="needs the extra timm")

# One of each kind that people ask for; the first ones run by default, the others are the slow ones.
QUICK = ("convnext_atto", "tf_efficientnet_lite0", "vit_tiny_patch16_224")
SLOW = (
    "caformer_s18", "convnextv2_atto", "cspdarknet53", "deit3_small_patch16_224", "densenet121", "edgenext_xx_small",
    "efficientnet_b0", "eva02_tiny_patch14_224", "fastvit_t8", "ghostnet_100", "hgnetv2_b0", "hieradet_small",
    "hrnet_w18_small", "inception_next_atto", "mambaout_femto", "mobilenetv3_small_050", "mobilenetv4_conv_small",
    "mvitv2_tiny", "nextvit_small", "poolformerv2_s12", "pvt_v2_b0", "regnetx_002", "regnety_002", "repvit_m0_9",
    "resnest14d", "resnet18", "resnetv2_50", "resnetv2_50x1_bit", "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "tf_efficientnetv2_b0", "tiny_vit_5m_224", "twins_svt_small", "vgg11_bn", "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3", "xcit_nano_12_p16_224", "xcit_nano_12_p8_224",
)  # fmt: skip
MODELS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
SIZES = ((64, 96), (128, 64))
TOLERANCE = 1e-5


def settled(backbone: SourceTimm) -> SourceTimm:
    """Batch-norm statistics that fit the weights, as training gives them: features then have the size of real ones."""
    for layer in norm_layers(backbone):
        layer.momentum = None  # the plain mean over the batches seen
    backbone.train()
    with torch.no_grad():
        backbone(torch.randn(2, 3, 64, 64))
    return backbone.eval()


def timms_own(name: str, backbone: SourceTimm, x: torch.Tensor) -> list[torch.Tensor]:
    """What timm's documented ways give with the same weights."""
    fit = {key: True for key in ("dynamic_img_size",) if backbone.layout.single and "xcit" not in name}
    fit |= {"strict_img_size": False} if name.startswith("swin") else {}
    net = timm.create_model(name, num_classes=0, **fit).eval()
    net.load_state_dict(backbone.net.state_dict())
    if not backbone.layout.single:
        wrapped = timm.models._features.FeatureGetterNet(net, backbone.layout.indices)
        return list(wrapped(x))
    return net.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_features_are_timms_own(name: str) -> None:
    torch.manual_seed(0)
    backbone = settled(SourceTimm(name))
    row = spec_of(f"timm:{name}")
    for size in SIZES:
        x = torch.randn(1, 3, *size)
        mine = backbone(x)
        assert [m.shape[1] for m in mine] == list(row.channels)
        assert [tuple(m.shape[2:]) for m in mine] == [(size[0] // s, size[1] // s) for s in row.strides]
        scale = backbone.layout.scale
        scaled = x if scale == 1 else nn.functional.interpolate(
            x, [round(side * scale) for side in size], mode="bilinear", antialias=True
        )  # fmt: skip
        theirs = timms_own(name, backbone, scaled)
        if backbone.layout.single:
            mine = (mine[row.strides.index(backbone.layout.stride)],)
        for one, two in zip(mine, theirs, strict=True):
            assert one.shape == two.shape and float(two.std()) > 0
            assert (one - two).abs().max() <= TOLERANCE * float(two.abs().max())  # random nets may give tiny features


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_maps_of_an_odd_size_are_as_large_as_a_resnets(name: str) -> None:
    backbone = SourceTimm(name).eval()
    maps = backbone(torch.randn(1, 3, 75, 101))
    assert [tuple(m.shape[2:]) for m in maps] == [(19, 26), (10, 13), (5, 7), (3, 4)]


@pytest.mark.parametrize("mode", ["fixed", pytest.param("full", marks=pytest.mark.slow), "full_strict", "blocks:2"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_trains_what_the_mode_says_and_nothing_else(name: str, mode: str) -> None:
    torch.manual_seed(0)
    config = apply_transfer({"type": "SourceTimm", "model": name}, TransferMode.parse(mode), None, "mmdet")
    config.pop("type")
    model = nn.Module()
    model.backbone = SourceTimm(**config)
    for layer in model.modules():  # ConvNeXt's gains of 1e-6 would hide a step
        for key, value in layer.named_parameters(recurse=False):
            if key in ("gamma", "gamma1", "gamma2", "gamma3", "weight", "gain") and value.ndim == 1:
                nn.init.uniform_(value, 0.5, 1.5)
    model.head = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in spec_of(f"timm:{name}").channels)
    model.train()
    guard = FrozenGuardHook()
    guard.start(model)
    before = {key: value.clone() for key, value in model.named_parameters()}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    maps = model.backbone(torch.randn(2, 3, 64, 96))
    sum(head(m).square().mean() for head, m in zip(model.head, maps, strict=True)).backward()
    idle = [k for k, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []  # distributed training waits for every gradient
    optimiser.step()
    guard.check(model)
    changed = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    plan = model.backbone.plan
    inside = [key for key in changed if key.startswith("backbone.net.")]
    trained = tuple(f"backbone.{part}" for part in plan.trainable)
    assert all(any(key == part or key.startswith(f"{part}.") for part in trained) for key in inside)
    for part in trained:  # something moves in each of them
        assert any(key == part or key.startswith(f"{part}.") for key in inside), part
    blocks = [part.name for part in model.backbone.parts if part.block]
    if mode == "fixed":
        assert inside == [] and not plan.trainable
        assert not any(m.requires_grad and "net" in k for k, m in model.backbone.named_parameters())
    if mode == "blocks:2":
        assert plan.trainable[0] == blocks[-2]
    if mode == "full_strict":
        assert plan.trainable == tuple(part.name for part in model.backbone.parts if part.stage <= 4)
    assert "head.0.weight" in changed


@pytest.mark.parametrize("name", MODELS)
def test_every_stage_has_parts_and_every_weight_belongs_to_one(name: str) -> None:
    backbone = SourceTimm(name)
    stages = {0, 1, 2, 3} if name == "vgg11_bn" else {0, 1, 2, 3, 4}  # there the last stage is a pool
    assert {part.stage for part in backbone.parts} >= stages
    assert sum(part.block for part in backbone.parts) >= 4 - (name == "vgg11_bn")
    assert [part.stage for part in backbone.parts] == sorted(part.stage for part in backbone.parts)
    for key, _ in backbone.net.named_parameters():
        owners = [p.name for p in backbone.parts if f"net.{key}" == p.name or f"net.{key}".startswith(f"{p.name}.")]
        assert len(owners) == 1, (key, owners)


def test_full_in_mmdet_freezes_early_stages_of_networks_with_batch_norm_alone() -> None:
    def frozen(name: str) -> int:
        backbone = {"type": "SourceTimm", "model": name}
        return apply_transfer(backbone, TransferMode("full"), None, "mmdet")["frozen_stages"]

    assert frozen("resnet18") == frozen("tf_efficientnet_lite0") == 1
    assert frozen("convnext_atto") == frozen("vit_tiny_patch16_224") == frozen("xcit_nano_12_p16_224") == -1


def test_a_frozen_backbone_records_nothing_for_a_backward_pass() -> None:
    backbone = SourceTimm("convnext_atto", frozen_stages=4).train()
    assert not any(m.requires_grad for m in backbone(torch.randn(1, 3, 64, 64)))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_recomputed_blocks_give_the_same_gradients(name: str) -> None:
    found = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        backbone = SourceTimm(name, frozen_stages=2, with_cp=with_cp, norm_policy="eval").train()
        sum(m.square().mean() for m in backbone(torch.ones(1, 3, 64, 64))).backward()
        found.append([p.grad for p in backbone.net.parameters() if p.grad is not None])
    assert found[0] and all(torch.allclose(a, b) for a, b in zip(*found, strict=True))


@torch.no_grad()
def test_synchronised_batch_norms_keep_their_activations() -> None:
    from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm

    backbone = settled(SourceTimm("tf_efficientnet_lite0"))
    x = torch.randn(1, 3, 64, 64)
    wanted = backbone(x)
    for change in (convert_sync_batchnorm, revert_sync_batchnorm):
        backbone = change(backbone)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(backbone.eval()(x), wanted, strict=True)), change
    assert all(
        torch.allclose(a, b, atol=1e-5)
        for a, b in zip(
            _loaded(SourceTimm("tf_efficientnet_lite0", norm_cfg={"type": "SyncBN"}), backbone).eval()(x),
            wanted,
            strict=True,
        )
    )


def _loaded(one: nn.Module, other: nn.Module) -> nn.Module:
    one.load_state_dict(other.state_dict())
    return one


# -- weights -----------------------------------------------------------------------------------------------------------


def test_a_file_loads_strictly_whatever_its_head(tmp_path: Path) -> None:
    net = timm.create_model("convnext_atto", num_classes=7)
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "seven.pth")
    backbone = SourceTimm("convnext_atto", source=f"timm:convnext_atto@{tmp_path / 'seven.pth'}")
    backbone.init_weights()
    mine = backbone.net.state_dict()
    assert set(net.state_dict()) - set(mine) == {"head.fc.weight", "head.fc.bias"}
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in mine.items())
    state = net.state_dict()
    del state["stages.2.blocks.1.gamma"]
    torch.save(state, tmp_path / "short.pth")
    backbone.source = f"timm:convnext_atto@{tmp_path / 'short.pth'}"
    with pytest.raises(WeightsMismatch, match=r"1 missing \(stages\.2\.blocks\.1\.gamma\)"):
        backbone.init_weights()
    backbone.source = f"timm:resnet18@{tmp_path / 'seven.pth'}"
    with pytest.raises(WeightsMismatch, match="is a timm:resnet18, the backbone is a timm:convnext_atto"):
        backbone.init_weights()


def test_position_embeddings_of_another_grid_are_interpolated(tmp_path: Path) -> None:
    net = timm.create_model("vit_tiny_patch16_224", img_size=320)
    torch.save(net.state_dict(), tmp_path / "large.pth")
    backbone = SourceTimm("vit_tiny_patch16_224", source=f"timm:vit_tiny_patch16_224@{tmp_path / 'large.pth'}")
    pyramid = copy.deepcopy(backbone.pyramid.state_dict())
    backbone.init_weights()
    assert net.pos_embed.shape == (1, 401, 192) and backbone.net.pos_embed.shape == (1, 197, 192)
    assert torch.equal(backbone.net.blocks[3].attn.qkv.weight, net.blocks[3].attn.qkv.weight)
    assert all(torch.equal(value, pyramid[key]) for key, value in backbone.pyramid.state_dict().items())


def test_what_rtx_trained_is_a_source_again(tmp_path: Path) -> None:
    trained = SourceTimm("vit_tiny_patch16_224")
    state = {f"backbone.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"state_dict": {**state, "neck.weight": torch.ones(1)}}, tmp_path / "epoch_1.pth")
    backbone = SourceTimm("vit_tiny_patch16_224", source=f"timm:vit_tiny_patch16_224@{tmp_path / 'epoch_1.pth'}")
    backbone.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(backbone.net.parameters(), trained.net.parameters(), strict=True))


# -- configs -----------------------------------------------------------------------------------------------------------


def detector() -> Config:
    return Config(
        {
            "default_scope": "mmdet",
            "model": {
                "backbone": {"type": "SourceResNet", "depth": 50, "norm_cfg": {"type": "BN"}, "with_cp": False},
                "neck": {"in_channels": [256, 512, 1024, 2048]},
                "data_preprocessor": {"mean": [0, 0, 0], "std": [1, 1, 1], "bgr_to_rgb": False},
            },
        }
    )


def classifier() -> Config:
    return Config(
        {
            "default_scope": "mmpretrain",
            "model": {
                "backbone": {"type": "SourceResNet", "depth": 50, "out_indices": (3,)},
                "neck": {"type": "GlobalAveragePooling"},
                "head": {"type": "LinearClsHead", "num_classes": 10, "in_channels": 2048},
            },
            "data_preprocessor": {"mean": [0, 0, 0], "std": [1, 1, 1], "to_rgb": False},
        }
    )


def test_a_detector_takes_channels_statistics_and_transfer() -> None:
    cfg = with_transfer(with_source(detector(), "timm:tf_efficientnet_lite0@random"), "blocks:3")
    assert cfg.model.neck.in_channels == [24, 40, 112, 320]
    assert cfg.model.data_preprocessor.mean == [127.5] * 3 and cfg.model.data_preprocessor.bgr_to_rgb
    backbone = cfg.model.backbone
    assert (backbone.type, backbone.model, backbone.source) == ("SourceTimm", "tf_efficientnet_lite0", "random")
    assert backbone.norm_policy == "eval" and backbone.trainable_blocks == 3
    assert arch_of(backbone) == "timm:tf_efficientnet_lite0"
    assert with_source(cfg, "random").model.backbone.model == "tf_efficientnet_lite0"
    back = with_source(cfg, "resnet18_l2_eps3")
    assert "model" not in back.model.backbone and back.model.neck.in_channels == [64, 128, 256, 512]
    check_statistics(with_source(detector(), "timm:tf_efficientnet_lite0"))


@torch.no_grad()
def test_a_classifier_reads_what_the_published_one_pools() -> None:
    cfg = with_source(classifier(), "timm:tf_efficientnet_lite0@random")
    assert cfg.model.head.in_channels == 1280 and cfg.model.backbone.final
    backbone = SourceTimm(**{k: v for k, v in cfg.model.backbone.items() if k != "type"}).eval()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(backbone(x)[0], backbone.net.forward_features(x))
    assert "net.conv_head" in backbone.plan.trainable
    cfg = with_source(cfg, "timm:vit_tiny_patch16_224@random")
    assert cfg.model.head.in_channels == 192
    backbone = SourceTimm(**{k: v for k, v in cfg.model.backbone.items() if k != "type"}).eval()
    tokens = backbone.net.forward_features(x)[:, 1:].transpose(1, 2)
    assert torch.allclose(backbone(x)[0].flatten(2), tokens, atol=1e-6) and not list(backbone.pyramid)
    assert not with_source(detector(), "timm:vit_tiny_patch16_224@random").model.backbone.final


@pytest.mark.parametrize("name", ["convnext_atto", pytest.param("vgg11_bn", marks=pytest.mark.slow)])
@torch.no_grad()
def test_a_classifier_pools_no_padding_that_the_published_network_has_not(name: str) -> None:
    backbone = settled(SourceTimm(name, final=True, out_indices=(3,))).eval()
    x = torch.randn(1, 3, 80, 75)
    assert torch.allclose(backbone(x)[0], backbone.net.forward_features(x), atol=TOLERANCE)
    assert layout_of("swin_tiny_patch4_window7_224").final_divisor == 4, "Swin takes whole patches only"


@pytest.mark.parametrize(
    ("name", "size", "before"),
    [
        ("vit_tiny_patch16_224", (48, 80), 1),
        ("vit_small_patch14_reg4_dinov2", (70, 56), 5),
        pytest.param("eva02_tiny_patch14_224", (70, 56), 1, marks=pytest.mark.slow),
        pytest.param("vit_small_patch16_dinov3", (48, 80), 5, marks=pytest.mark.slow),
        pytest.param("xcit_nano_12_p8_224", (40, 24), 1, marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_a_classifier_on_a_plain_vit_sees_the_published_patches_and_pools_no_padding(
    name: str, size: tuple[int, int], before: int
) -> None:
    backbone = settled(SourceTimm(name, final=True, out_indices=(3,))).eval()
    x = torch.randn(1, 3, *size)
    tokens = backbone.net.forward_features(x)[:, before:].transpose(1, 2)
    assert torch.allclose(backbone(x)[0].flatten(2), tokens, atol=TOLERANCE)
    ragged = backbone(x[:, :, 1:, 2:])[0]
    assert ragged.shape == backbone(x)[0].shape, "padded to whole patches"


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_unknown_names_show_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"model 'convnext_tyny' is not in timm .*did you mean 'convnext_tiny'"):
        with_source(detector(), "timm:convnext_tyny")
    with pytest.raises(UnknownName, match=r"tag of resnet18 'a1_in1' is not in timm .*'a1_in1k'"):
        with_source(detector(), "timm:resnet18.a1_in1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("levit_128s", "maps at strides 16, 32, 64; needed are 4, 8, 16 and 32"),
        ("maxvit_tiny_tf_224", r"does not take images of any size, .*divisible by window"),
        ("beit_base_patch16_224", "does not take images of any size"),
    ],
)
def test_a_model_without_the_maps_is_refused_when_the_config_is_made(name: str, text: str) -> None:
    with pytest.raises(BadValue, match=text):
        with_source(detector(), f"timm:{name}@random")


def test_a_model_without_feature_extraction_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.models.resnet import ResNet

    monkeypatch.delattr(ResNet, "forward_intermediates")
    with pytest.raises(BadValue, match="resnet26 has no feature maps"):
        spec_of("timm:resnet26")
