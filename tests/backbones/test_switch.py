"""`--source` alone switches every detector family to another kind of network, as one types it on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from rtx.backbones.spec import spec_of
from rtx.sources.catalog.rows import find
from rtx.transfer.guard import freeze_map
from tests.small_configs import shrink
from tests.sources.made_up import make_source, random_state

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Leaf, made data, real data (folders of shared/data).
FAMILIES = {
    "maskrcnn_r50_coco.py": ("made_coco", "coco_subset"),
    "fasterrcnn_r50_voc.py": ("made_voc", "voc20_from_coco"),
    "upernet_r50_ade20k.py": ("made_ade", "seg_coco_panoptic"),
}
SOURCES = (
    "wide_resnet50_2_l2_eps3",
    "vgg16_bn_l2_eps3",
    "swin_t_in1k",
    "densenet161_l2_eps3",
    "mobilenet_v2_l2_eps3",
    "shufflenet_v2_x1_0_l2_eps3",
    "mnasnet1_0_l2_eps3",
    "resnext50_32x4d_l2_eps3",
)
# The cheapest detector and the segmenter in the default run.
QUICK = (("fasterrcnn_r50_voc.py", "mobilenet_v2_l2_eps3"), ("upernet_r50_ade20k.py", "shufflenet_v2_x1_0_l2_eps3"))


def marks(family, source):
    """CI has the quick ones and the segmenter with a Swin."""
    if (family, source) in QUICK:
        return []
    some = (family, source) == ("upernet_r50_ade20k.py", "swin_t_in1k")
    return [pytest.mark.slow, *([pytest.mark.ci] if some else [])]


PAIRS = [pytest.param(family, source, marks=marks(family, source)) for family in FAMILIES for source in SOURCES]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights in which a source's made-up file lies under its published name, while the test runs."""
    folder = tmp_path / "weights"
    monkeypatch.setenv("RTX_WEIGHTS", str(folder))
    yield lambda name: make_source(folder, find(name))
    for path in folder.glob("*"):  # pytest keeps its folders, and these files are large
        path.unlink()


def prepared(family, source, data, work_dir, *flags):
    """The config of one command line, with small pictures and two steps."""
    from rtx import training
    from rtx.cli import train

    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    words = [str(CONFIGS / family), "--source", source, "--data-root", str(data), "--work-dir", str(work_dir), *flags]
    cfg = train.prepare(parser.parse_args(words))
    assert training.missing(cfg) == []
    shrink(cfg._cfg_dict)
    if cfg.default_scope == "mmdet":
        cfg.model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=50)
    else:
        cfg.model.data_preprocessor.size = (64, 64)
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=10)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.sampler = dict(type="InfiniteSampler", shuffle=False)
    cfg.train_dataloader.pop("batch_sampler", None)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", by_epoch=False, interval=10, save_last=False)
    cfg.default_hooks.logger.interval = 1
    cfg.log_processor = dict(by_epoch=False)
    cfg.vis_backends = cfg.visualizer.vis_backends = []
    return cfg


def check_two_steps(family, source, data, tmp_path, mode):
    from rtx import training

    torch.manual_seed(0)
    cfg = prepared(family, source, data, tmp_path / "run", "--transfer", mode, "--seed", "0")
    spec = spec_of(find(source).arch)
    heads = cfg.model.neck if cfg.default_scope == "mmdet" else cfg.model.decode_head
    assert list(heads.in_channels) == list(spec.channels)
    runner = training.train(cfg)  # its guard fails the run when a frozen tensor moves
    assert runner.iter == 2
    model = runner.model
    assert all(torch.isfinite(p).all() for p in model.parameters())
    published = random_state(find(source).arch, 0)  # what the made-up file holds
    own = {key: value for key, value in model.backbone.state_dict().items() if key in published}
    assert len(own) >= len(model.backbone.state_dict()) - 8  # Swin's output norms are no part of a source
    moved = {key for key, value in own.items() if not torch.equal(value, published[key])}
    if mode == "fixed":
        assert not moved
        # Swin keeps its output norms trainable; nothing else of any backbone trains.
        norms = sum(p.numel() for name, p in model.backbone.named_parameters() if name.split(".")[0][:4] == "norm")
        assert freeze_map(model)["backbone"]["trainable"] == (norms if "swin" in source else 0)
    else:
        assert moved
    # No weight decay, momentum or anything else is kept for what does not train.
    stateful = {id(p) for p in runner.optim_wrapper.optimizer.state}
    assert stateful and not any(id(p) in stateful for p in model.parameters() if not p.requires_grad)


@pytest.mark.parametrize(("family", "source"), PAIRS)
def test_two_steps_on_made_data_leave_a_fixed_backbone_as_published(family, source, weights, tmp_path, request):
    weights(source)
    check_two_steps(family, source, request.getfixturevalue(FAMILIES[family][0]), tmp_path, "fixed")


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("source", SOURCES[:5])
@pytest.mark.parametrize("family", FAMILIES)
def test_two_full_steps_on_real_data(family, source, weights, tmp_path, real_data):
    weights(source)
    check_two_steps(family, source, real_data / FAMILIES[family][1], tmp_path, "full")


# timm's: real weights out of a package, a convolutional network and a plain ViT with random ones.
TIMM = ("efficientnet_lite0_in1k", "timm:convnext_atto@random", "timm:vit_tiny_patch16_224@random")
TIMM_RUNS = [
    pytest.param(
        family,
        source,
        mode,
        marks=() if (family, source, mode) == ("fasterrcnn_r50_voc.py", TIMM[0], "fixed") else pytest.mark.slow,
    )
    for family in FAMILIES
    for source in TIMM
    for mode in ("fixed", "full", "blocks:2")
]


@pytest.mark.parametrize(("family", "source", "mode"), TIMM_RUNS)
def test_two_steps_with_a_model_of_timm(family, source, mode, tmp_path, request):
    from rtx import training
    from rtx.sources.catalog.spec import parse_spec
    from rtx.sources.load import in_package, load_source

    pytest.importorskip("timm", reason="needs the extra timm")
    parsed = parse_spec(source)
    if parsed.source.package and in_package(parsed.source) is None:
        pytest.skip("needs the extra lite0")
    data = request.getfixturevalue(FAMILIES[family][0])
    cfg = prepared(family, source, data, tmp_path / "run", "--transfer", mode, "--seed", "0")
    heads = cfg.model.neck if cfg.default_scope == "mmdet" else cfg.model.decode_head
    assert list(heads.in_channels) == list(spec_of(parsed.arch).channels)
    assert cfg.model.data_preprocessor.mean == parsed.source.pixel_mean
    runner = training.train(cfg)  # its guard fails the run when a frozen tensor moves
    model = runner.model
    assert runner.iter == 2 and all(torch.isfinite(p).all() for p in model.parameters())
    net = model.backbone.net
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert (trainable == 0) == (mode == "fixed")
    if not parsed.random:
        published = load_source(source, parsed.arch).state_dict
        moved = {key for key, value in net.state_dict().items() if not torch.equal(value, published[key])}
        assert bool(moved) == (mode != "fixed")
