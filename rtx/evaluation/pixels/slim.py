"""A test pipeline without the work that changes no pixel and no score.

- Ground truth is neither loaded, packed nor sent through a pipe where the scorer has its own: decoded masks of a
  photograph of 12 megapixels are 100 MB, of COCO's images more than the image itself.
- Images are decoded to RGB, which corruptions take, and become BGR again when they are packed, by the order of planes.
- Planes are split by OpenCV, and label maps travel in 8 or 16 bits instead of 64.

The config on the protocol card stays as it was written: what the network is given is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import PixelData

from rtx.datasets.openmmlab.image_loader import LoadImageChecked
from rtx.evaluation.pixels.random_steps import step_name

_PACKS = ("PackDetInputs", "PackSegInputs", "PackInputs")
_ANNOTATIONS = "LoadAnnotations"
# Steps that look at no ground truth and treat all channels alike; whatever else is there may need either.
_PLAIN = frozenset(
    {"LoadImageFromFile", "LoadImageChecked", "ApplyView", "Corrupt", "Resize", "ResizeEdge", "CenterCrop", "Pad"}
    | {*_PACKS}
)


@TRANSFORMS.register_module()
class PackPlanes(BaseTransform):
    """A packing step of OpenMMLab's that is given the planes of the image, so that it copies nothing itself.

    Required key: `img`. Optional keys: `img_order`, `rgb` where the image is RGB, which is packed as BGR; `gt_seg_map`.

    Args:
        pack: the step, `PackDetInputs`, `PackSegInputs` or `PackInputs`.
    """

    def __init__(self, pack: Mapping[str, Any]) -> None:
        self.pack = TRANSFORMS.build(dict(pack))
        self._labels = step_name(pack) == "PackSegInputs"

    def transform(self, results: dict[str, Any]) -> Any:
        """Pack; the image becomes a tensor (3, H, W) in BGR, labels the smallest unsigned type that holds them."""
        results["img"] = _planar(results["img"], turn=results.get("img_order") == "rgb")
        labels = results.pop("gt_seg_map", None) if self._labels else None
        packed = self.pack(results)
        if labels is not None:
            packed["data_samples"].gt_sem_seg = PixelData(data=torch.from_numpy(_narrow(labels[None])))
        return packed

    def __repr__(self) -> str:
        """Show the step inside."""
        return f"{type(self).__name__}({self.pack})"


def _planar(image: np.ndarray, *, turn: bool) -> np.ndarray:
    """An array equal to `image` (H, W, 3), or to it with its channels turned, that lies in memory plane by plane."""
    if image.ndim != 3 or image.shape[2] != 3:
        return image
    planes = np.empty((3, *image.shape[:2]), image.dtype)
    wanted = list(planes[::-1] if turn else planes)
    for plane, found in zip(wanted, cv2.split(image, wanted), strict=True):
        if found is not plane:  # an OpenCV that does not write where it is told
            plane[:] = found
    return planes.transpose(1, 2, 0)


def _narrow(labels: np.ndarray) -> np.ndarray:
    if labels.dtype == np.uint8:
        return labels
    fits = labels.size and 0 <= labels.min() and labels.max() <= np.iinfo(np.uint16).max
    return labels.astype(np.uint16 if fits else np.int64)


def slim(node: Any, *, annotations: bool) -> Any:
    """A copy of a data set config whose pipelines do without what changes no score.

    Args:
        node: the config, with `Corrupt` in its pipelines; wrappers are searched.
        annotations: whether the scorer reads the ground truth from the samples.
    """
    if isinstance(node, Mapping):
        return {
            key: _slim_steps(value, annotations=annotations)
            if key == "pipeline" and isinstance(value, (list, tuple))
            else slim(value, annotations=annotations)
            for key, value in node.items()
        }
    if isinstance(node, (list, tuple)):
        return type(node)(slim(part, annotations=annotations) for part in node)
    return node


def _slim_steps(steps: Any, *, annotations: bool) -> list[Any]:
    names = [step_name(step) for step in steps]
    if not names or names[-1] not in _PACKS or not set(names[:-1]).isdisjoint(_PACKS):
        return list(steps)
    out = [*steps[:-1], dict(type=PackPlanes.__name__, pack=steps[-1])]
    if not set(names) <= _PLAIN | {_ANNOTATIONS}:
        return out
    if not annotations:
        out = [step for step in out if step_name(step) != _ANNOTATIONS]
    if names.count("LoadImageChecked") == 1 and all(map(_takes_any_order, steps)):
        out = [dict(step, rgb=True) if step_name(step) == LoadImageChecked.__name__ else step for step in out]
    return out


def _takes_any_order(step: Mapping[str, Any]) -> bool:
    """Whether a step of `_PLAIN` does the same to an RGB image as to a BGR one."""
    if step_name(step) == LoadImageChecked.__name__:
        usual = dict(color_type="color", imdecode_backend="cv2", to_float32=False)
        return all(step.get(name, value) == value for name, value in usual.items())
    if step_name(step) == "Corrupt":
        return step.get("channel_order", "rgb") == "rgb"  # else BGR is what it takes
    if step_name(step) == "CenterCrop":
        return not step.get("auto_pad")
    fill = step.get("pad_val", 0)
    fill = fill.get("img", 0) if isinstance(fill, Mapping) else fill
    # mmcv fills all channels with a whole number, but the first alone with a fraction.
    return isinstance(fill, int) or (isinstance(fill, tuple) and len(set(fill)) == 1)
