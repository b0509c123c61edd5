"""The feature maps of a model at its stages, neck and head, image by image."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtx.backbones.base import SourceBackbone
from rtx.backbones.registered import SourceConvNet
from rtx.backbones.resnet import SourceResNet
from rtx.backbones.swin import SourceSwin
from rtx.backbones.timm_backbone import SourceTimm
from rtx.errors import BadValue
from rtx.transfer.guard import bare

log = logging.getLogger(__name__)

Maps = dict[tuple[str, str], Tensor]
"""("run" or "source", layer) -> map (C, H, W) of one image."""


class Tap(nn.Module):
    """A model that gives its feature maps in place of predictions, and beside them those of its source.

    Layers: `stage1` to `stage4`, as far as the backbone gives them; `neck1`, `neck2`, ... for the maps of a neck; of a
    segmenter `head`, what its last layer reads. Vectors, such as a classifier's pooled features, are no layer: they are
    the average of the last stage.

    Args:
        model: of OpenMMLab, on its device, in evaluation mode.
        source: the backbone with the weights that the run began with; None where there is none.

    Raises:
        BadValue: the model has no backbone.
    """

    def __init__(self, model: nn.Module, source: SourceBackbone | None) -> None:
        super().__init__()
        if not isinstance(getattr(bare(model), "backbone", None), nn.Module):
            raise BadValue(f"{type(bare(model)).__name__} has no backbone, whose stages drift is measured at")
        self.model, self.source = model, source
        backbone: Any = bare(model).backbone
        self.handed = tuple(getattr(backbone, "out_indices", ()))
        for one in (backbone, source):
            if one is not None:
                _open_stages(one)

    @property
    def data_preprocessor(self) -> Any:
        """The model's, for `padding_divisor`."""
        return self.model.data_preprocessor

    def test_step(self, batch: Any) -> list[Maps]:
        """The maps of each image, without what was padded."""
        data = self.data_preprocessor(batch, False)
        inputs = data["inputs"]
        sizes = [_size(sample, inputs) for sample in data["data_samples"]]
        maps = {("run", layer): one for layer, one in self._of_model(inputs).items()}
        if self.source is not None:
            maps |= {("source", layer): one for layer, one in _stages(self.source, inputs)[0].items()}
        whole = inputs.shape[-2:]
        return [{name: _valid(one[n], size, whole) for name, one in maps.items()} for n, size in enumerate(sizes)]

    def _of_model(self, inputs: Tensor) -> dict[str, Tensor]:
        model: Any = bare(self.model)
        found, outputs = _stages(model.backbone, inputs)
        passed: Any = tuple(found[f"stage{i + 1}"] for i in self.handed) if self.handed else outputs
        if getattr(model, "with_neck", False):
            passed = model.neck(passed)
            found |= {f"neck{n}": one for n, one in enumerate(_maps(passed), 1) if one.ndim == 4}
        last = getattr(getattr(model, "decode_head", None), "conv_seg", None)
        if isinstance(last, nn.Module):
            hook = last.register_forward_pre_hook(lambda _, given: found.__setitem__("head", given[0]))
            try:
                model.decode_head(passed)
            finally:
                hook.remove()
        return found


def _maps(outputs: Any) -> tuple[Tensor, ...]:
    return tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)


def _stages(backbone: Any, inputs: Tensor) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """The maps of all stages, in order, and what the backbone returns."""
    outputs = _maps(backbone(inputs))
    indices: Any = getattr(backbone, "out_indices", range(len(outputs)))
    found = {i: one for i, one in zip(indices, outputs, strict=False) if one.ndim == 4}
    earlier = tuple(i for i in range(max(indices, default=0)) if i not in indices)
    if isinstance(backbone, SourceTimm) and not backbone.layout.single and earlier:
        # A pass of its own: what a classifier reads alone is computed otherwise than as one of several maps.
        backbone.out_indices = earlier
        try:
            found |= dict(zip(earlier, backbone(inputs), strict=True))
        finally:
            backbone.out_indices = indices
    return {f"stage{i + 1}": found[i] for i in sorted(found)}, outputs


def _open_stages(backbone: nn.Module) -> None:
    """Make a backbone return the earlier stages too, where that changes none of those that it returns.

    Swin's are then without the norm that belongs to an output; plain ViTs have one map only.
    """
    if not isinstance(backbone, SourceResNet | SourceConvNet | SourceSwin):
        return
    wanted = tuple(range(max(backbone.out_indices) + 1))
    if isinstance(backbone, SourceSwin):
        for i in set(wanted) - set(backbone.out_indices):
            backbone.add_module(f"norm{i}", nn.Identity())
    backbone.out_indices = wanted


def _size(sample: Any, inputs: Tensor) -> tuple[int, int]:
    """Height and width of an image in front of the network, without padding."""
    height, width = sample.metainfo.get("img_shape", inputs.shape[-2:])[:2]
    return min(int(height), inputs.shape[-2]), min(int(width), inputs.shape[-1])


def _valid(one: Tensor, size: tuple[int, int], whole: torch.Size) -> Tensor:
    """The part of a map (C, H, W) that sees an image of that size in the corner of a padded one."""
    sides = (max(1, math.ceil(m * s / w)) for m, s, w in zip(one.shape[1:], size, whole, strict=True))
    height, width = sides
    return one[:, :height, :width]


def averaged(one: Tensor, cells: int) -> Tensor:
    """A map (C, H, W) averaged over cells x cells parts of it, as a vector of C cells cells float32 on the CPU."""
    return functional.adaptive_avg_pool2d(one.float(), cells).flatten().cpu()
