"""Build the model of a config and load a trained checkpoint into it, strictly and without running the file's code."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from rtx.datasets.openmmlab.reading import read_safely, read_training_state
from rtx.errors import BadValue, DeviceError, WeightsError, WeightsMismatch, some
from rtx.sources.load import check_values
from rtx.sources.reading.read import read_checkpoint

log = logging.getLogger(__name__)
_SHOWN = 6


def load_model(cfg: Config, checkpoint: Path, device: str | torch.device = "cpu") -> nn.Module:
    """The trained model of a config, in evaluation mode on `device`.

    Args:
        cfg: the expanded config.
        checkpoint: a checkpoint of that model, as mmengine saves it (`state_dict`), or a bare state dict.
        device: where the model goes.

    Raises:
        WeightsError: the file is missing or is no checkpoint.
        WeightsMismatch: a key or a shape differs from the model; keys are named.
        BadValue: the checkpoint was trained on other class names than the config evaluates.
        DeviceError: there is no such device.
    """
    read_safely()
    check_device(device)
    if not checkpoint.is_file():
        raise WeightsError(f"checkpoint {str(checkpoint)!r} does not exist; give the .pth file that training wrote")
    content = read_checkpoint(checkpoint)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not any(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(
            f"checkpoint {str(checkpoint)!r} holds no state dict; give the .pth file that training wrote"
        )
    check_classes(cfg, content, checkpoint)
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


def load_strictly(model: nn.Module, state: Mapping[str, torch.Tensor], place: str) -> None:
    """Load every tensor or none.

    Raises:
        WeightsMismatch: names missing keys, unexpected keys and shapes that differ.
        WeightsError: see `rtx.sources.load.check_values`.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    own = model.state_dict()
    faults = []
    for title, keys in (("missing", sorted(set(own) - set(state))), ("unexpected", sorted(set(state) - set(own)))):
        if keys:
            faults.append(f"{len(keys)} {title} keys ({some(keys, _SHOWN)})")
    shapes = [
        f"{key}: {tuple(state[key].shape)} in the file, {tuple(own[key].shape)} in the model"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    if shapes:
        faults.append(f"{len(shapes)} shapes differ ({'; '.join(shapes[:_SHOWN])})")
    if faults:
        raise WeightsMismatch(
            f"checkpoint {place!r} does not fit this config: {'; '.join(faults)}; "
            "give the config it was trained with (it lies in its run folder), with the same --source and --data-root"
        )
    check_values(state, {key: value.dtype for key, value in own.items()}, f"checkpoint {place!r}")
    model.load_state_dict(dict(state), strict=True)


def check_classes(cfg: Config, content: Mapping[str, Any], checkpoint: Path) -> None:
    """Refuse a checkpoint whose class names are not those of the config's test set, when both say theirs."""
    meta = content.get("meta")
    trained = (meta.get("dataset_meta") or {}) if isinstance(meta, Mapping) else {}
    theirs = trained.get("classes") or trained.get("CLASSES") if isinstance(trained, Mapping) else None
    metainfo = cfg.test_dataloader.dataset.get("metainfo") or {}
    ours = metainfo.get("classes")
    if not isinstance(theirs, (list, tuple)) or not ours or list(theirs) == list(ours):
        return
    raise BadValue(
        f"checkpoint {str(checkpoint)!r} was trained on {len(theirs)} classes "
        f"({', '.join(map(str, theirs[:4]))}, ...), "
        f"but this config evaluates {len(ours)} ({', '.join(map(str, ours[:4]))}, ...); "
        "give the same --data-root as in training"
    )


def training_meta(checkpoint: Path) -> Mapping[str, Any]:
    """The training state of a checkpoint (`epoch`, `iter`, `dataset_meta`); empty if it holds only weights.

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
    meta = content.get("meta") if isinstance(content, Mapping) else None
    return meta if isinstance(meta, Mapping) else {}
