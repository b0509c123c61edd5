"""Views in configs: a step behind every image loader, of training and test pipelines alike."""

from __future__ import annotations

import copy
from typing import Any

from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from rtx.datasets.openmmlab.nodes import add_import, type_name, walk
from rtx.datasets.views import View
from rtx.errors import BadValue

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


@TRANSFORMS.register_module()
class ApplyView(BaseTransform):
    """Show the loaded image as a view shows it; labels, boxes and masks stay as they are.

    Required and modified key: `img`, uint8 (H, W, 3) of any channel order.

    Args:
        view: a form of `rtx.datasets.views.View`.

    Raises:
        BadValue: it is none, or an image does not fit it.
    """

    def __init__(self, view: str) -> None:
        self.view = View.parse(view)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace `results["img"]`."""
        try:
            results["img"] = self.view(results["img"])
        except BadValue as error:
            raise BadValue(f"image {str(results.get('img_path'))!r}: {error}") from error
        return results

    def __repr__(self) -> str:
        """Show the view."""
        return f"{type(self).__name__}({self.view})"


def with_view(cfg: Config, view: str | View) -> Config:
    """The config with a view of every image that it trains or is tested on, instead of one that it has already.

    Args:
        cfg: a loaded config; it is not changed.
        view: "none" takes a view away.

    Raises:
        BadValue: the view has another form, or no pipeline loads an image.
    """
    view = View.parse(view) if isinstance(view, str) else view
    out: Config = copy.deepcopy(cfg)
    count = 0
    for name in LOADERS:
        if out.get(name):
            out[name], found = _with_step(out[name], None if view.kind == "none" else str(view))
            count += found
    if view.kind != "none" and not count:
        raise BadValue(f"view {view}: the config has no pipeline with an image loader (LoadImageFromFile)")
    add_import(out, __name__)
    return out


def _with_step(node: Any, view: str | None) -> tuple[Any, int]:
    """A copy of any nesting of dicts and lists with the step behind each loader, and how many loaders there are."""
    if isinstance(node, dict):
        parts = {key: _with_step(value, view) for key, value in node.items()}
        return type(node)({key: part for key, (part, _) in parts.items()}), sum(n for _, n in parts.values())
    if not isinstance(node, (list, tuple)):
        return node, 0
    steps, total = [], 0
    for step in node:
        if type_name(step) == ApplyView.__name__:
            continue
        part, count = _with_step(step, view)
        steps.append(part)
        if loads_image(type_name(step)):
            count += 1
            steps += [dict(type=ApplyView.__name__, view=view)] if view else []
        total += count
    return (tuple(steps) if isinstance(node, tuple) else steps), total


def loads_image(name: str) -> bool:
    """Whether a step of this name loads an image.

    Example:
        >>> loads_image("LoadImageFromFile"), loads_image("LoadAnnotations")
        (True, False)
    """
    return name.startswith("Load") and "Image" in name


def view_of(cfg: Config) -> str | None:
    """The view that a config is tested on; None for images as they are."""
    steps = (node for node in walk(cfg.get("test_dataloader")) if type_name(node) == ApplyView.__name__)
    return next((str(step["view"]) for step in steps), None)
