"""rtx's backbones in detectron2: configs with a source and a transfer mode, and the backbones that they name.

Importing this module registers `build_rtx_backbone` and `build_rtx_fpn_backbone`; `load_config`, or `add_rtx_config`
and `with_source`, fit a config to them. Hooks and a trainer are in `rtx.bridges.detectron2_train`. Written for
detectron2 0.6 as it is developed since.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from mmengine.registry import MODELS
from torch import Tensor

import rtx.backbones  # noqa: F401 (registers them)
from rtx.backbones.base import SourceBackbone
from rtx.backbones.spec import spec_of
from rtx.errors import BadValue
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD
from rtx.sources.catalog.spec import parse_spec
from rtx.transfer.modes import apply_transfer
from rtx.types import NormPolicy, TransferMode

FPN_BUILDER = "build_rtx_fpn_backbone"
_REPLACED = ("build_resnet_fpn_backbone", FPN_BUILDER)
FREEZE_AT = 2
"""detectron2's default, the meaning of `full` here: stem and first stage are frozen."""


def add_rtx_config(cfg: CfgNode) -> None:
    """Add the options of rtx to a config.

    `RTX.BASE`: a config of detectron2's model zoo to start from, "" for none. `RTX.SOURCE`: as `--source`, with the
    architecture, e.g. resnet50:random. `RTX.TRANSFER`, `RTX.NORM`: as `--transfer` and `--norm`, "" for the mode's own.
    `RTX.CORRUPTIONS`: what `CorruptionEval` evaluates, [] for nothing, with `RTX.SEVERITIES`, `RTX.LIMIT` (0: all
    images), `RTX.RESAMPLES`, and `RTX.EVAL_PERIOD` (every so many iterations; 0: after training).
    """
    cfg.RTX = CfgNode(
        dict(
            BASE="",
            SOURCE="",
            TRANSFER="full",
            NORM="",
            CORRUPTIONS=[],
            SEVERITIES=[1, 2, 3, 4, 5],
            LIMIT=0,
            RESAMPLES=1000,
            EVAL_PERIOD=0,
        )
    )


def load_config(path: str | Path, options: Sequence[str] = ()) -> CfgNode:
    """Read a YAML config with options of rtx: the zoo's config that it starts from, its own keys, then `options`.

    Args:
        path: the file.
        options: KEY VALUE ..., as detectron2's commands take them.

    Raises:
        BadValue: no such file, keys that detectron2 does not have, or a source that does not fit, see `with_source`.
    """
    cfg = get_cfg()
    add_rtx_config(cfg)
    if not Path(path).is_file():
        raise BadValue(f"config {str(path)!r} not found (current folder: {Path.cwd()})")
    try:
        base = (CfgNode.load_yaml_with_base(str(path)).get("RTX") or {}).get("BASE")
        if base:
            cfg.merge_from_file(model_zoo.get_config_file(base))
        cfg.merge_from_file(str(path))
        cfg.merge_from_list(list(options))
    except (KeyError, ValueError, AssertionError, RuntimeError, AttributeError) as error:
        raise BadValue(f"config {path}: {error}") from error
    if cfg.RTX.SOURCE:
        with_source(cfg, cfg.RTX.SOURCE)
    return cfg


def with_source(cfg: CfgNode, source: str, transfer: str | None = None, norm: NormPolicy | None = None) -> CfgNode:
    """Give a config, in place, a source: backbone with FPN, pixel statistics, channel order; no other weights.

    Args:
        cfg: with the options of rtx, of a model with FPN.
        source: NAME, ARCH:FILE, ARCH:random, timm:NAME[@FILE].
        transfer: what trains; what the config says when None.
        norm: batch-norm policy; what the config says when None.

    Raises:
        UnknownName: no such source.
        BadValue: an architecture is not said, or the config has another backbone than a ResNet with FPN.
    """
    if cfg.MODEL.BACKBONE.NAME not in _REPLACED:
        raise BadValue(f"backbone {cfg.MODEL.BACKBONE.NAME!r}: rtx's take the place of {_REPLACED[0]} only")
    _arch_of(source)
    mean, std, order = _statistics(source)
    cfg.RTX.SOURCE, cfg.MODEL.BACKBONE.NAME, cfg.MODEL.WEIGHTS = source, FPN_BUILDER, ""
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.INPUT.FORMAT = mean, std, order
    cfg.RTX.TRANSFER = cfg.RTX.TRANSFER if transfer is None else transfer
    cfg.RTX.NORM = cfg.RTX.NORM if norm is None else norm
    return cfg


