"""SourceSwin computes what mmdet's and mmseg's SwinTransformer compute, and follows Swin's own freezing rules."""

from __future__ import annotations

import pytest
import torch

import rtx.sources.keys.swin as swin_keys
from rtx.backbones import SourceSwin
from rtx.backbones.spec import spec_of
from rtx.errors import BadValue
from rtx.sources.catalog.archs import ARCHS, reference_shapes
from rtx.sources.keys.swin import SWIN_SHAPES, to_openmmlab, to_original
from tests.sources.made_up import make_weights, random_state, to_timm

SIZES = [(64, 96), (97, 150)]


def without_head(state):
    return {key: value for key, value in state.items() if not key.startswith(ARCHS["swin_t"].classifier)}


def small_weights(arch, seed):
    # Transformer scale: the made-up values of convolutional nets would saturate every softmax.
    return {key: value * 0.3 if value.ndim == 2 else value for key, value in random_state(arch, seed).items()}


@pytest.mark.parametrize("framework", ["mmdet", "mmseg"])
@pytest.mark.parametrize(
    "arch",
    [
        "swin_t",
        *(pytest.param(arch, marks=pytest.mark.slow) for arch in SWIN_SHAPES if arch not in ("swin_t", "swin_b_w12")),
        pytest.param("swin_b_w12", marks=[pytest.mark.slow, pytest.mark.ci]),
    ],
)
def test_features_equal_the_frameworks_own_swin(framework, arch):
    registry = pytest.importorskip(f"{framework}.registry").MODELS
    pytest.importorskip(f"{framework}.models")
    shape = SWIN_SHAPES[arch]
    stock = registry.build(
        {
            "type": f"{framework}.SwinTransformer",
            "embed_dims": shape.width,
            "depths": shape.depths,
            "num_heads": shape.heads,
            "window_size": shape.window,
            "pretrain_img_size": 224,
        }
    )
    ours = registry.build({"type": "SourceSwin", "arch": arch})
    state = without_head(small_weights(arch, 2))
    ours.load_state_dict(ours.from_source(state), strict=True)
    missing, unexpected = stock.load_state_dict(to_openmmlab(state), strict=False)
    assert not unexpected and all("relative_position_index" in k or k.startswith("norm") for k in missing)
    stock.eval()
    ours.eval()
    for size in SIZES:
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            features = ours(x)
            for mine, theirs in zip(features, stock(x), strict=True):
                assert mine.shape == theirs.shape and (mine - theirs).abs().max() <= 1e-5
        assert tuple(f.shape[1] for f in features) == spec_of(arch).channels


@pytest.mark.parametrize("arch", ["swin_t", pytest.param("swin_b_w12", marks=[pytest.mark.slow, pytest.mark.ci])])
def test_a_classifiers_features_equal_those_of_mmpretrains_own_swin(arch):
    """At the size of its training a published classifier shifts no window in stage 4; detectors do."""
    registry = pytest.importorskip("mmpretrain.registry").MODELS
    pytest.importorskip("mmpretrain.models")
    shape, side = SWIN_SHAPES[arch], 384 if arch == "swin_b_w12" else 224
    settings = {"embed_dims": shape.width, "depths": list(shape.depths), "num_heads": list(shape.heads)}
    stock = registry.build(
        {"type": "mmpretrain.SwinTransformer", "arch": settings, "img_size": side, "window_size": shape.window}
    )
    last = {"out_indices": (3,), "last_norm_from_source": True}
    ours = SourceSwin(arch, **last, shift_single_windows=False)
    shifting = SourceSwin(arch, **last)
    state = {key: value for key, value in small_weights(arch, 6).items() if not key.startswith("head.")}
    names = to_openmmlab(swin_keys.with_indices(state))
    stock.load_state_dict({key.replace("norm.", "norm3.") if key[:5] == "norm." else key: names[key] for key in names})
    x = torch.randn(1, 3, side, side)
    with torch.no_grad():
        stock.eval()
        theirs = stock(x)[0]
        for net in (ours, shifting):
            net.load_state_dict(net.from_source(state), strict=True)
        assert (ours.eval()(x)[0] - theirs).abs().max() <= 1e-5
        assert (shifting.eval()(x)[0] - theirs).abs().max() > 1e-3


