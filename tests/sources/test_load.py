"""Every layout leads to the same weights, strictly."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace

import pytest
import torch

from rtx.errors import UnknownName, WeightsError, WeightsMismatch
from rtx.files import file_sha256
from rtx.sources.catalog.archs import ARCHS, reference_shapes
from rtx.sources.catalog.rows import CATALOG, find
from rtx.sources.catalog.spec import parse_spec
from rtx.sources.keys.guess import guess_arch
from rtx.sources.keys.layouts import LAYOUTS, recognise
from rtx.sources.load import check_published, fit, load_source, locate
from rtx.sources.reading.read import read_checkpoint
from rtx.sources.stated import stated_statistics
from tests.sources.hostile import SHAPES, good_state
from tests.sources.made_up import WRITERS, make_weights, random_state, write_weights


def with_classifier():
    return {**good_state(), "fc.weight": torch.ones(10, 4), "fc.bias": torch.zeros(10)}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "layout", [name for name in WRITERS if not name.startswith(("swin", "detectron2", "efficient"))]
)
def test_every_layout_gives_the_same_weights(tmp_path, layout, legacy):
    path = tmp_path / "f.pth"
    write_weights(path, with_classifier(), layout, arch="resnet18", legacy=legacy)
    loaded = load_source(str(path), "resnet18", SHAPES)
    assert loaded.found.layout.name == layout
    assert list(loaded.state_dict) == list(SHAPES)
    assert all(torch.equal(loaded.state_dict[key], value) for key, value in good_state().items())
    # The heads are the only thing left over: the classifier, or an OpenMMLab neck where the layout has that instead.
    assert set(loaded.dropped) <= {"fc.weight", "fc.bias", "neck.fpn_convs.0.conv.weight"}
    assert loaded.sha256 == file_sha256(path)
    assert (loaded.found.normaliser is not None) == (layout in ("robustness", "robustness_wrapped", "lightning"))
    assert len(loaded.found.copies) == (1 if "robustness" in layout else 0)


def test_a_real_resnet_loads_into_the_backbone_from_the_published_layout(tmp_path):
    backbones = pytest.importorskip("rtx.backbones")
    state = make_weights(tmp_path / "r18.ckpt", "resnet18", "robustness", legacy=True)
    backbone = backbones.SourceResNet(18, source=str(tmp_path / "r18.ckpt"))
    backbone.init_weights()
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    with pytest.raises(WeightsMismatch, match=r"looks like a resnet18.*--source resnet18:") as caught:
        load_source(str(tmp_path / "r18.ckpt"), "resnet34")
    # 96 entries more than ResNet-18 has, 16 of them counters that may be absent.
    assert "80 missing" in str(caught.value) and "unexpected" not in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "stated"),
    [
        ({"rtx_source": {}, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}, ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))),
        ({"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}, None),  # of another writer, in another unit perhaps
        ({"rtx_source": {}, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.0, 0.1]}, None),
        ({"rtx_source": {}, "mean": [0.5, 0.4, 0.3], "std": [0.2, float("nan"), 0.1]}, None),
        ({"rtx_source": {}, "mean": [0.5, 0.4], "std": [0.2, 0.2]}, None),
        ({"rtx_source": {}}, None),
        ("text", None),
    ],
)
def test_a_source_trained_here_states_its_pixel_statistics(tmp_path, meta, stated):
    state = {f"backbone.{key}": value for key, value in good_state().items()}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "source.pth")
    assert stated_statistics(tmp_path / "source.pth") == stated


def test_every_differing_key_is_counted_and_named():
    found = recognise({**good_state(), "extra.weight": torch.zeros(1), "bn1.weight": torch.zeros(5)}, "f")
    shapes = {**SHAPES, "absent.weight": (1,)}
    with pytest.raises(WeightsMismatch) as caught:
        fit(found, "resnet18", shapes, (), "f")
    for text in ("1 missing (absent.weight)", "1 unexpected (extra.weight)", "bn1.weight (5,) instead of (4,)"):
        assert text in str(caught.value)


def test_only_declared_keys_are_dropped():
    found = recognise({**good_state(), "aux.weight": torch.zeros(1)}, "f")
    with pytest.raises(WeightsMismatch, match=r"aux\.weight"):
        fit(found, "resnet18", SHAPES, (), "f")
    assert fit(found, "resnet18", SHAPES, ("aux.*",), "f")[1] == ("aux.weight",)


def test_only_the_batch_counter_may_be_missing():
    state = good_state()
    del state["bn1.num_batches_tracked"]
    weights, _, filled = fit(recognise(state, "f"), "resnet18", SHAPES, (), "f")
    assert filled == ("bn1.num_batches_tracked",) and int(weights["bn1.num_batches_tracked"]) == 0
    del state["bn1.running_mean"]
    with pytest.raises(WeightsMismatch, match=r"1 missing .bn1\.running_mean"):
        fit(recognise(state, "f"), "resnet18", SHAPES, (), "f")


def test_keys_beside_a_wrapper_are_an_error():
    state = {f"module.{key}": value for key, value in good_state().items()} | {"stray": torch.zeros(1)}
    with pytest.raises(WeightsMismatch, match="stray"):
        recognise(state, "f")


def test_every_layout_has_a_writer_and_the_other_way_round():
    assert set(WRITERS) == set(LAYOUTS)


@pytest.mark.parametrize("arch", [name for name, arch in ARCHS.items() if arch.family != "torchvision"])
def test_an_architecture_is_told_by_its_keys_and_shapes(arch):
    state = {key: torch.empty(shape, device="meta") for key, shape in reference_shapes(arch).items()}
    assert guess_arch(state) == arch


def test_a_named_source_that_stores_other_statistics_than_its_record_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path))
    bare = replace(CATALOG["resnet18_l2_eps3"], sha256=None, sha256_prefix=None)
    monkeypatch.setitem(CATALOG, "resnet18_l2_eps3", bare)
    model = {f"module.model.{key}": value for key, value in good_state().items()}
    for name, values in (("mean", (0.4914, 0.4822, 0.4465)), ("std", (0.2023, 0.1994, 0.2010))):
        model[f"module.normalizer.new_{name}"] = torch.tensor(values).view(3, 1, 1)
    torch.save({"model": model}, tmp_path / bare.filename)
    with pytest.raises(WeightsMismatch, match=r"0\.4914"):
        load_source("resnet18_l2_eps3", "resnet18", SHAPES)


# -- where files are looked for ----------------------------------------------------------------------------------------


def test_a_missing_source_says_what_where_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path / "elsewhere"))
    with pytest.raises(WeightsError) as caught:
        locate("r50_eps3")
    for text in (
        "resnet50_l2_eps3",
        str(tmp_path / "elsewhere" / "resnet50_l2_eps3.ckpt"),
        str(tmp_path / "weights" / "resnet50_l2_eps3.ckpt"),
        "https://",
        "rtx weights fetch resnet50_l2_eps3",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"), [(os.mkfifo, "is a pipe"), (os.mkdir, "is a folder")], ids=["pipe", "folder"]
)
def test_what_is_there_and_no_file_is_named(make, said, tmp_path):
    make(tmp_path / "w.pth")
    for read in (locate, read_checkpoint):
        with pytest.raises(WeightsError, match=said):
            read(str(tmp_path / "w.pth"))


def test_the_environment_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path / "own"))
    for folder in ("own", "weights"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "resnet50_l2_eps3.ckpt").write_bytes(b"x")
    assert locate("resnet50_l2_eps3") == tmp_path / "own" / "resnet50_l2_eps3.ckpt"


@pytest.mark.parametrize(
    ("text", "source", "path", "arch"),
    [
        ("r50_eps3", "resnet50_l2_eps3", None, "resnet50"),
        ("resnet18_linf_eps0.5", "resnet18_linf_eps0.5", None, "resnet18"),
        ("runs/x.pth", None, "runs/x.pth", None),
        ("resnet34:runs/x", None, "runs/x", "resnet34"),
        ("random", None, None, None),
    ],
)
def test_specs(text, source, path, arch):
    parsed = parse_spec(text)
    assert (parsed.source and parsed.source.name, parsed.path and str(parsed.path), parsed.arch) == (source, path, arch)
    assert parsed.random == (text == "random")


@pytest.mark.parametrize(
    ("text", "near"), [("resnet50_l2_ep3", "resnet50_l2_eps3"), ("r50_esp3", "r50_eps3"), ("randm", "random")]
)
def test_unknown_sources_show_the_nearest(text, near):
    with pytest.raises(UnknownName, match=re.escape(near)) as caught:
        parse_spec(text)
    assert "rtx weights list" in str(caught.value)


def test_a_source_of_another_architecture_is_refused_before_reading(tmp_path):
    with pytest.raises(WeightsMismatch, match=r"is a resnet18, the backbone is a resnet50.*--source"):
        load_source("resnet18_l2_eps3", "resnet50")


def test_a_published_hash_must_match_and_an_unverified_one_only_warns(tmp_path, caplog):
    path = tmp_path / "f.pth"
    with pytest.raises(WeightsError, match="not the published"):
        check_published(find("resnet50_in1k_v1"), path, "ab" * 32)
    check_published(find("resnet50_in1k_v1"), path, find("resnet50_in1k_v1").sha256_prefix + "0" * 56)
    with caplog.at_level(logging.WARNING):
        check_published(find("resnet50_linf_eps4"), path, "ab" * 32)
    assert "unverified" in caplog.text


def test_a_second_set_of_weights_in_the_file_is_said(caplog):
    state, other = good_state(), {key: value + 1 for key, value in good_state().items()}
    found = recognise({"state_dict": state, "state_dict_ema": other, "optimizer": {"lr": 0.1}, "epoch": 3}, "here.pth")
    assert torch.equal(found.state["bn1.weight"], state["bn1.weight"])
    assert "here.pth" in caplog.text and "state_dict_ema" in caplog.text
    caplog.clear()
    recognise({"state_dict": state, "optimizer": {"state": {}}}, "here.pth")
    assert not caplog.text


@pytest.mark.parametrize(
    ("key", "make", "words"),
    [
        ("conv1.weight", lambda v: torch.full_like(v, 1e300, dtype=torch.float64), "larger than float32"),
        ("conv1.weight", lambda v: v.to(torch.int64), "conv1.weight is int64"),
        ("conv1.weight", lambda v: v > 0, "conv1.weight is bool"),
        ("conv1.weight", lambda v: v.to(torch.complex64), "no plain tensors"),
        ("bn1.running_var", lambda v: -torch.ones(4), "bn1.running_var is a variance and below 0"),
    ],
)
def test_values_that_no_network_can_hold_are_refused(tmp_path, key, make, words):
    state = with_classifier()
    torch.save({**state, key: make(state.get(key))}, tmp_path / "f.pth")
    with pytest.raises(WeightsError, match=words):
        load_source(str(tmp_path / "f.pth"), "resnet18", {**SHAPES, key: SHAPES.get(key, (4,))})
    half = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    torch.save(half, tmp_path / "g.pth")  # another precision is none of that
    assert load_source(str(tmp_path / "g.pth"), "resnet18", SHAPES)


@pytest.mark.parametrize(
    "front", ["_orig_mod.", "module._orig_mod.", "module.module.", "net.", "model.encoder.", "a.b."]
)
def test_what_wraps_a_network_is_taken_off_and_said(front):
    state = random_state("resnet18", 0, small=True)
    found = recognise({"state_dict": {front + key: value for key, value in state.items()}}, "here.pth")
    assert found.layout.prefix == front
    assert set(found.state) == set(state) and all(found.state[key] is value for key, value in state.items())


def test_parts_that_were_compiled_alone_are_read():
    state = random_state("resnet18", 0, small=True)
    names = {key: key.replace("layer1.", "layer1._orig_mod.") for key in state}
    assert set(recognise({names[key]: value for key, value in state.items()}, "here.pth").state) == set(state)
    both = {"conv1.weight": torch.zeros(1), "_orig_mod.conv1.weight": torch.zeros(1)}
    with pytest.raises(WeightsMismatch, match=r"holds 'conv1.weight' and '_orig_mod.conv1.weight'.*leave one of them"):
        recognise(both, "here.pth")


def test_an_unknown_network_in_another_module_keeps_its_names():
    state = {"net.first.weight": torch.zeros(2), "net.second.weight": torch.zeros(2)}
    found = recognise(state, "here.pth")
    assert set(found.state) == set(state) and found.layout.prefix == ""


@pytest.mark.parametrize("place", ["", "model"])
def test_a_whole_model_is_called_one(tmp_path, place):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    torch.save({place: model, "epoch": 3} if place else model, tmp_path / "f.pth")
    with pytest.raises(
        WeightsError, match=r"f\.pth: holds .*such as a whole model.*save model\.state_dict\(\)"
    ) as caught:
        recognise(read_checkpoint(tmp_path / "f.pth"), str(tmp_path / "f.pth"))
    assert "Inert" not in str(caught.value) and "torch.nn.modules.container.Sequential" in str(caught.value)
