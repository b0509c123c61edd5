"""The `Corrupt` transform and where it goes.

Detection practice is the decoded image at its original resolution, before anything else touches it; ImageNet-C's
practice is the picture that the network sees, after resizing and cropping. The scope of a config decides, see
`usual_place`.

The OneDL line of OpenMMLab ships no `Corrupt` transform (its robustness tool names one that was deleted), and the
original put it at a fixed place in the pipeline and fed BGR images to corruptions written for RGB.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from rtx.corruptions import CORRUPTIONS, DEFAULT_ENGINE
from rtx.corruptions.settings import Settings, corrupt_as, turn
from rtx.datasets.openmmlab.view_step import ApplyView, loads_image
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.pixels.random_steps import check_not_random, step_name
from rtx.evaluation.protocol import PLACES
from rtx.types import CLEAN, Condition

_LAST = ("Pack", "Normalize", "ToTensor", "ImageToTensor", "Collect", "DefaultFormatBundle")


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupt the loaded image; labels, boxes and masks stay as they are.

    Required keys: `img` (uint8 (H, W, 3), BGR as mmcv loads it), `img_path`. Optional key: `img_order`, `rgb` where the
    image is RGB. Modified keys: `img`.

    The pixels depend on (seed, file stem of `img_path`, corruption, severity) and on nothing else.

    Args:
        corruption: a name of `rtx.corruptions.CORRUPTIONS`, or "clean".
        severity: 1 to 5; 0 for "clean".
        seed: the corruption seed of the run.
        channel_order: `rgb` gives corruptions the RGB image they were written for; `bgr_legacy` gives them BGR, as the
            published OpenMMLab robustness numbers did (it changes frost, snow, spatter and JPEG).
        engine: which implementation makes the pixels, a key of `rtx.corruptions.ENGINES`.

    Raises:
        UnknownName: no such corruption, channel order or engine.
        BadValue: the seed is no whole number from 0, the severity is not 1 to 5, or an image is not 8-bit colour of at
            least 32 x 32 pixels.
    """

    def __init__(
        self,
        corruption: str = "clean",
        severity: int = 0,
        seed: int = 0,
        channel_order: str = "rgb",
        engine: str = DEFAULT_ENGINE,
    ) -> None:
        if corruption != "clean" and corruption not in CORRUPTIONS:
            raise unknown_name("corruption", corruption, place="rtx.corruptions", choices=CORRUPTIONS)
        self.condition, self.settings = Condition(corruption, severity), Settings(engine, seed, channel_order)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Corrupt `results["img"]`."""
        if self.condition == CLEAN:
            return results
        path = results["img_path"]
        image: np.ndarray = results["img"]
        if image.dtype != np.uint8:
            raise BadValue(
                f"image {path!r} is {image.dtype} when it reaches Corrupt: corruptions take uint8; "
                "remove to_float32 from the image loader of the test pipeline"
            )
        turned = results.get("img_order", "bgr") != "rgb"
        image = turn(image) if turned else np.ascontiguousarray(image)
        out = corrupt_as(image, self.condition, Path(path).stem, self.settings, name=f"image {str(path)!r}")
        results["img"] = turn(out) if turned else np.ascontiguousarray(out)
        return results

    def __repr__(self) -> str:
        """Show what is applied."""
        return f"{type(self).__name__}({self.condition.key}, {self.settings})"


def usual_place(scope: str) -> str:
    """The default place of the corruption in the pipeline, as published results of the task have it.

    Example:
        >>> usual_place("mmpretrain"), usual_place("mmdet")
        ('network_input', 'original_resolution')
    """
    return "network_input" if scope == "mmpretrain" else "original_resolution"


def insert_corrupt(dataset_cfg: Any, corrupt_cfg: dict[str, Any], at: str = "original_resolution") -> Any:
    """A copy of a data set config with `corrupt_cfg` in every pipeline with an image loader, wrapped ones included.

    Args:
        dataset_cfg: an OpenMMLab data set config; wrappers (`dataset`, `datasets`) and nested transforms
            (`transforms`) are searched.
        corrupt_cfg: e.g. `dict(type="Corrupt", corruption="fog", severity=3)`.
        at: one of `PLACES`.

    Raises:
        UnknownName: no such place.
        BadValue: a pipeline has no image loader, or already corrupts, or draws, or has no step that packs the network's
            input.
    """
    check_not_random(dataset_cfg)
    if at not in PLACES:
        raise unknown_name("place of the corruption", at, place="rtx.evaluation.protocol.PLACES", choices=PLACES)
    out, inserted = _inserted(dataset_cfg, corrupt_cfg, at)
    if not inserted:
        raise BadValue(
            "the data set config has no pipeline with an image loader (LoadImageFromFile); Corrupt has no place"
        )
    return out


def _inserted(node: Any, corrupt_cfg: dict[str, Any], at: str) -> tuple[Any, int]:
    """A copy of any nesting of dicts and lists with the step behind each loader, and how many were inserted."""
    if isinstance(node, dict):
        parts = {key: _inserted(value, corrupt_cfg, at) for key, value in node.items()}
        return {key: part for key, (part, _) in parts.items()}, sum(count for _, count in parts.values())
    if not isinstance(node, (list, tuple)):
        return copy.deepcopy(node), 0
    names = [step_name(step) for step in node]
    if "Corrupt" in names:
        raise BadValue(f"the pipeline {names} already holds a Corrupt; remove it, the evaluation inserts its own")
    places = _places(names, at)
    steps, total = [], len(places)
    for n, step in enumerate(node):
        part, count = _inserted(step, corrupt_cfg, at)
        steps += [copy.deepcopy(corrupt_cfg), part] if n in places else [part]
        total += count
    if len(node) in places:
        steps.append(copy.deepcopy(corrupt_cfg))
    return (tuple(steps) if isinstance(node, tuple) else steps), total


def _places(names: list[str], at: str) -> set[int]:
    """Before which steps of one list the corruption goes; none where nothing loads an image."""
    loaders = [n for n, name in enumerate(names) if loads_image(name)]
    if at == "original_resolution" or not loaders:
        # What is corrupted is the view, as if the files held it.
        return {n + 2 if names[n + 1 : n + 2] == [ApplyView.__name__] else n + 1 for n in loaders}
    ends = [n for n, name in enumerate(names) if name.startswith(_LAST) and n > loaders[-1]]
    if not ends:
        raise BadValue(
            f"the pipeline {names} has no step that packs the image; corruption_at network_input has no place"
        )
    return {ends[0]}


def find_steps(pipeline: list[Any]) -> tuple[int, int]:
    """Where one flat pipeline loads its image, and where it begins to normalise or pack it.

    Raises:
        BadValue: it does not do both, in this order.
    """
    names = [step_name(step) for step in pipeline]
    loader = next((n for n, name in enumerate(names) if loads_image(name)), None)
    end = next((n for n, name in enumerate(names) if name.startswith(_LAST)), None)
    if loader is None or end is None or end < loader:
        raise BadValue(f"the pipeline {names} must load an image (LoadImageFromFile) and pack it (PackInputs)")
    return loader, end


def find_corrupt(node: Any) -> list[Corrupt]:
    """Every `Corrupt` inside a built data set, through wrappers and nested transforms, each once."""
    return find_built(node, lambda step: isinstance(step, Corrupt))


def find_built(node: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """The steps inside a built data set that are wanted, through wrappers and nested transforms, each once."""
    found: dict[int, Any] = {}
    seen: set[int] = set()

    def visit(item: Any) -> None:
        if id(item) in seen:
            return
        seen.add(id(item))
        if isinstance(item, (list, tuple)):
            for part in item:
                visit(part)
        elif wanted(item):
            found[id(item)] = item
        else:
            for name in ("pipeline", "transforms", "dataset", "datasets", "_transforms"):
                part = getattr(item, name, None)
                if part is not None and not isinstance(part, (str, dict)):
                    visit(part)

    visit(node)
    return list(found.values())
