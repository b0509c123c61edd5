"""Models of other libraries by name: `torchvision:fasterrcnn_resnet50_fpn_v2`, `transformers:FOLDER` and the rest.

One row and one file for each library. Its file is imported, and with it the library, when a model of it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from rtx.errors import BadValue, MissingDependency, WeightsError, unknown_name
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapter_data import data_folder, layout_for_adapters
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.class_names import distinct
from rtx.sources.reading.read import read_checkpoint

KINDS: tuple[type[Adapter], ...] = (Detector, Segmenter, Classifier)


@dataclass(frozen=True)
class Asked:
    """The model that is asked for.

    Attributes:
        spec: all of it, e.g. `torchvision:resnet50`.
        what: what stands behind the colon.
        kind: what the data can score: `Detector`, `Segmenter` or `Classifier`.
        weights: the file of `--weights`.
        classes: names of the model's classes that were given, in the order of its labels; empty for the library's.
        device: where the model goes.
        class_map: see `Adapter`.
    """

    spec: str
    what: str
    kind: type[Adapter]
    weights: Path | None = None
    classes: tuple[str, ...] = ()
    device: str = "cpu"
    class_map: Mapping[str, str] = field(default_factory=dict)

    def file(self, where: str) -> Path:
        """The file of `--weights`.

        Raises:
            BadValue: there is none; `where` says which it could be.
        """
        if self.weights is None:
            raise BadValue(f"--model {self.spec}: give --weights FILE; {where}")
        return self.weights

    def adapter(self, network: torch.nn.Module, classes: Sequence[str], version: str, **options: Any) -> Adapter:
        """The adapter around a module that takes a list of RGB uint8 arrays (H, W, 3), or what `inputs` says."""
        shared: dict[str, Any] = dict(name=self.spec, version=version, inputs="arrays", class_map=self.class_map)
        return self.kind(network.to(self.device).eval(), distinct(classes), **{**shared, **options})


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
    root = data_folder(data)
    layout = layout_for_adapters(root, annotations)
    kind = next(kind for kind in KINDS if layout in kind.layouts)
    file = None if weights is None else Path(weights).expanduser()
    if file is not None and not file.is_file():
        raise WeightsError(f"--weights {str(weights)!r} does not exist, or is no file")
    asked = Asked(spec, what, kind, file, tuple(classes), device, dict(class_map or {}))
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
    found: Adapter = module.open_preset(asked)
    return found


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a file: a bare state dict, or one under `model`, `state_dict` or `model_state_dict`.

    Raises:
        WeightsError: it cannot be read without running code from it, or holds no weights.
    """
    content = read_checkpoint(path)
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)} if content else {}
    if not tensors:
        raise WeightsError(f"weights {str(path)!r} hold no state dict; save model.state_dict()")
    return {re.sub(r"^module\.", "", key): value for key, value in tensors.items()}


def wrong_task(asked: Asked, does: str) -> BadValue:
    """The error of a model that does another task than the data score."""
    wanted = {Detector: "boxes", Segmenter: "label maps", Classifier: "classes of images"}[asked.kind]
    return BadValue(f"--model {asked.spec}: {does}, but the data of --data-root score {wanted}; give data of its task")