def test_our_renaming_equals_mmdets_own_converter():
    converter = pytest.importorskip("mmdet.models.backbones.swin").swin_converter
    state = without_head(random_state("swin_t", 3))
    theirs = {key.removeprefix("backbone."): value for key, value in converter(state).items()}
    ours = to_openmmlab(state)
    assert set(ours) == set(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("there", [to_openmmlab, to_timm, dict], ids=["openmmlab", "timm", "original"])
def test_dialects_lead_back_to_the_original_names(there):
    state = random_state("swin_t", 4)
    renamed = there(state)
    dialect = swin_keys.dialect_of(renamed)
    back, derived = to_original({**renamed, "layers.0.blocks.1.attn_mask": torch.zeros(1)}, dialect)
    assert derived == ["layers.0.blocks.1.attn_mask"]
    assert set(back) == set(state) and all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize("layout", ["swin", "swin_timm", "swin_openmmlab", "ddp", "mmengine"])
def test_every_layout_loads_strictly_and_output_norms_stay_identity(tmp_path, layout):
    state = make_weights(tmp_path / "s.pth", "swin_t", layout)
    backbone = SourceSwin("swin_t", source=str(tmp_path / "s.pth"))
    backbone.init_weights()
    for key, value in backbone.state_dict().items():
        if key.startswith(("norm0", "norm1", "norm2", "norm3")):
            assert torch.equal(value, torch.full_like(value, float(key.endswith("weight"))))
        else:
            assert torch.equal(value, state[key]), key


def test_the_final_norm_is_taken_where_a_classifier_needs_it(tmp_path):
    state = make_weights(tmp_path / "s.pth", "swin_t", "swin")
    backbone = SourceSwin("swin_t", source=str(tmp_path / "s.pth"), out_indices=(3,), last_norm_from_source=True)
    backbone.init_weights()
    assert torch.equal(backbone.norm3.weight, state["norm.weight"])
    with pytest.raises(BadValue, match="last_norm_from_source"):
        SourceSwin("swin_t", out_indices=(0,), last_norm_from_source=True)


def test_a_pretrained_final_norm_is_frozen_with_the_last_block():
    def trains(**kwargs):
        backbone = SourceSwin("swin_t", out_indices=(2, 3), last_norm_from_source=True, **kwargs)
        return {name for name, p in backbone.named_parameters() if p.requires_grad and name.startswith("norm")}

    assert trains(frozen_stages=4) == {"norm2.weight", "norm2.bias"}
    assert trains(trainable_blocks=1) == {f"norm{i}.{part}" for i in (2, 3) for part in ("weight", "bias")}


def test_fixed_keeps_output_norms_trainable_unless_asked():
    free = {name for name, p in SourceSwin("swin_t", frozen_stages=4).named_parameters() if p.requires_grad}
    assert free == {f"norm{i}.{name}" for i in range(4) for name in ("weight", "bias")}
    closed = SourceSwin("swin_t", frozen_stages=4, freeze_output_norms=True)
    assert not any(p.requires_grad for p in closed.parameters())


def test_frozen_stages_and_output_norms_equal_mmdets_rules():
    stock = pytest.importorskip("mmdet.models").SwinTransformer(frozen_stages=2)
    stock.train()
    ours = SourceSwin("swin_t", frozen_stages=2, freeze_output_norms=True)
    frozen = {name for name, p in ours.named_parameters() if not p.requires_grad}
    marked = {name: torch.zeros(p.shape) for name, p in ours.named_parameters()}
    names = dict(zip(marked, to_openmmlab(marked), strict=True))
    assert {names[name] for name in frozen} == {name for name, p in stock.named_parameters() if not p.requires_grad}


def test_blocks_count_across_stages():
    backbone = SourceSwin("swin_t", trainable_blocks=3)
    trains = {name for name, p in backbone.named_parameters() if p.requires_grad and not name.startswith("norm")}
    prefixes = ("layers.2.blocks.5.", "layers.2.downsample.", "layers.3.blocks.")
    assert trains == {name for name, _ in backbone.named_parameters() if name.startswith(prefixes)}


def test_stochastic_depth_is_off_in_frozen_blocks_and_on_in_others():
    backbone = SourceSwin("swin_t", frozen_stages=3, drop_path_rate=0.9)
    drops = {name: m.training for name, m in backbone.named_modules() if name.endswith("drop_path")}
    assert {name for name, on in drops.items() if on} == {f"layers.3.blocks.{i}.drop_path" for i in (0, 1)}
    torch.manual_seed(0)
    x = torch.randn(4, 3, 64, 64)
    one, two = backbone(x), backbone(x)
    assert all(torch.equal(a, b) for a, b in zip(one[:3], two[:3], strict=True)) and not torch.equal(one[3], two[3])


def test_a_merging_that_nothing_reads_waits_for_no_gradient():
    backbone = SourceSwin("swin_t", out_indices=(0, 1))
    sum(f.mean() for f in backbone(torch.randn(1, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)
    assert not backbone.layers[1].downsample.reduction.weight.requires_grad


@pytest.mark.parametrize("arch", SWIN_SHAPES)
def test_shapes_are_stated_without_building(arch):
    with torch.device("meta"):
        assert SourceSwin(arch).source_shapes() == reference_shapes(arch)


def test_batch_norm_is_refused():
    with pytest.raises(BadValue, match="layer norm"):
        SourceSwin("swin_t", norm_cfg={"type": "BN"})
