"""`detectron2:CONFIG.yaml` with `--weights FILE`: detectors of detectron2, resized as their config says for testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import detectron2
import numpy as np
import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.modeling import build_model
from torch import nn

from rtx.backbones.base import SourceBackbone
from rtx.backbones.spec import spec_of
from rtx.bridges.detectron2 import add_rtx_config
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.models.library import Asked, LibraryNetwork, digits, read_state, refusing, wrong_task
from rtx.evaluation.models.load import load_strictly
from rtx.transfer.guard import bare, find_backbone
from rtx.transfer.modes import transfer_name

_OLD_KEYS = ("anchor_generator.cell_anchors", "pixel_mean", "pixel_std")
"""Buffers that older files hold; today they follow from the config."""


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`; CONFIG.yaml is a file, or a name of detectron2's model zoo."""
    if asked.kind is not Detector:
        raise wrong_task(asked, "detectors are what is evaluated of detectron2")
    cfg = _config(asked)
    path = asked.file("detectron2's model zoo lists those of its configs")
    with refusing(asked, "detectron2 cannot build it"):
        network = build_model(cfg)
    own = network.state_dict()
    state = {key: value for key, value in read_state(path).items() if key in own or not _is_old(key)}
    load_strictly(network, state, str(path), (f"detectron2's {asked.what}", "give the config it was trained with"))
    head = cfg.MODEL.RETINANET if cfg.MODEL.META_ARCHITECTURE == "RetinaNet" else cfg.MODEL.ROI_HEADS
    facts = MetadataCatalog.get(cfg.DATASETS.TEST[0]) if cfg.DATASETS.TEST else None
    names = asked.names(getattr(facts, "thing_classes", ()), head.NUM_CLASSES)
    asked = replace(asked, kind=Detectron2Detector)
    return asked.adapter(Detectron2Model(network, cfg), names, version_of(cfg), masks=bool(cfg.MODEL.MASK_ON))


def _config(asked: Asked) -> CfgNode:
    """The config, with the model on the device that is asked for."""
    cfg, path = get_cfg(), Path(asked.what).expanduser()
    add_rtx_config(cfg)  # what was trained with a backbone of rtx's says so
    with refusing(asked, "no such file, and no such config of the model zoo"):
        file = str(path) if path.is_file() else model_zoo.get_config_file(asked.what)
    with refusing(asked, "detectron2 cannot read the config"):
        cfg.merge_from_file(file)
    cfg.MODEL.DEVICE = asked.device
    cfg.MODEL.WEIGHTS = ""
    return cfg


def _is_old(key: str) -> bool:
    return any(name in key for name in _OLD_KEYS)


class Detectron2Model(LibraryNetwork):
    """A detectron2 model as a function of RGB images, resized and ordered as its own test loader does.

    Args:
        network: built from `cfg`.
        cfg: says sizes and the order of channels.
    """

    def __init__(self, network: nn.Module, cfg: CfgNode) -> None:
        super().__init__(network)
        self.order = cfg.INPUT.FORMAT
        self.resize = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)

    def forward(self, images: list[Any]) -> list[dict[str, Any]]:
        """Boxes in pixels of each image, RGB uint8 (H, W, 3), scores, labels, and masks where there are any."""
        found = [row["instances"] for row in self.network([self._input(image) for image in images])]
        rows = [dict(boxes=row.pred_boxes.tensor, scores=row.scores, labels=row.pred_classes) for row in found]
        return [
            {**row, "masks": one.pred_masks} if one.has("pred_masks") else row
            for row, one in zip(rows, found, strict=True)
        ]

    def _input(self, image: Any) -> dict[str, Any]:
        pixels = np.ascontiguousarray(image[..., ::-1]) if self.order == "BGR" else image
        pixels = self.resize.get_transform(pixels).apply_image(pixels)
        tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return dict(image=tensor, height=image.shape[0], width=image.shape[1])


class Detectron2Detector(Detector):
    """A detectron2 model in an evaluation; the card says source and transfer mode where the backbone is rtx's."""

    def card(self) -> dict[str, str | None]:
        """See `Adapter.card`."""
        net = find_backbone(self)[1]
        if not isinstance(net, SourceBackbone):
            return super().card()
        frozen = dict(frozen_stages=net.frozen_stages, trainable_blocks=net.trainable_blocks)
        transfer = transfer_name({**spec_of(net.arch).config, **frozen}, "detectron2")
        return {**super().card(), "source": net.source, "transfer": transfer}


def detector_of(model: nn.Module, cfg: CfgNode, classes: Sequence[str]) -> Detector:
    """A detectron2 model for `rtx.evaluate`; `classes` in the order of its labels."""
    how: dict[str, Any] = dict(masks=bool(cfg.MODEL.MASK_ON), inputs="arrays", version=version_of(cfg))
    name = f"detectron2 {cfg.MODEL.META_ARCHITECTURE}"
    return Detectron2Detector(Detectron2Model(bare(model), cfg), classes, name=name, **how)


def version_of(cfg: CfgNode) -> str:
    """Tells a model's settings from others."""
    settings = f"{cfg.MODEL.dump()}{cfg.INPUT.dump()}{cfg.TEST.DETECTIONS_PER_IMAGE}"
    return f"detectron2 {detectron2.__version__}, settings {digits(settings)}"
