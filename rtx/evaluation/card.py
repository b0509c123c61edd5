"""The protocol card: everything that decides what a score means, recorded beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config

import rtx
from rtx.corruptions.smoothing import elastic_slides
from rtx.evaluation.identity import images_sha256, own_code
from rtx.evaluation.scorers.base import Scorer
from rtx.evaluation.sweep.batches import image_path, original_size
from rtx.files import file_sha256
from rtx.results.subset import RULE, stratified
from rtx.transfer.guard import freeze_map, mode_of

_VERSIONED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "opencv": "opencv-python",
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "mmseg": "onedl-mmsegmentation",
    "mmpretrain": "onedl-mmpretrain",
}
# Where data and weights lie, and what a config says about training, does not change an evaluated number.
_PATH_KEYS = frozenset(
    {"data_root", "ann_file", "data_prefix", "init_cfg", "pretrained", "source", "train_cfg", "backend_args"}
)


def version_of(package: str) -> str | None:
    """Installed version of a distribution, None when it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Versions of the libraries that touch a number."""
    return {name: version_of(package) for name, package in _VERSIONED.items()}


def weights_sha256(model: torch.nn.Module) -> str:
    """Sha256 over all parameters and buffers (name, type, shape, bytes), whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{data.dtype}|{tuple(data.shape)}|".encode())
        digest.update(data.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _without_paths(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {k: _without_paths(v) for k, v in sorted(node.items()) if k not in _PATH_KEYS}
    if isinstance(node, (list, tuple)):
        return [_without_paths(v) for v in node]
    return node if isinstance(node, (str, int, float, bool, type(None))) else str(node)


def config_sha256(cfg: Config) -> str:
    """Sha256 over the model and the test pipeline of a config, without paths and training settings.

    The source of modules that the config imports of its own goes in too: the same words then mean something else.
    """
    part = [_without_paths(cfg.model.to_dict()), _without_paths(cfg.test_dataloader.dataset.to_dict())]
    if "data_preprocessor" not in cfg.model and cfg.get("data_preprocessor"):  # mmpretrain keeps it beside the model
        part.append(_without_paths(cfg.data_preprocessor.to_dict()))
    if code := own_code(cfg):
        part.append({"code": code})
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def model_card(
    model: torch.nn.Module,
    config: str,
    checkpoint: Path | None = None,
    *,
    backbone: Mapping[str, Any] | None = None,
    scope: str = "",
) -> dict[str, Any]:
    """Fields of the protocol card about the model.

    Args:
        model: the model with its weights.
        config: sha256 of what it was built from, and of what is done to images in front of it.
        checkpoint: the file that the weights came from, if any.
        backbone: its config, where there is one.
        scope: the framework that reads it.
    """
    backbone = backbone or {}
    with ThreadPoolExecutor(1) as pool:  # hashing needs no interpreter lock
        file = pool.submit(file_sha256, checkpoint) if checkpoint else None
        weights = weights_sha256(model)
    return {
        "weights_sha256": weights,
        "config_sha256": config,
        "source": backbone.get("source"),
        "transfer": mode_of(model, backbone, scope),
        "freeze_map": freeze_map(model),
        "checkpoint_file": checkpoint.name if checkpoint else None,
        "checkpoint_sha256": file.result() if file else None,
    }


def how_trained(cfg: Config) -> dict[str, Any]:
    """What rtx's own settings in a config say of its training: fields of the protocol card and of a run's identity."""
    names = ("target", "hardening", "keeping", "interpolation")
    return {name: plain(cfg[f"rtx_{name}"]) for name in names if cfg.get(f"rtx_{name}")}


def data_card(dataset: Any, indices: Sequence[int], scorer: Scorer) -> dict[str, Any]:
    """Fields of the protocol card about the images.

    Args:
        dataset: the built test set.
        indices: the images that are evaluated; `limit` is None where they are all, however many were asked for.
        scorer: of the metric; it says what the ground truth is.
    """
    part = len(indices) < len(dataset)
    return {
        "image_key": "file_stem",
        "limit": len(indices) if part else None,
        **({"subset": RULE} if part else {}),
        "n_images": len(indices),
        "data_sha256": scorer.data_sha256(dataset.get_data_info(index) for index in indices),
        "images_sha256": images_sha256(dataset, indices),
    }


def size_card(card: Mapping[str, Any], dataset: Any, indices: Sequence[int]) -> dict[str, Any]:
    """What the card says where images are so large that elastic transform smooths its displacements another way.

    Nothing where no image is, so that the keys of usual data sets stay what they were before there was that way.

    Args:
        card: fields about the pixels.
        dataset: the built test set.
        indices: the images that are evaluated.
    """
    if card.get("corruption_at") != "original_resolution":
        return {}
    sizes = (original_size(dataset.get_data_info(index)) for index in indices)
    return {"elastic_smoothing": "sliding_waves"} if elastic_slides(card["corruption_engine"], sizes) else {}


def computing_card(model: torch.nn.Module, *, amp: bool, channels_last: bool) -> dict[str, Any]:
    """Fields of the protocol card about what computes, and how."""
    device = next(model.parameters()).device.type
    return {
        "batching": "one_padded_shape",
        "precision": precision(device, amp=amp, channels_last=channels_last, **_tf32(device)),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "versions": versions(),
        "rtx": rtx.__version__,
    }


def _tf32(device: str) -> dict[str, bool]:
    """Which kinds of operation use TF32: two switches, and no environment variable or program need set both."""
    if device != "cuda" or torch.cuda.get_device_capability() < (8, 0):
        return {}
    return {"tf32": torch.backends.cudnn.allow_tf32, "tf32_matmul": torch.backends.cuda.matmul.allow_tf32}


def precision(
    device: str, *, amp: bool = False, channels_last: bool = False, tf32: bool = False, tf32_matmul: bool = False
) -> str:
    """The precision of the forward pass, as the card names it.

    Args:
        device: `cpu` or `cuda`.
        amp: whether it is autocast.
        channels_last: whether the weights are in that memory format.
        tf32: whether convolutions use TF32.
        tf32_matmul: whether matrix products do.

    Example:
        >>> precision("cpu"), precision("cpu", amp=True), precision("cpu", channels_last=True)
        ('fp32', 'amp_bf16', 'fp32, channels_last')
        >>> precision("cuda", tf32=True), precision("cuda", tf32=True, amp=True)
        ('fp32, tf32 convolutions', 'amp_fp16')
        >>> precision("cuda", tf32_matmul=True), precision("cuda", tf32=True, tf32_matmul=True)
        ('fp32, tf32 matmul', 'fp32, tf32 convolutions and matmul')
    """
    name = ("amp_bf16" if device == "cpu" else "amp_fp16") if amp else "fp32"
    # 10 bits of mantissa, whatever the tensors hold; in convolutions that is PyTorch's default on recent GPUs.
    kinds = [kind for kind, used in (("convolutions", tf32), ("matmul", tf32_matmul)) if used and not amp]
    name = f"{name}, tf32 {' and '.join(kinds)}" if kinds else name
    return f"{name}, channels_last" if channels_last else name


def plain(node: Any) -> Any:
    """A config node as plain dicts and lists."""
    return node.to_dict() if hasattr(node, "to_dict") else node


def choose(dataset: Any, limit: int | None, seed: int) -> list[int]:
    """Which images are evaluated: all, or a seeded subset of `limit` in their usual order, stratified by class.

    Args:
        dataset: the built test set.
        limit: how many images; None, or at least as many as there are, for all.
        seed: decides between images that hold the same.
    """
    n_images = len(dataset)
    if limit is None or limit >= n_images:
        return list(range(n_images))
    paths = [image_path(dataset, n) for n in range(n_images)]
    return stratified([Path(path).stem for path in paths], held_classes(dataset), limit, seed)


MAPS_READ = 5000
"""Up to how many label maps are opened to see which classes they hold; it takes about 5 ms each."""


def held_classes(dataset: Any) -> list[set[int]]:
    """The classes in each image of a test set: of its objects, of the image itself, or of its label map.

    Label maps of larger sets are not opened: an empty set for each image then, as where nothing is known.
    """
    infos = [dataset.get_data_info(n) for n in range(len(dataset))]
    if any("instances" in info for info in infos):
        return [
            {int(row["bbox_label"]) for row in info.get("instances", []) if not row.get("ignore_flag")}
            for info in infos
        ]
    if any("gt_label" in info for info in infos):
        return [{int(label) for label in np.atleast_1d(info.get("gt_label", []))} for info in infos]
    if any(info.get("seg_map_path") for info in infos) and len(infos) <= MAPS_READ:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(_map_classes, [info.get("seg_map_path") for info in infos]))
    return [set() for _ in infos]


def _map_classes(path: str | None) -> set[int]:
    # As they stand in the file: an offset or the void label changes nothing about which images are alike.
    labels = cv2.imread(path, cv2.IMREAD_UNCHANGED) if path else None
    if labels is None or labels.ndim != 2 or labels.dtype != np.uint8:
        return set()
    return set(np.flatnonzero(np.bincount(labels.reshape(-1), minlength=256)).tolist()) - {255}
