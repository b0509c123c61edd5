"""A weights file in another framework's form, strictly checked on the way and with its origin written into it."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtx import __version__
from rtx.errors import BadValue, WeightsMismatch, unknown_name
from rtx.files import file_sha256
from rtx.sources.catalog.archs import ARCHS, reference_shapes
from rtx.sources.catalog.record import Pixels
from rtx.sources.catalog.rows import CATALOG
from rtx.sources.keys import swin as swin_keys
from rtx.sources.keys.guess import guess_arch
from rtx.sources.keys.layouts import recognise
from rtx.sources.keys.openmmlab import OPTIONS, stock_backbone, to_detectron2, to_openmmlab
from rtx.sources.load import fit
from rtx.sources.reading.read import read_content
from rtx.sources.reading.safetensors_file import write_safetensors

TARGETS = ("mmdet", "mmseg", "mmpretrain", "torchvision", "detectron2")
SUFFIXES = {".pth": "PyTorch", ".safetensors": "safetensors", ".pkl": "pickle, detectron2 only"}


def convert(path: Path, target: str, out: Path, *, arch: str | None = None) -> dict[str, Any]:
    """Write a file's backbone (and, for torchvision, its classifier) in the form of a framework.

    mmdet, mmseg and mmpretrain get keys under `backbone.`: those of their own network, for
    `init_cfg=dict(type="Pretrained", checkpoint=..., prefix="backbone.")`, or, where they have none of this kind, those
    of rtx's backbone. detectron2 gets its pickle with `matching_heuristics`. All other files are `.pth` or
    `.safetensors`, with the same metadata.

    Args:
        path: any file that rtx can read.
        target: one of `TARGETS`.
        out: the file to write; its suffix decides the container.
        arch: the architecture, where the keys do not show it.

    Returns:
        The metadata written: origin, sha256, architecture, layout, pixel statistics.

    Raises:
        UnknownName: no such target or architecture.
        BadValue: a suffix that does not go with the target, or a framework that has no such network.
        WeightsError: the file cannot be used; see `rtx.sources.load`.
    """
    if target not in TARGETS:
        raise unknown_name("target", target, place="rtx/sources/convert.py", choices=TARGETS)
    if out.suffix not in SUFFIXES or (out.suffix == ".pkl") != (target == "detectron2"):
        fitting = ".pkl" if target == "detectron2" else ".pth or .safetensors"
        raise BadValue(f"output {str(out)!r}: for {target} the name must end in {fitting}")
    if out.resolve() == path.resolve():
        raise BadValue(f"output {str(out)!r} is the input; give another name")
    content = read_content(path)
    found = recognise(content.value, str(path))
    name = arch or guess_arch(found.state)
    if name is None or name not in ARCHS:
        raise WeightsMismatch(f"{path}: {name or 'an architecture that rtx cannot tell'}; known are {', '.join(ARCHS)}")
    if target == "detectron2" and ARCHS[name].family != "resnet":
        raise BadValue(f"detectron2 has no {name}, only ResNets; use rtx's backbone in mmdet or mmseg")
    backbone, _, _ = fit(found, name, reference_shapes(name), (), str(path))
    head = {key: value for key, value in found.state.items() if key.startswith(ARCHS[name].classifier)}
    pixels = ARCHS[name].pixels or Pixels()
    meta = {
        "arch": name,
        "target": target,
        "origin": path.name,
        "origin_sha256": file_sha256(path),
        "origin_layout": found.layout.name,
        "sources": [source.name for source in CATALOG.values() if source.filename == path.name],
        "mean": list(found.normaliser[0] if found.normaliser else pixels.mean),
        "std": list(found.normaliser[1] if found.normaliser else pixels.std),
        "channel_order": "rgb",
        "style": "pytorch",
        "backbone": stock_backbone(name, target) or "rtx",
        "rtx": __version__,
    }
    _write(out, renamed(backbone, head, target, name), meta, target)
    return meta


def hint(target: str, arch: str, out: Path) -> str:
    """How to use a converted file."""
    if target == "detectron2":
        network = ", ".join(f"MODEL.RESNETS.{name} {value}" for name, value in OPTIONS[arch].items())
        return (
            f"MODEL.WEIGHTS {out}, INPUT.FORMAT RGB, {network}, MODEL.RESNETS.STRIDE_IN_1X1 False, "
            "MODEL.PIXEL_MEAN [123.675, 116.28, 103.53], MODEL.PIXEL_STD [58.395, 57.12, 57.375]"
        )
    if target == "torchvision":
        read = f"torch.load({str(out)!r}, weights_only=True)['state_dict']"
        if out.suffix == ".safetensors":
            read = f"safetensors.torch.load_file({str(out)!r})"
        return f"{_TORCHVISION.get(arch, f'torchvision.models.{arch}()')}.load_state_dict({read})"
    if stock_backbone(arch, target) is None or out.suffix == ".safetensors":
        # OpenMMLab's own loader reads no safetensors.
        return f"--source {arch}:{out} with any config of rtx: the backbone is rtx's own"
    return (
        f"backbone=dict({stock_backbone(arch, target)}, init_cfg=dict(type='Pretrained', checkpoint={str(out)!r}, "
        "prefix='backbone.')), pixels RGB with mean [123.675, 116.28, 103.53] and std [58.395, 57.12, 57.375]"
    )


_TORCHVISION = {
    "wide_resnet50_4": (
        "torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [3, 4, 6, 3], width_per_group=256)"
    ),
    "swin_b_w12": ("torchvision.models.SwinTransformer([4, 4], 128, [2, 2, 18, 2], [4, 8, 16, 32], [12, 12])"),
}


def renamed(backbone: dict[str, Tensor], head: dict[str, Tensor], target: str, arch: str) -> dict[str, Tensor]:
    """The target's keys for a backbone's weights; of the classifier's only what the target keeps."""
    swin = ARCHS[arch].family == "swin"
    if target == "torchvision":
        return swin_keys.to_torchvision({**backbone, **head}) if swin else {**backbone, **head}
    if target == "detectron2":
        return to_detectron2(backbone)
    if swin:
        names = swin_keys.to_openmmlab(swin_keys.with_indices(backbone))
    elif stock_backbone(arch, target) is None:
        names = backbone
    else:
        names = to_openmmlab(backbone, arch, target)
    if target == "mmpretrain" and "norm.weight" in head:
        # mmpretrain's Swin norms its last output with the published final norm.
        names |= {f"norm3.{part}": head[f"norm.{part}"] for part in ("weight", "bias")}
    return {f"backbone.{key}": value for key, value in names.items()}


def _write(out: Path, state: dict[str, Tensor], meta: dict[str, Any], target: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.clone() for key, value in state.items()}  # views would drag their whole storage along
    if target == "detectron2":
        arrays = {key: value.numpy() for key, value in state.items()}
        data = {"model": arrays, "__author__": "rtx", "matching_heuristics": True, "meta": meta}
        out.write_bytes(pickle.dumps(data, protocol=2))
    elif out.suffix == ".safetensors":
        write_safetensors(out, state, {k: v if isinstance(v, str) else json.dumps(v) for k, v in meta.items()})
    else:
        ordered = OrderedDict(state)
        if target == "torchvision" and meta["arch"].startswith("mnasnet"):
            # torchvision's MNASNet refuses a state dict that does not say of which version of the network it is.
            ordered._metadata = OrderedDict({"": {"version": 2}})  # type: ignore[attr-defined]
        torch.save({"meta": meta, "state_dict": ordered}, out)
