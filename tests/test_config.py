"""with_source and with_transfer change what they promise and nothing else."""

from __future__ import annotations

import pytest

pytest.importorskip("mmengine")
from mmengine.config import Config

from rtx.backbones.spec import spec_of
from rtx.config import check_statistics, framework_of, load, with_source, with_transfer
from rtx.errors import BadValue, UnknownName
from rtx.sources.catalog.rows import CATALOG
from rtx.types import TransferMode
from tests.sources.made_up import make_weights

RGB = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
R50 = {
    "type": "SourceResNet",
    "depth": 50,
    "source": "resnet50_in1k_v1",
    "norm_cfg": {"type": "BN"},
    "frozen_stages": 1,
}


def detector():
    return Config(
        {
            "default_scope": "mmdet",
            "custom_imports": {"imports": ["rtx.backbones"], "allow_failed_imports": False},
            "model": {
                "type": "FasterRCNN",
                "data_preprocessor": {"type": "DetDataPreprocessor", **RGB, "bgr_to_rgb": True, "pad_size_divisor": 32},
                "backbone": dict(R50),
                "neck": {"type": "FPN", "in_channels": [256, 512, 1024, 2048], "out_channels": 256},
                "rpn_head": {"type": "RPNHead", "in_channels": 256},
            },
        }
    )


def segmenter():
    return Config(
        {
            "default_scope": "mmseg",
            "data_preprocessor": {"type": "SegDataPreProcessor", **RGB, "bgr_to_rgb": True},
            "model": {
                "type": "EncoderDecoder",
                "pretrained": "open-mmlab://resnet50_v1c",
                "data_preprocessor": {"type": "SegDataPreProcessor", **RGB, "bgr_to_rgb": True},
                "backbone": dict(R50),
                "decode_head": {"type": "UPerHead", "in_channels": [256, 512, 1024, 2048], "in_index": [0, 1, 2, 3]},
                "auxiliary_head": {"type": "FCNHead", "in_channels": 1024, "in_index": 2},
            },
        }
    )


def classifier():
    return Config(
        {
            "default_scope": "mmpretrain",
            "data_preprocessor": {**RGB, "to_rgb": False, "num_classes": 10},
            "model": {
                "type": "ImageClassifier",
                "backbone": {**R50, "out_indices": (3,)},
                "neck": {"type": "GlobalAveragePooling"},
                "head": {"type": "LinearClsHead", "num_classes": 10, "in_channels": 2048},
            },
        }
    )


MAKERS = [detector, segmenter, classifier]


