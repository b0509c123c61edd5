"""Finding data sets, evaluators and heads inside an OpenMMLab config, and putting others in their place."""

from __future__ import annotations

import colorsys
import copy
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.layout import Layout
from rtx.errors import some

SPLIT_LOADERS = {"train": ("train_dataloader",), "val": ("val_dataloader", "test_dataloader")}
EVALUATORS = ("val_evaluator", "test_evaluator")


@dataclass
class Findings:
    """The result of checking one data set.

    Attributes:
        absent: files and folders that are not there, relative to the data root.
        problems: what ends the run.
        warnings: what is logged.
        classes: names in the order of the labels.
        images: the image files, to be looked at next.
        in_archives: how many images are no files of their own; the archives were read whole.
        sizes: of an image, (height, width) that its annotations state; or the label map that must be as large.
        any_size: small ones are enlarged before anything is done to them.
    """

    absent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    classes: Sequence[str] = ()
    images: list[Path] = field(default_factory=list)
    in_archives: int = 0
    sizes: Mapping[Path, tuple[int, int] | Path] = field(default_factory=dict)
    any_size: bool = False

    def nothing_labelled(self, where: str, split: str) -> None:
        """Add that there is no object: nothing to learn, or nothing to score."""
        what = "there is nothing to learn" if split == "train" else "every score will be undefined"
        (self.problems if split == "train" else self.warnings).append(f"{where} has no object; {what}")

    def no_object_of(self, absent: Sequence[str], n_classes: int, split: str) -> None:
        """Add that classes are in the table and in no label."""
        if absent:
            what = "are never learnt" if split == "train" else "have no score of their own"
            self.warnings.append(f"{len(absent)} of {n_classes} classes are in no label and {what}: {some(absent)}")

    def no_area(self, where: Sequence[object], split: str, left_out: str) -> None:
        """Add that some boxes have no area: `where` names the image of each, `left_out` what training does to them."""
        if where:
            counted = "they stay in the ground truth as objects that can hardly be found, as the stock scorers have it"
            what = left_out if split == "train" else counted
            self.warnings.append(f"{len(where)} boxes have no area ({some(where)}); {what}")


@dataclass(frozen=True)
class ConfigLayout:
    """A data layout in configs; a new one is a file with its row, and a line in `rtx.datasets.openmmlab.with_data`.

    Attributes:
        layout: how it lies on disk.
        types: data set classes that read it.
        task: a config of one layout can be pointed at a folder of another one of the same task.
        adapt: point a config at a folder, in place; returns one note for each adaptation.
        check: look at the files of a data set config of a split ("train" or "val") and add to the findings; a
            `DataError` that it raises is one of them, and the last.
        wanted: what to download if the data are missing.
    """

    layout: Layout
    types: tuple[str, ...]
    task: str
    adapt: Callable[[Config, Path], list[str]]
    check: Callable[[Any, str, Findings], None]
    wanted: str


def root_of(node: Any) -> Path:
    """Return the data root of a data set config."""
    return Path(node.get("data_root") or ".")


def type_name(node: Any) -> str:
    """Return the bare class name that a config node builds, "" for none."""
    kind = node.get("type", "") if isinstance(node, dict) else ""
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]


def data_sets(node: Any) -> Iterator[Any]:
    """Walk down to the data sets that read files, through wrappers such as RepeatDataset and ConcatDataset."""
    if not isinstance(node, dict):
        return
    if isinstance(node.get("dataset"), dict):
        yield from data_sets(node["dataset"])
    elif isinstance(node.get("datasets"), (list, tuple)):
        for part in node["datasets"]:
            yield from data_sets(part)
    elif "type" in node:
        yield node


def split_data_sets(cfg: Config, split: str) -> list[Any]:
    """All data sets of "train" or "val" (validation and test), in the order of the config."""
    return [node for key in SPLIT_LOADERS[split] for node in data_sets((cfg.get(key) or {}).get("dataset"))]


