"""Conversion keeps every weight, under the names of the framework, and comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from rtx.errors import BadValue, UnknownName, WeightsMismatch
from rtx.sources.catalog.archs import ARCHS, find_arch, full_shapes, reference_shapes
from rtx.sources.catalog.rows import CATALOG
from rtx.sources.convert import convert, hint, renamed
from rtx.sources.describe import as_text, describe
from rtx.sources.keys.openmmlab import stock_backbone
from rtx.sources.load import load_source
from rtx.sources.reading.read import read_checkpoint
from tests.sources.made_up import WRITERS, make_source, make_weights, metadata_of, random_state, small_shape


@pytest.fixture(scope="module")
def r18(tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / "resnet18_l2_eps3.ckpt"
    return path, make_weights(path, "resnet18", "robustness")


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / "swin_tiny_patch4_window7_224.pth"
    return path, make_weights(path, "swin_t", "swin")


def assert_same(loaded, state):
    assert loaded and all(torch.equal(value, state[key]) for key, value in loaded.items() if "tracked" not in key)


@pytest.mark.parametrize(
    ("target", "suffix"),
    [("mmdet", ".pth"), ("mmseg", ".safetensors"), ("mmpretrain", ".pth"), ("torchvision", ".pth"),
     ("torchvision", ".safetensors"), ("detectron2", ".pkl")],
)  # fmt: skip
def test_a_resnet_goes_there_and_back(r18, tmp_path, target, suffix):
    path, state = r18
    out = tmp_path / f"out{suffix}"
    meta = convert(path, target, out)
    assert (meta["arch"], meta["origin"], meta["sources"]) == ("resnet18", path.name, ["resnet18_l2_eps3"])
    loaded = load_source(str(out), "resnet18")
    assert_same(loaded.state_dict, state)
    if suffix == ".pth":
        torch.load(out, weights_only=True)  # what the frameworks do by default
    if suffix == ".safetensors":
        assert metadata_of(out)["origin_sha256"] == meta["origin_sha256"]
    assert str(out) in hint(target, "resnet18", out)


@pytest.mark.parametrize("target", ["mmdet", "mmseg", "mmpretrain"])
def test_the_framework_itself_loads_the_file_completely(r18, tmp_path, target):
    registry = pytest.importorskip(f"{target}.registry").MODELS
    pytest.importorskip(f"{target}.models")
    convert(r18[0], target, tmp_path / "out.pth")
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "out.pth"), "prefix": "backbone."}
    net = registry.build({"type": f"{target}.ResNet", "depth": 18, "style": "pytorch", "init_cfg": init})
    net.init_weights()
    assert_same(net.state_dict(), r18[1])


def test_mmdets_swin_loads_the_file_completely(swin, tmp_path):
    models = pytest.importorskip("mmdet.models")
    convert(swin[0], "mmdet", tmp_path / "out.pth")
    net = models.SwinTransformer(init_cfg={"type": "Pretrained", "checkpoint": str(tmp_path / "out.pth")})
    net.init_cfg = type("C", (dict,), {"checkpoint": str(tmp_path / "out.pth")})(net.init_cfg)
    net.init_weights()
    assert torch.equal(net.stages[3].blocks[1].ffn.layers[1].weight, swin[1]["layers.3.blocks.1.mlp.fc2.weight"])
    assert_same(load_source(str(tmp_path / "out.pth"), "swin_t").state_dict, swin[1])


def test_mmpretrains_swin_gets_the_final_norm(swin, tmp_path):
    convert(swin[0], "mmpretrain", tmp_path / "out.pth")
    found = read_checkpoint(tmp_path / "out.pth")["state_dict"]
    assert torch.equal(found["backbone.norm3.weight"], swin[1]["norm.weight"])


@pytest.mark.parametrize("arch", [name for name, arch in ARCHS.items() if arch.family == "resnet"])
def test_detectron2_options_build_the_published_shapes(arch):
    """Its own rule: a block is NUM_GROUPS * WIDTH_PER_GROUP wide inside, RES2_OUT_CHANNELS outside, 3 convolutions deep
    where DEPTH is 50 or more, and DEPTH counts the convolutions of the blocks, the stem and the classifier."""
    said = dict(re.findall(r"MODEL\.RESNETS\.(\w+) (\d+)", hint("detectron2", arch, Path("x.pkl"))))
    option = {"NUM_GROUPS": 1, "WIDTH_PER_GROUP": 64, "RES2_OUT_CHANNELS": 256} | {k: int(v) for k, v in said.items()}
    shapes = full_shapes(arch)
    convolutions = [k for k in shapes if re.match(r"layer\d\.\d+\.conv\d\.weight", k)]
    last = "conv3" if option["DEPTH"] >= 50 else "conv2"
    inside = shapes["layer1.0.conv2.weight"]
    assert option["DEPTH"] == len(convolutions) + 2
    assert inside[0] == option["NUM_GROUPS"] * option["WIDTH_PER_GROUP"]
    assert inside[1] * option["NUM_GROUPS"] == inside[0]
    assert shapes[f"layer1.0.{last}.weight"][0] == option["RES2_OUT_CHANNELS"]


def test_detectron2_names_are_those_of_its_own_converter(r18, tmp_path):
    convert(r18[0], "detectron2", tmp_path / "out.pkl")
    names = set(read_checkpoint(tmp_path / "out.pkl")["model"])
    for name in ("stem.conv1.weight", "stem.conv1.norm.running_var", "res2.0.conv1.weight", "res5.1.conv2.norm.bias",
                 "res3.0.shortcut.weight", "res3.0.shortcut.norm.running_mean"):  # fmt: skip
        assert name in names
    assert not any("layer" in name or "bn" in name or "fc" in name for name in names)


def test_torchvision_keeps_the_classifier(r18, tmp_path):
    from torchvision.models import resnet18

    convert(r18[0], "torchvision", tmp_path / "out.pth")
    resnet18().load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"], strict=True)


def test_targets_outputs_and_networks_that_do_not_go_together_are_refused(r18, swin, tmp_path):
    with pytest.raises(UnknownName, match="'mmdet'"):
        convert(r18[0], "mmdett", tmp_path / "o.pth")
    with pytest.raises(BadValue, match=r"\.pkl"):
        convert(r18[0], "detectron2", tmp_path / "o.pth")
    with pytest.raises(BadValue, match="is the input"):
        convert(tmp_path / "x.pth", "mmdet", tmp_path / "x.pth")
    with pytest.raises(BadValue, match="detectron2 has no swin_t"):
        convert(swin[0], "detectron2", tmp_path / "o.pkl")
    torch.save({"a": torch.zeros(1)}, tmp_path / "u.pth")
    with pytest.raises(WeightsMismatch, match="cannot tell"):
        convert(tmp_path / "u.pth", "mmdet", tmp_path / "o.pth")


# -- every architecture against the networks that the frameworks build by themselves -----------------------------------


@pytest.fixture
def numbers_on_cpu(monkeypatch):
    """Networks built without memory may still read the numbers of their drop-path ramp."""
    linspace = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *args, **kwargs: linspace(*args, **{**kwargs, "device": "cpu"}))


def stock_network(target, arch):
    """The network that the printed hint names, without memory; None where the framework has none."""
    if target == "torchvision":
        import torchvision

        words = hint(target, arch, Path("x.pth")).partition(".load_state_dict")[0]
        with torch.device("meta"):
            return eval(words, {"torchvision": torchvision})
    text = stock_backbone(arch, target)
    if text is None:
        return None
    registry = pytest.importorskip(f"{target}.registry").MODELS
    pytest.importorskip(f"{target}.models")
    arguments = eval(f"dict({text})")
    with torch.device("meta"):
        return registry.build({**arguments, "type": f"{target}.{arguments['type']}"})


@pytest.mark.parametrize("target", ["mmdet", "mmseg", "mmpretrain", "torchvision"])
@pytest.mark.parametrize("arch", [name for name, arch in ARCHS.items() if arch.family != "torchvision"])
def test_keys_and_shapes_are_those_of_the_stock_network(arch, target, numbers_on_cpu):
    whole = {key: torch.empty(shape, device="meta") for key, shape in full_shapes(arch).items()}
    backbone = {key: whole[key] for key in reference_shapes(arch)}
    head = {key: value for key, value in whole.items() if key not in backbone}
    names = {key.removeprefix("backbone."): value for key, value in renamed(backbone, head, target, arch).items()}
    net = stock_network(target, arch)
    if net is None:
        assert set(names) == set(backbone), "rtx's own backbone takes it"
        assert "--source" in hint(target, arch, Path("x.pth"))
        return
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    if arch.startswith("swin") and target in ("mmdet", "mmseg"):
        # Norms of the pyramid's outputs: no classifier has them, they start as identity.
        shapes = {key: shape for key, shape in shapes.items() if not key.startswith("norm")}
    assert {key: tuple(value.shape) for key, value in names.items()} == shapes


RENAMED = [("vgg16_bn", "mmpretrain"), ("densenet161", "mmpretrain"), ("mobilenet_v2", "mmpretrain"),
           ("mobilenet_v2", "mmdet"), ("shufflenet_v2_x1_0", "mmpretrain"), ("wide_resnet50_2", "mmpretrain"),
           ("mnasnet1_0", "torchvision"), ("swin_t", "torchvision"), ("swin_t", "mmpretrain")]  # fmt: skip
IN_CI = ("mobilenet_v2", "shufflenet_v2_x1_0", "mnasnet1_0")


def converted(arch, target):
    return pytest.param(arch, target, marks=[pytest.mark.slow, *([pytest.mark.ci] if arch in IN_CI else [])])


@pytest.mark.parametrize(("arch", "target"), [converted(*row) for row in RENAMED])
def test_a_converted_file_loads_strictly_and_computes_the_same(arch, target, tmp_path, numbers_on_cpu):
    from mmengine.registry import MODELS

    import rtx.backbones  # noqa: F401  # registers
    from rtx.backbones.spec import spec_of

    source = tmp_path / "f.ckpt"
    state = make_weights(source, arch, "swin" if arch == "swin_t" else "robustness")
    convert(source, target, tmp_path / "out.pth")
    saved = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    net = stock_network(target, arch).to_empty(device="cpu")
    net.eval()  # OpenMMLab's return None
    names = {key.removeprefix("backbone."): value for key, value in saved.items()}
    net.load_state_dict(saved if target == "torchvision" else names, strict=True)
    last = {"last_norm_from_source": True, "shift_single_windows": False} if arch == "swin_t" else {}
    ours = MODELS.build({**spec_of(arch).config, "out_indices": (3,), "source": f"{arch}:{source}", **last}).eval()
    ours.init_weights()
    x = torch.randn(1, 3, 224, 224)  # mmpretrain's Swin shrinks its windows on smaller images
    with torch.no_grad():
        mine = ours(x)[0]
        theirs = {
            "swin_t-torchvision": lambda: net.permute(net.norm(net.features(x))),
            "mnasnet1_0-torchvision": lambda: net.layers(x),
        }.get(f"{arch}-{target}", lambda: net(x)[-1])()
    assert mine.shape == theirs.shape and (mine - theirs).abs().max() <= 1e-5 * max(1.0, float(theirs.abs().max()))
    back = load_source(f"{arch}:{tmp_path / 'out.pth'}", arch)
    assert_same(back.state_dict, state)


def test_a_safetensors_file_is_not_promised_to_openmmlabs_loader():
    assert "Pretrained" in hint("mmdet", "resnet50", Path("x.pth"))
    assert "Pretrained" not in hint("mmdet", "resnet50", Path("x.safetensors"))
    assert "load_file" in hint("torchvision", "resnet50", Path("x.safetensors"))


def test_inspect_shows_layout_copies_normaliser_and_dropped_keys(r18):
    facts = describe(r18[0])
    assert facts["architecture"] == "resnet18" and facts["layout"] == "robustness" and facts["problems"] == []
    assert facts["copies"] == ["module.attacker.model."] and facts["dropped"] == ["fc.weight", "fc.bias"]
    assert facts["normaliser"]["mean"] == pytest.approx((0.485, 0.456, 0.406))
    assert facts["sources"] == ["resnet18_l2_eps3"]
    text = as_text(facts)
    for part in ("(identical)", "mean 0.485 0.456 0.406", "usable         yes", "fc.weight, fc.bias", "optimizer"):
        assert part in text


def test_inspect_names_what_keeps_a_file_from_use(tmp_path):
    state = random_state("resnet18", 0)
    del state["layer3.0.conv1.weight"]
    torch.save(state, tmp_path / "f.pth")
    assert "layer3.0.conv1.weight" in describe(tmp_path / "f.pth")["problems"][0]


# -- the whole catalogue, in small -------------------------------------------------------------------------------------

FORMS = sorted({(source.arch, source.layout, "madry" in source.recipe) for source in CATALOG.values()})


def resized_by_timm(arch):
    """Whether timm's own conversion brings patches to the network's size, so that a file in small is none of its."""
    return arch.startswith(("timm:vit", "timm:xcit", "timm:swin"))


# One of each family of timm; the others differ in numbers, and timm takes seconds to build each.
QUICK = ("timm:convnext_tiny", "timm:vit_small_patch16_dinov3", "timm:xcit_small_12_p16_224")


def form(arch, layout, legacy):
    slow = arch.startswith("timm:") and arch not in QUICK
    return pytest.param(arch, layout, legacy, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("arch", "layout", "legacy"), [form(*row) for row in FORMS])
def test_every_catalogued_form_loads_from_its_exact_layout(tmp_path, arch, layout, legacy):
    if arch.startswith("timm:"):
        pytest.importorskip("timm", reason="needs the extra timm")
    source = next(s for s in CATALOG.values() if (s.arch, s.layout, "madry" in s.recipe) == (arch, layout, legacy))
    small = not resized_by_timm(arch)
    path = make_source(tmp_path, source, small=small)
    shapes = {key: small_shape(shape) if small else shape for key, shape in reference_shapes(arch).items()}
    loaded = load_source(f"{arch}{'@' if arch.startswith('timm:') else ':'}{path}", arch, shapes)
    state = random_state(arch, 0, small=small)
    assert list(loaded.state_dict) == list(shapes)
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict.items())
    assert loaded.found.layout.name == layout
    for key in loaded.dropped:
        assert key.startswith(find_arch(arch).classifier) or key.endswith("relative_position_index"), key


def test_a_made_up_file_never_replaces_one_that_is_there(tmp_path):
    from rtx.errors import WeightsError

    source = CATALOG["resnet18_l2_eps3"]
    make_source(tmp_path, source, small=True)
    with pytest.raises(WeightsError, match="already there"):
        make_source(tmp_path, source, small=True)


def test_layouts_without_a_catalogued_source_still_have_a_writer():
    assert {layout for _, layout, _ in FORMS} < set(WRITERS)
