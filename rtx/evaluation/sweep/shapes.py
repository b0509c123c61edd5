"""The shape that an image will have in front of the model, told from the test pipeline without reading the image.

It only decides which images share a batch: the batch itself is checked before the forward pass, so that a wrong guess
costs speed and no accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

Size = tuple[int, int]
"""(Width, height) in pixels."""

# Steps that leave the image's size alone.
_KEEP = (
    "Corrupt",
    "LoadImageFromFile",
    "LoadImageChecked",
    "LoadTargetImage",
    "LoadRgb",
    "LoadAnnotations",
    "LoadPanopticAnnotations",
    "Normalize",
    "PackDetInputs",
    "PackSegInputs",
    "PackInputs",
    "PackPlanes",
)


def size_after(steps: Iterable[Any], size: Size) -> Size | None:
    """The size of an image behind the built transforms of a test pipeline; None where a step is not understood."""
    for step in steps:
        name = type(step).__name__
        if name == "Resize":
            resized = _resized(step, size)
        elif name == "ResizeEdge":
            resized = _edge(step, size)
        elif name == "CenterCrop":
            resized = _cropped(step, size)
        elif name == "Pad":
            resized = _padded(step, size)
        else:
            resized = size if name in _KEEP else None
        if resized is None:
            return None
        size = resized
    return size


def padded(size: Size, divisor: int) -> Size:
    """A size rounded up to whole multiples of `divisor`.

    Example:
        >>> padded((1333, 800), 32)
        (1344, 800)
    """
    return math.ceil(size[0] / divisor) * divisor, math.ceil(size[1] / divisor) * divisor


def _resized(step: Any, size: Size) -> Size | None:
    scale, factor = getattr(step, "scale", None), getattr(step, "scale_factor", None)
    if scale is None:
        if factor is None:
            return None
        across, down = factor if isinstance(factor, (tuple, list)) else (factor, factor)
        scale = int(size[0] * across + 0.5), int(size[1] * down + 0.5)  # as mmcv's _scale_size
    if not isinstance(scale, (tuple, list)) or len(scale) != 2:
        return None
    if not getattr(step, "keep_ratio", False):
        return int(scale[0]), int(scale[1])
    # As mmcv's rescale_size: the longer side within the longer number, the shorter within the shorter.
    ratio = min(max(scale) / max(size), min(scale) / min(size))
    return int(size[0] * ratio + 0.5), int(size[1] * ratio + 0.5)


def _edge(step: Any, size: Size) -> Size | None:
    if getattr(step, "edge", None) != "short":
        return None
    # As mmpretrain's ResizeEdge.
    width, height = size
    return (
        (step.scale, int(step.scale * height / width))
        if width < height
        else (int(step.scale * width / height), step.scale)
    )


def _cropped(step: Any, size: Size) -> Size | None:
    crop = getattr(step, "crop_size", None)
    if not (isinstance(crop, tuple) and len(crop) == 2) or getattr(step, "auto_pad", False):
        return None
    return min(size[0], crop[0]), min(size[1], crop[1])


def _padded(step: Any, size: Size) -> Size | None:
    if getattr(step, "pad_to_square", False):
        size = (max(size), max(size))
    target, divisor = getattr(step, "size", None), getattr(step, "size_divisor", None)
    if divisor:
        return padded(size, int(divisor))
    return size if target is None else (max(size[0], int(target[0])), max(size[1], int(target[1])))
