"""Build the model of a config and load a trained checkpoint into it, strictly and without running the file's code."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from rtx.datasets.openmmlab.nodes import type_name
from rtx.datasets.openmmlab.reading import read_safely, read_training_state
from rtx.errors import BadValue, DeviceError, WeightsError, WeightsMismatch, some
from rtx.sources.keys.layouts import whole_model
from rtx.sources.keys.wrappers import unwrapped
from rtx.sources.load import check_values
from rtx.sources.reading.read import read_checkpoint
from rtx.sources.reading.unpickle import Inert

log = logging.getLogger(__name__)
_SHOWN = 6
_VIEWS = ("TestTimeAug", "MultiScaleFlipAug")


def load_model(cfg: Config, checkpoint: Path, device: str | torch.device = "cpu") -> nn.Module:
    """The trained model of a config, in evaluation mode on `device`.

    Args:
        cfg: the expanded config.
        checkpoint: a checkpoint of that model, as mmengine saves it (`state_dict`), or a bare state dict.
        device: where the model goes.

    Raises:
        WeightsError: the file is missing or is no checkpoint.
        WeightsMismatch: a key or a shape differs from the model; keys are named.
        DeviceError: there is no such device.
    """
    read_safely()
    check_device(device)
    check_one_view(cfg)
    if not checkpoint.is_file():
        raise WeightsError(f"checkpoint {str(checkpoint)!r} does not exist; give the .pth file that training wrote")
    content = read_checkpoint(checkpoint)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not any(isinstance(v, torch.Tensor) for v in state.values()):
        if isinstance(content, Inert):
            raise WeightsError(whole_model(f"checkpoint {str(checkpoint)!r}", content))
        raise WeightsError(
            f"checkpoint {str(checkpoint)!r} holds no state dict; give the .pth file that training wrote"
        )
    init_default_scope(cfg.get("default_scope", "mmdet"))
    # mmpretrain keeps the statistics of the pixels beside the model; without them the network sees raw pixels.
    beside = cfg.get("data_preprocessor")
    # Some networks write into what they are built from (mmdet's DETR puts tensors there); the card needs it as it is.
    own = copy.deepcopy(cfg.model)
    model = MODELS.build({"data_preprocessor": copy.deepcopy(beside), **own} if beside else own)
    load_strictly(model, {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}, str(checkpoint))
    if torch.device(device).type == "cpu":
        model = revert_sync_batchnorm(model)
    model.cfg = cfg
    # Where mmdet and mmseg keep it, too; the evaluation holds the test set against it.
    model.dataset_meta = {"classes": trained_classes(content.get("meta"))}
    return model.to(device).eval()


def _first_line(error: Exception) -> str:
    """The first line of an error's message; its type where the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check_device(device: str | torch.device) -> None:
    """Check that a device is there, before anything is loaded for it.

    Raises:
        DeviceError: it is not, or that is no name of one.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        there = f"cpu and cuda:0 to cuda:{gpus - 1}" if gpus > 1 else "cpu and cuda:0" if gpus else "cpu"
        reason = _first_line(error)
        raise DeviceError(f"device {str(device)!r} cannot be used; available: {there} ({reason[:200]})") from error


OF_CONFIGS = (
    "this config",
    "give the config it was trained with (it lies in its run folder), with the same --source and --data-root",
)


def load_strictly(
    model: nn.Module, state: Mapping[str, torch.Tensor], place: str, what: tuple[str, str] = OF_CONFIGS
) -> None:
    """Load every tensor or none.

    Args:
        model: gets them.
        state: the tensors by name.
        place: where they come from, for messages.
        what: what they were to fit, and what to do where they do not.

    Raises:
        WeightsMismatch: names missing keys, unexpected keys and shapes that differ.
        WeightsError: see `rtx.sources.load.check_values`.
    """
    names = unwrapped(state, place)
    state = {names[key].removeprefix("module."): value for key, value in state.items()}
    own = model.state_dict()
    faults = differences(shapes_of(own), shapes_of(state))
    if faults:
        raise WeightsMismatch(f"checkpoint {place!r} does not fit {what[0]}: {'; '.join(faults)}; {what[1]}")
    check_values(state, {key: value.dtype for key, value in own.items()}, f"checkpoint {place!r}")
    model.load_state_dict(dict(state), strict=True)


def shapes_of(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {key: tuple(value.shape) for key, value in state.items()}


def differences(own: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]]) -> list[str]:
    """How the shapes of a file differ from those of a model: keys that are missing or unexpected, other shapes."""
    faults = []
    for title, keys in (("missing", sorted(set(own) - set(theirs))), ("unexpected", sorted(set(theirs) - set(own)))):
        if keys:
            faults.append(f"{len(keys)} {title} keys ({some(keys, _SHOWN)})")
    shapes = [
        f"{key}: {theirs[key]} in the file, {own[key]} in the model"
        for key in own
        if key in theirs and own[key] != theirs[key]
    ]
    if shapes:
        faults.append(f"{len(shapes)} shapes differ ({'; '.join(shapes[:_SHOWN])})")
    return faults


def check_one_view(cfg: Config) -> None:
    """Refuse a config that averages several views of an image.

    Raises:
        BadValue: its model, or the pipeline of its test set, is one of test-time augmentation.
    """
    kinds = [type_name(cfg.get("model") or {})]
    pipeline = ((cfg.get("test_dataloader") or {}).get("dataset") or {}).get("pipeline") or ()
    kinds += [type_name(step) for step in pipeline]
    found = next((kind for kind in kinds if kind.endswith("TTAModel") or kind in _VIEWS), None)
    if found is not None:
        raise BadValue(
            f"{found} averages several views of each image (test-time augmentation), and rtx trains and evaluates one; "
            "give the config without tta_model as its model and tta_pipeline as its test pipeline"
        )


def trained_classes(meta: Any) -> tuple[str, ...]:
    """The class names that a checkpoint's `meta` states, in the order of the labels; empty where it states none."""
    if not isinstance(meta, Mapping):
        return ()
    inner = meta.get("dataset_meta")
    inner = inner if isinstance(inner, Mapping) else meta  # MMDetection 2 and its kin wrote them one level up
    names = inner.get("classes") or inner.get("CLASSES")
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def check_classes(trained: Sequence[str], evaluated: Sequence[str], place: str, *, renamed: bool = False) -> None:
    """Refuse data whose labels do not stand for what a model was trained on, when both say their classes.

    Args:
        trained: names in the order of the labels that the model learnt; empty for unknown.
        evaluated: those of the data.
        place: what was trained on the former, for messages.
        renamed: other names at the same places are allowed, as of ImageNet's classes, which are words or numbers.

    Raises:
        BadValue: more or fewer classes, another order, or other names.
    """
    theirs, ours = list(map(str, trained)), list(map(str, evaluated))
    if not theirs or not ours or theirs == ours:
        return
    if len(theirs) == len(ours):
        n = next(n for n, (one, two) in enumerate(zip(theirs, ours, strict=True)) if one != two)
        if not renamed or ours[n] in theirs or theirs[n] in ours:
            raise BadValue(
                f"{place} was trained with label {n} as {theirs[n]!r}, but in the evaluated data it is {ours[n]!r} "
                f"({len(ours)} classes in both); give the classes of training, in that order (metainfo, or the same "
                "--data-root)"
            )
        if set(theirs) & set(ours):
            log.warning("%s calls label %d %r, the evaluated data call it %r", place, n, theirs[n], ours[n])
        return
    raise BadValue(
        f"{place} was trained on {len(theirs)} classes ({', '.join(theirs[:4])}, ...), but {len(ours)} are evaluated "
        f"({', '.join(ours[:4])}, ...); give the same --data-root as in training"
    )


@dataclass(frozen=True)
class TrainedState:
    """What a training may start from.

    Attributes:
        path: the checkpoint.
        meta: its training state (`epoch`, `iter`, `dataset_meta`); empty if it holds only weights.
        shapes: of its tensors, by key.
    """

    path: Path
    meta: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]


def training_meta(checkpoint: Path) -> Mapping[str, Any]:
    """The training state of a checkpoint, see `training_state`."""
    return training_state(checkpoint).meta


def training_state(checkpoint: Path) -> TrainedState:
    """The training state of a checkpoint, and what its weights are.

    Raises:
        WeightsError: it is no checkpoint, or names objects that are neither tensors nor mmengine's training state.
    """
    try:
        content = read_training_state(checkpoint)
    except WeightsError as error:
        raise WeightsError(
            f"{error}; resume only from a checkpoint that rtx or mmengine wrote; to start from weights alone, use "
            "--source FILE"
        ) from error
    content = content if isinstance(content, Mapping) else {}
    meta, state = content.get("meta"), content.get("state_dict", content)
    tensors = {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)} if isinstance(state, Mapping) else {}
    return TrainedState(checkpoint, meta if isinstance(meta, Mapping) else {}, shapes_of(tensors))
