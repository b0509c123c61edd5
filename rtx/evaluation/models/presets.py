"""Models of other libraries by name: `torchvision:fasterrcnn_resnet50_fpn_v2`, `transformers:FOLDER` and the rest.

One row and one file for each library. Its file is imported, and with it the library, when a model of it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from rtx.errors import BadValue, MissingDependency, WeightsError, unknown_name
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapter_data import data_folder, layout_for_adapters
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.folders import MAPS
from rtx.evaluation.models.library import Asked, WrongTask

TASKS: Mapping[str, type[Adapter]] = {"boxes": Detector, "maps": Segmenter, "classes": Classifier}
"""What can be scored; where data and model can do several, the first."""


@dataclass(frozen=True)
class Preset:
    """A library whose models can be named.

    Attributes:
        module: has `open_preset(asked) -> Adapter`.
        form: what stands behind the colon.
        library: the package that it imports; empty for none.
        install: how it is installed.
    """

    module: str
    form: str
    library: str = ""
    install: str = ""


_HERE = "rtx.evaluation.models"
PRESETS = {
    "torchvision": Preset(f"{_HERE}.preset_torchvision", "NAME", "torchvision", "pip install 'rtx-robustness[mm]'"),
    "transformers": Preset(
        f"{_HERE}.preset_transformers", "FOLDER", "transformers", "pip install 'rtx-robustness[transformers]'"
    ),
    "libreyolo": Preset(f"{_HERE}.preset_libreyolo", "FILE", "libreyolo", "pip install 'rtx-robustness[libreyolo]'"),
    # It lies among what is built on detectron2, the one place that may import it.
    "detectron2": Preset(
        "rtx.bridges.detectron2_model",
        "CONFIG.yaml",
        "detectron2",
        "pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2",
    ),
    "pirat": Preset(f"{_HERE}.preset_pirat", "NAME|FILE", "timm", "pip install 'rtx-robustness[timm]'"),
    "python": Preset(f"{_HERE}.preset_python", "FILE.py:NAME"),
}
"""One line for a new library."""


def open_model(
    spec: str,
    data: str | Path,
    *,
    annotations: str | Path | None = None,
    weights: str | Path | None = None,
    classes: Sequence[str] = (),
    class_map: Mapping[str, str] | None = None,
    device: str = "cpu",
    task: str | None = None,
) -> Adapter:
    """The adapter of a model that a library names.

    Args:
        spec: `LIBRARY:WHAT`, with a key of `PRESETS`.
        data: the folder that it is to be evaluated on, whose layout decides what kind of model is meant.
        annotations: as for `evaluate`.
        weights: the file with its weights, for a library that has them in one.
        classes: names of the model's classes in the order of its labels, where the library does not say them.
        class_map: model's class -> class of the data, where names differ.
        device: where the model goes.
        task: a key of `TASKS`, where data or model leave several; the first that both can do when None.

    Raises:
        UnknownName: no such library or model; the nearest ones are shown.
        MissingDependency: the library is not installed, or cannot be imported.
        WeightsError, WeightsMismatch: the weights cannot be read safely, or do not fit.
        BadValue: something is missing, or the model does another task than the data score.
    """
    prefix, colon, what = spec.partition(":")
    if not colon or not what:
        forms = ", ".join(f"{name}:{row.form}" for name, row in PRESETS.items())
        raise BadValue(f"--model {spec!r}: name the library too; one of {forms}")
    if prefix not in PRESETS:
        raise unknown_name("model library", prefix, place="rtx.evaluation.models.presets.PRESETS", choices=PRESETS)
    preset = PRESETS[prefix]
    kinds = _kinds(data_folder(data), annotations, task)
    file = None if weights is None else Path(weights).expanduser()
    if file is not None and not file.is_file():
        raise WeightsError(f"--weights {str(weights)!r} does not exist, or is no file")
    asked = Asked(spec, what, kinds[0], file, tuple(classes), device, dict(class_map or {}))
    if preset.library and find_spec(preset.library) is None:
        raise MissingDependency(f"--model {spec}: {preset.library} is not installed; {preset.install}")
    try:
        module = import_module(preset.module)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "rtx":
            raise
        raise MissingDependency(
            f"--model {spec}: {preset.library} cannot be imported ({error}); {preset.install}"
        ) from error
    for kind in kinds[:-1]:
        with suppress(WrongTask):
            first: Adapter = module.open_preset(replace(asked, kind=kind))
            return first
    found: Adapter = module.open_preset(replace(asked, kind=kinds[-1]))
    return found


def _kinds(root: Path, annotations: str | Path | None, task: str | None) -> list[type[Adapter]]:
    """What the data can score: a Cityscapes folder boxes as well as label maps."""
    if task is not None and task not in TASKS:
        raise unknown_name("task", task, place="rtx.evaluation.models.presets.TASKS", choices=TASKS)
    layout = layout_for_adapters(root, annotations)
    scored = {name: kind for name, kind in TASKS.items() if {layout, f"{MAPS}{layout}"} & set(kind.layouts)}
    if task is not None and task not in scored:
        raise BadValue(f"--task {task}: {root} has the layout of {layout}, which scores {' or '.join(scored)}")
    return list(scored.values()) if task is None else [TASKS[task]]
