"""Ground truth at the scale of the network's image, for the losses of detectors that an attack raises."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from rtx.evaluation.pixels.random_steps import step_name

_ANNOTATIONS = "LoadAnnotations"


def _has_masks(node: Any) -> bool:
    if isinstance(node, Mapping):
        return any(key == "mask_head" and value is not None for key, value in node.items()) or any(
            map(_has_masks, node.values())
        )
    return isinstance(node, list | tuple) and any(map(_has_masks, node))


def with_truth(dataset: Any, model: Any) -> Any:
    """A copy of a data set config that loads boxes and masks right behind the image, so that they are resized with it.

    Test pipelines of mmdet load them behind `Resize`, at the scale of the file, since they are only scored there.

    Args:
        dataset: the config of a data set, of wrappers too.
        model: that of the model, which says whether it has masks.
    """
    return _with_truth(dataset, masks=_has_masks(model))


def _with_truth(node: Any, *, masks: bool) -> Any:
    if isinstance(node, Mapping):
        return {
            key: _truth_first(value, masks=masks)
            if key == "pipeline" and isinstance(value, list | tuple)
            else _with_truth(value, masks=masks)
            for key, value in node.items()
        }
    return copy.deepcopy(node)


def _truth_first(steps: Sequence[Any], *, masks: bool) -> list[Any]:
    load = next((n for n, step in enumerate(steps) if step_name(step).startswith("LoadImage")), None)
    if load is None:
        return list(steps)
    loader = dict(type=_ANNOTATIONS, with_bbox=True, with_mask=masks)
    rest = [step for step in steps[load + 1 :] if step_name(step) != _ANNOTATIONS]
    return [*steps[: load + 1], loader, *rest]