def _arch_of(source: str) -> str:
    parsed = parse_spec(source)
    if parsed.arch is None:
        raise BadValue(f"source {source!r}: say the architecture too, e.g. resnet50:{source}")
    return parsed.arch


def _statistics(source: str) -> tuple[list[float], list[float], str]:
    """Pixel mean and std in 0..255, and the order of the channels."""
    record = parse_spec(source).source
    if record is None:
        mean, std = ([round(255 * part, 6) for part in row] for row in (IMAGENET_MEAN, IMAGENET_STD))
        return mean, std, "RGB"
    return list(map(float, record.pixel_mean)), list(map(float, record.pixel_std)), record.channel_order.upper()


class SourceFeatures(Backbone):
    """A backbone of rtx as detectron2 wants it: maps by name, `res2` to `res5` at strides 4 to 32.

    Args:
        net: the backbone.
    """

    def __init__(self, net: SourceBackbone) -> None:
        super().__init__()
        self.net = net
        row = spec_of(net.arch)
        self._out_features = [f"res{index + 2}" for index in net.out_indices]
        pairs = list(zip(self._out_features, net.out_indices, strict=True))
        self._out_feature_channels = {name: row.channels[index] for name, index in pairs}
        self._out_feature_strides = {name: row.strides[index] for name, index in pairs}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The maps of normalised images (N, 3, H, W)."""
        return dict(zip(self._out_features, self.net(x), strict=True))


def source_features(
    source: str, transfer: str = "full", norm: NormPolicy | None = None, out_indices: Sequence[int] = (0, 1, 2, 3)
) -> SourceFeatures:
    """A backbone with its weights loaded strictly and its freezing applied; for detectron2's lazy configs too.

    Raises:
        UnknownName, BadValue: no such source, mode or policy.
        WeightsError: the weights are missing, unreadable or do not fit.
    """
    arch = _arch_of(source)
    config = {**spec_of(arch).config, "out_indices": tuple(out_indices)}
    config = apply_transfer(config, TransferMode.parse(transfer), norm, "detectron2")
    net = MODELS.build({**config, "source": "random" if parse_spec(source).random else source})
    net.init_weights()
    return SourceFeatures(net)


@BACKBONE_REGISTRY.register()
def build_rtx_backbone(cfg: CfgNode, input_shape: Any) -> SourceFeatures:
    """The backbone that `RTX` of a config asks for.

    Raises:
        BadValue: no source; pixel statistics that are not the source's; FREEZE_AT, which `RTX.TRANSFER` replaces.
    """
    options, source = cfg.RTX, cfg.RTX.SOURCE
    if not source:
        raise BadValue(f"{cfg.MODEL.BACKBONE.NAME}: RTX.SOURCE is empty; name the weights, or resnet50:random")
    if cfg.MODEL.BACKBONE.FREEZE_AT != FREEZE_AT:
        raise BadValue(
            f"FREEZE_AT {cfg.MODEL.BACKBONE.FREEZE_AT}: leave it at {FREEZE_AT}; RTX.TRANSFER says what trains"
        )
    if not parse_spec(source).random:
        mean, std, order = _statistics(source)
        for name, have, need in (
            ("MODEL.PIXEL_MEAN", cfg.MODEL.PIXEL_MEAN, mean),
            ("MODEL.PIXEL_STD", cfg.MODEL.PIXEL_STD, std),
            ("INPUT.FORMAT", [cfg.INPUT.FORMAT], [order]),
        ):
            same = have == need or (order not in need and np.allclose(have, need, atol=0.05))
            if not same:
                raise BadValue(
                    f"{name} is {have}, but source {source!r} was trained with {need}; set the source by with_source "
                    "or RTX.SOURCE of load_config, which set it"
                )
    names = cfg.MODEL.FPN.IN_FEATURES if cfg.MODEL.BACKBONE.NAME == FPN_BUILDER else cfg.MODEL.RESNETS.OUT_FEATURES
    return source_features(source, options.TRANSFER, options.NORM or None, [int(name[3:]) - 2 for name in names])


@BACKBONE_REGISTRY.register()
def build_rtx_fpn_backbone(cfg: CfgNode, input_shape: Any) -> FPN:
    """The same under detectron2's FPN."""
    return FPN(
        bottom_up=build_rtx_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