def replace_data_sets(node: Any, new: Sequence[Any]) -> Any:
    """Return a data set config with `new` in place of what it reads, its wrappers kept.

    Args:
        node: a data set config, wrapped or not.
        new: one data set config or several; several are concatenated.
    """
    if isinstance(node.get("dataset"), dict):
        node["dataset"] = replace_data_sets(node["dataset"], new)
        return node
    if isinstance(node.get("datasets"), (list, tuple)):
        node["datasets"] = [copy.deepcopy(item) for item in new]
        return node
    if len(new) == 1:
        return copy.deepcopy(new[0])
    # VOC data sets differ in `dataset_type`, which ConcatDataset would refuse.
    return dict(type="ConcatDataset", ignore_keys=["dataset_type"], datasets=[copy.deepcopy(item) for item in new])


def put_data_sets(cfg: Config, split: str, new: Sequence[dict[str, Any]]) -> None:
    """Give a split of `cfg` other data sets.

    Args:
        cfg: changed in place.
        split: "train" or "val".
        new: for each data set, the keys to change in the first one that the split has now.
    """
    for key in SPLIT_LOADERS[split]:
        loader = cfg.get(key)
        if not loader:
            continue
        template = next(data_sets(loader["dataset"]))
        made = [copy.deepcopy(template) for _ in new]
        for node, changes in zip(made, new, strict=True):
            for key, value in changes.items():
                if value is None:
                    node.pop(key, None)
                else:
                    node[key] = copy.deepcopy(value)
        loader["dataset"] = replace_data_sets(loader["dataset"], made)


def evaluators(cfg: Config) -> list[Any]:
    """Return every evaluator config of validation and test, lists flattened."""
    found: list[Any] = []
    for key in EVALUATORS:
        value = cfg.get(key) or []
        found += list(value) if isinstance(value, (list, tuple)) else [value]
    return found


def set_num_classes(model: Any, n_classes: int, name: str = "model") -> list[str]:
    """Set the number of classes of every head in a model config; return the heads that changed.

    Args:
        model: the model config, changed in place.
        n_classes: foreground classes.
        name: where `model` is, for the returned names.
    """
    changed: list[str] = []
    if isinstance(model, dict):
        head = name.rpartition(".")[2].partition("[")[0]
        # A region proposal head tells object from ground; its classes are not the target's.
        if head.endswith("_head") and head != "rpn_head" and "num_classes" in model:
            if model["num_classes"] != n_classes:
                model["num_classes"] = n_classes
                changed.append(name)
        for key, value in model.items():
            changed += set_num_classes(value, n_classes, f"{name}.{key}")
    elif isinstance(model, (list, tuple)):
        for index, value in enumerate(model):
            changed += set_num_classes(value, n_classes, f"{name}[{index}]")
    return changed


def fit_heads(cfg: Config, n_classes: int) -> list[str]:
    """Set the number of classes of every head of a config; return a note where that changed one."""
    heads = set_num_classes(cfg.get("model"), n_classes)
    return [f"num_classes={n_classes} in {', '.join(heads)}"] if heads else []


def walk(node: Any) -> Iterator[Any]:
    """Every dict in a config, the outer ones first."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        yield from walk(part)


def add_import(cfg: Config, module: str) -> None:
    """Add a module to the `custom_imports` of a config, once, and import it now: a loaded config is past that step."""
    importlib.import_module(module)
    found = cfg.get("custom_imports") or dict(imports=[], allow_failed_imports=False)
    names = [found["imports"]] if isinstance(found["imports"], str) else list(found["imports"])
    if module not in names:
        cfg.custom_imports = dict(found, imports=[*names, module])


def palette(n_colours: int) -> list[list[int]]:
    """Return that many well-spread colours (golden-angle hues), RGB in 0..255."""
    return [
        [round(255 * part) for part in colorsys.hsv_to_rgb(n * 0.618034 % 1.0, 0.75, 0.95 - 0.3 * (n % 2))]
        for n in range(n_colours)
    ]
