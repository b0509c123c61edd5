"""One file, four ways in: torchvision's own model, and the configs of mmdet, mmseg and mmpretrain, from raw pixels."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from rtx.backbones.spec import BACKBONES
from rtx.config import load, with_source
from rtx.sources.catalog.archs import build_reference
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD
from tests.sources.made_up import write_weights

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIZES = [(64, 96), (128, 160)]
RESNETS = [name for name, spec in BACKBONES.items() if spec.config["type"] == "SourceResNet"]
TOLERANCE = 1e-5


def config_of(framework):
    from mmengine.config import Config

    if framework == "mmdet":
        return load(CONFIGS / "maskrcnn_r50_coco.py")
    if framework == "mmseg":
        return load(CONFIGS / "upernet_r50_ade20k.py")
    model = {
        "type": "ImageClassifier",
        "backbone": {"type": "SourceResNet", "depth": 50, "out_indices": (0, 1, 2, 3)},
        "neck": {"type": "GlobalAveragePooling"},
        "head": {"type": "LinearClsHead", "num_classes": 10, "in_channels": 2048},
    }
    # Wrong on purpose: the source must set them.
    preprocessor = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "to_rgb": False}
    return Config({"default_scope": "mmpretrain", "model": model, "data_preprocessor": preprocessor})


def settle(net):
    """Batch-norm statistics that fit the weights, as training gives them: features then have the size of real ones."""
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the plain mean over the batches seen
    net.train()
    net(torch.randn(4, 3, 96, 96))
    net.eval()


def torchvision_input(image):
    """An RGB picture, normalised as torchvision's users do."""
    mean, std = (torch.tensor(row).view(3, 1, 1) for row in (IMAGENET_MEAN, IMAGENET_STD))
    return ((image.float() / 255 - mean) / std)[None]


def torchvision_features(net, x):
    """Stage outputs and the pooled feature."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    outputs = []
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = layer(x)
        outputs.append(x)
    return [*outputs, net.avgpool(x).flatten(1)]


def framework_features(framework, cfg, images):
    """Network input and outputs from what a loader hands to OpenMMLab: BGR bytes."""
    from mmengine.registry import init_default_scope
    from mmengine.structures import BaseDataElement

    init_default_scope(framework)
    importlib.import_module(f"{framework}.models")
    registry = importlib.import_module(f"{framework}.registry").MODELS
    backbone = registry.build(cfg.model.backbone).eval()
    backbone.init_weights()
    kinds = {"mmdet": "DetDataPreprocessor", "mmseg": "SegDataPreProcessor", "mmpretrain": "ClsDataPreprocessor"}
    settings = cfg.model.get("data_preprocessor") or cfg.data_preprocessor
    preprocessor = registry.build({"type": kinds[framework], **settings})
    pool = registry.build(cfg.model.neck) if framework == "mmpretrain" else None
    for image in images:
        batch = {"inputs": [image.flip(0)]}
        if framework == "mmdet":
            batch["data_samples"] = [BaseDataElement(metainfo={"img_shape": image.shape[1:]})]
        x = preprocessor(batch, training=False)["inputs"]
        outputs = backbone(x)
        yield x, [*outputs, *([pool(outputs)[-1]] if pool else [])]


def marks(arch):
    """The default run has the smallest; the two largest write nearly a gigabyte each."""
    if arch == "resnet18":
        return []
    return [pytest.mark.slow, *([pytest.mark.ci] if arch in ("resnet50", "resnext50_32x4d") else [])]


@pytest.mark.parametrize("arch", [pytest.param(name, marks=marks(name)) for name in RESNETS])
@torch.no_grad()
def test_four_ways_give_equal_feature_maps(arch, tmp_path):
    pytest.importorskip("mmpretrain")
    path = tmp_path / "weights.ckpt"
    torch.manual_seed(0)
    reference = build_reference(arch)
    settle(reference)
    write_weights(path, reference.state_dict(), "robustness", arch=arch)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in SIZES]
    for framework in ("mmdet", "mmseg", "mmpretrain"):
        cfg = with_source(config_of(framework), f"{arch}:{path}")
        for image, (x, mine) in zip(images, framework_features(framework, cfg, images), strict=True):
            assert (x - torchvision_input(image)).abs().max() <= TOLERANCE, framework
            theirs = torchvision_features(reference, x)
            assert len(mine) == (5 if framework == "mmpretrain" else 4)
            for one, two in zip(mine, theirs, strict=False):
                assert one.shape == two.shape and float(two.abs().max()) > 0.1
                assert (one - two).abs().max() <= TOLERANCE, framework
    path.unlink()  # pytest keeps its folders, and these files are large