def changed(one, two, prefix=""):
    """Dotted keys in which two configs differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        found = []
        for key in {**one, **two}:
            found += changed(one.get(key), two.get(key), f"{prefix}{key}.")
        return found
    return [] if one == two else [prefix.rstrip(".")]


@pytest.mark.parametrize("name", CATALOG)
def test_any_source_switches_a_detector(name):
    source = CATALOG[name]
    if source.arch.startswith("timm:"):
        pytest.importorskip("timm", reason="needs the extra timm")
    spec = spec_of(source.arch)
    new = with_source(detector(), name)
    assert {key: new.model.backbone[key] for key in spec.config} == dict(spec.config)
    assert new.model.backbone.source == name
    assert new.model.neck.in_channels == list(spec.channels)
    assert new.model.data_preprocessor.mean == source.pixel_mean
    check_statistics(new)


def test_only_the_listed_keys_change_in_a_detector():
    cfg = detector()
    assert set(changed(cfg.to_dict(), with_source(cfg, "r18_eps3").to_dict())) == {
        "model.backbone.depth",
        "model.backbone.source",
        "model.neck.in_channels",
    }


def test_segmentation_heads_follow_by_their_index():
    new = with_source(segmenter(), "resnet18_l2_eps3")
    assert new.model.decode_head.in_channels == [64, 128, 256, 512]
    assert new.model.auxiliary_head.in_channels == 256
    assert new.model.pretrained is None


def test_a_classifier_reads_the_last_stage_and_flips_channels():
    new = with_source(classifier(), "resnet18_l2_eps3")
    assert new.model.head.in_channels == 512
    assert new.data_preprocessor.to_rgb is True and "bgr_to_rgb" not in new.data_preprocessor


@pytest.mark.parametrize("make", MAKERS)
def test_the_input_config_stays_as_it_is(make):
    cfg = make()
    before = cfg.pretty_text
    with_source(cfg, "r18_eps3")
    assert cfg.pretty_text == before
    with_transfer(cfg, "fixed")
    assert cfg.pretty_text == before


@pytest.mark.parametrize("make", MAKERS)
def test_the_result_survives_a_dump(make, tmp_path):
    new = with_transfer(with_source(make(), "r18_eps3"), "blocks:2")
    new.dump(tmp_path / "c.py")
    assert load(tmp_path / "c.py").to_dict() == new.to_dict()


def test_random_keeps_the_architecture():
    new = with_source(detector(), "random")
    assert new.model.backbone.depth == 50 and new.model.backbone.source == "random"


def test_a_file_keeps_the_architecture_unless_it_is_named():
    alone = with_source(detector(), "runs/x.pth").model.backbone
    assert alone.depth == 50 and alone.source == "resnet50:runs/x.pth", "one spelling, with and without architecture"
    assert with_source(detector(), "r18_eps3").model.backbone.source == "resnet18_l2_eps3"
    named = with_source(detector(), "resnet18:runs/x.pth")
    assert named.model.backbone.depth == 18 and named.model.neck.in_channels == [64, 128, 256, 512]


def test_arguments_of_a_former_architecture_do_not_survive():
    cfg = with_source(detector(), "wide_resnet50_2_l2_eps3")
    assert cfg.model.backbone.base_width == 128
    assert "base_width" not in with_source(cfg, "resnet50_l2_eps3").model.backbone


def test_unknown_names_show_the_nearest():
    with pytest.raises(UnknownName, match="resnet50_l2_eps3"):
        with_source(detector(), "resnet50_l2_ep3")
    with pytest.raises(UnknownName, match="did you mean 'fixed'"):
        with_transfer(detector(), "fixd")
    with pytest.raises(UnknownName, match="'eval'"):
        with_transfer(detector(), "fixed", "evl")


def test_transfer_sets_freezing_and_adds_the_guard_once():
    new = with_transfer(with_transfer(detector(), "fixed"), TransferMode("blocks", 3))
    backbone = new.model.backbone
    assert (backbone.frozen_stages, backbone.trainable_blocks, backbone.norm_policy) == (-1, 3, "eval")
    assert [hook["type"] for hook in new.custom_hooks] == ["FrozenGuardHook"]
    assert new.custom_imports["imports"] == ["rtx.backbones", "rtx.transfer"]


def test_other_hooks_stay():
    cfg = detector()
    cfg.custom_hooks = [{"type": "EMAHook"}]
    assert [hook["type"] for hook in with_transfer(cfg, "full").custom_hooks] == ["EMAHook", "FrozenGuardHook"]


def test_a_stock_backbone_takes_no_transfer_mode():
    cfg = detector()
    cfg.model.backbone = {"type": "ResNet", "depth": 50}
    with pytest.raises(UnknownName, match="SourceResNet"):
        with_transfer(cfg, "fixed")


@pytest.mark.parametrize("make", MAKERS)
def test_wrong_pixel_statistics_are_refused(make):
    cfg = with_source(make(), "r18_eps3")
    check_statistics(cfg)
    place = cfg.model.get("data_preprocessor") or cfg.data_preprocessor
    place.mean = [103.53, 116.28, 123.675]
    with pytest.raises(BadValue, match=r"data_preprocessor.mean is \[103.53"):
        check_statistics(cfg)


def test_bgr_pixels_are_refused():
    cfg = detector()
    cfg.model.data_preprocessor.bgr_to_rgb = False
    with pytest.raises(BadValue, match="bgr_to_rgb is False"):
        check_statistics(cfg)


def test_frameworks_come_from_the_scope():
    assert [framework_of(make()) for make in MAKERS] == ["mmdet", "mmseg", "mmpretrain"]
    with pytest.raises(BadValue, match="default_scope 'mmpose'"):
        framework_of(Config({"default_scope": "mmpose"}))


def test_a_config_without_backbone_is_refused():
    with pytest.raises(BadValue, match=r"no model\.backbone"):
        with_source(Config({"default_scope": "mmdet", "model": {}}), "random")


def test_load_names_the_file_and_its_neighbours(tmp_path):
    (tmp_path / "there.py").write_text("a = 1\n")
    with pytest.raises(BadValue, match=r"gone.py' not found.*there\.py"):
        load(tmp_path / "gone.py")
    (tmp_path / "broken.py").write_text("a = = 1\n")
    with pytest.raises(BadValue, match=r"broken\.py: cannot be read"):
        load(tmp_path / "broken.py")
    assert load(tmp_path / "there.py").a == 1


def test_a_files_statistics_are_the_users_to_state(tmp_path, caplog):
    own = {"mean": [103.53, 116.28, 123.675], "std": [1.0, 1.0, 1.0]}
    cfg = detector()
    cfg.model.data_preprocessor.update(own, bgr_to_rgb=False)
    with caplog.at_level("WARNING"):
        kept = with_source(cfg, "runs/x.pth")
    assert {
        name: kept.model.data_preprocessor[name] for name in own
    } == own and not kept.model.data_preprocessor.bgr_to_rgb
    assert "does not say which mean and std" in caplog.text and "--pixel-mean" in caplog.text
    check_statistics(kept)  # nothing is known of the file, so nothing is claimed
    stated = with_source(cfg, "runs/x.pth", ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]))
    assert list(stated.model.data_preprocessor.mean) == [1, 2, 3] and list(stated.model.data_preprocessor.std) == [
        4,
        5,
        6,
    ]
    with pytest.raises(BadValue, match="are known"):
        with_source(cfg, "resnet50_l2_eps3", ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]))


def test_a_file_that_holds_its_statistics_is_taken_at_its_word(tmp_path):
    path = tmp_path / "robust.pt"
    make_weights(path, "resnet18", "robustness")
    cfg = detector()
    cfg.model.data_preprocessor.mean = [1.0, 2.0, 3.0]
    found = with_source(cfg, f"resnet18:{path}")
    assert found.model.data_preprocessor.mean == pytest.approx(RGB["mean"])
    found.model.data_preprocessor.mean = [1.0, 2.0, 3.0]
    with pytest.raises(BadValue, match="was trained with"):
        check_statistics(found)
