"""`--source` alone switches every detector family to another kind of network, in fixed and in full mode."""

from __future__ import annotations

import pytest

from rtx.backbones.spec import spec_of
from rtx.config import with_source, with_transfer
from rtx.sources.catalog import find
from rtx.transfer import FrozenGuardHook
from rtx.transfer.freeze_map import freeze_map

FAMILIES = ("maskrcnn_r50_coco.py", "fasterrcnn_r50_voc.py", "upernet_r50_ade20k.py")
SOURCES = ("wide_resnet50_2_l2_eps3", "vgg16_bn_l2_eps3", "swin_t_in1k", "densenet161_l2_eps3", "mobilenet_v2_l2_eps3")
# The cheapest detector and the segmenter in the default run; every pair with -m slow.
QUICK = {FAMILIES[1]: "mobilenet_v2_l2_eps3", FAMILIES[2]: "swin_t_in1k"}
PAIRS = [
    pytest.param(family, source, marks=[] if QUICK.get(family) == source else [pytest.mark.slow])
    for family in FAMILIES
    for source in SOURCES
]


@pytest.mark.parametrize(("family", "source"), PAIRS)
def test_two_steps_in_fixed_mode_leave_the_new_backbone_alone(family, source, request):
    import torch
    from mmengine.dataset import pseudo_collate
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import DATASETS, MODELS, init_default_scope

    from tests.test_leaves_run import data_of, small_config

    torch.manual_seed(0)
    cfg = with_transfer(with_source(small_config(family, data_of(family, request)), source), "fixed")
    spec = spec_of(find(source).arch)
    heads = cfg.model.neck if cfg.default_scope == "mmdet" else cfg.model.decode_head
    assert list(heads.in_channels) == list(spec.channels)
    cfg.model.backbone.source = "random"  # the weights themselves are not at hand
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    guard = FrozenGuardHook()
    guard.start(model)
    assert len(guard.before) >= len(list(model.backbone.state_dict())) - 8
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    head_before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    for _ in range(2):
        losses = model.train().train_step(pseudo_collate([dataset[0], dataset[1]]), optimizer)
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values())
    guard.check(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(head_before, trained, strict=True))
    # Swin keeps its output norms trainable; nothing else of any backbone trains.
    norms = sum(p.numel() for name, p in model.backbone.named_parameters() if name.split(".")[0][:4] == "norm")
    assert freeze_map(model)["backbone"]["trainable"] == (norms if "swin" in source else 0)
    # No weight decay, momentum or anything else is kept for what does not train.
    stateful = {id(p) for p in optimizer.optimizer.state}
    assert not any(id(p) in stateful for p in model.parameters() if not p.requires_grad)
