"""Weights files with made-up values in the published containers and key layouts.

The values are those of a randomly initialised network (or a given one): nothing here was trained, and a number measured
with them says nothing about robustness.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtx.errors import WeightsError, unknown_name
from rtx.sources.catalog.archs import full_shapes
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD, Source
from rtx.sources.keys.openmmlab import to_detectron2
from rtx.sources.keys.swin import SWIN_SHAPES, to_openmmlab, to_torchvision

State = Mapping[str, Tensor]


def make_weights(path: Path, arch: str, layout: str, *, seed: int = 0, legacy: bool = False) -> dict[str, Tensor]:
    """Write a full-size file of random weights in one of the published layouts.

    Args:
        path: the file to write; its folder is made.
        arch: key of `rtx.sources.catalog.archs.ARCHS`.
        layout: key of `WRITERS`.
        seed: of the weights.
        legacy: use torch's file format from before version 1.6.

    Returns:
        The weights with torchvision keys, classifier included.

    Raises:
        UnknownName: no such layout or architecture.
    """
    state = random_state(arch, seed)
    write_weights(path, state, layout, arch=arch, legacy=legacy)
    return state


def make_source(folder: Path, source: Source, *, seed: int = 0, small: bool = False) -> Path:
    """Write random weights under the file name and in the layout of a catalogued source; the path.

    Legacy containers are kept. A source whose hash is published will refuse the file, as it should.

    Args:
        folder: where the file goes.
        source: the catalogue's record.
        seed: of the weights.
        small: an eighth of all channels: every key of the publication, a hundredth of the bytes, other shapes.

    Raises:
        WeightsError: a file of that name is already there.
    """
    path = folder / source.filename
    if path.exists():
        raise WeightsError(f"{path} is already there; remove it first, it may be the real one")
    state = random_state(source.arch, seed, small=small)
    write_weights(path, state, source.layout, arch=source.arch, legacy="madry" in source.recipe)
    return path


def small_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with an eighth of the channels; short sides (kernels, colours, single groups) stay."""
    return tuple(n // 8 if n >= 16 else n for n in shape)


def random_state(arch: str, seed: int, *, small: bool = False) -> dict[str, Tensor]:
    """A random state dict of the whole classifier; norm statistics and affine terms are not the trivial ones."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in full_shapes(arch).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(100)
            continue
        value = torch.empty(small_shape(shape) if small else shape)
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=draw)
        elif value.ndim >= 2:
            # Kaiming's factor 2 would let residual sums explode, since the made-up statistics do not normalise them.
            value.normal_(0, max(1, value[0].numel()) ** -0.5, generator=draw)
        else:
            value.normal_(float(key.endswith("weight")), 0.1, generator=draw)
        state[key] = value
    return state


def write_weights(path: Path, state: State, layout: str, *, arch: str, legacy: bool = False) -> None:
    """Write a torchvision-keyed state dict in a published layout; see `make_weights`."""
    if layout not in WRITERS:
        raise unknown_name("layout", layout, place="tests/sources/made_up.py", choices=WRITERS)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(WRITERS[layout](state, arch), path, _use_new_zipfile_serialization=not legacy)


_FIRST_PORTS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}


def to_first_ports(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From timm's EfficientNet to the names of the first PyTorch ports, written down as their code has them."""
    blocks = [key.removesuffix(".conv_dw.weight") for key in state if key.endswith(".conv_dw.weight")]
    numbers, found = {block: i for i, block in enumerate(blocks)}, {}
    for key, value in state.items():
        parts = key.split(".")
        block = ".".join(parts[:3])
        if block in numbers:
            first = f"{block}.conv_pwl.weight" not in state
            order, names = "conv_dw bn1 conv_pw bn2".split(), "_depthwise_conv _bn1 _project_conv _bn2".split()
            if not first:
                order, names = "conv_pw bn1 conv_dw bn2 conv_pwl bn3".split(), ["_expand_conv", "_bn0", *names]
            new = f"_blocks.{numbers[block]}.{names[order.index(parts[3])]}.{parts[4]}"
        else:
            new = f"{_FIRST_PORTS[parts[0]]}.{parts[1]}"
        found[new] = value
    return found


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From original names to timm's since version 0.9."""
    renamed = {}
    for key, value in state.items():
        new = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", key)
        renamed[re.sub(r"^head\.(weight|bias)$", r"head.fc.\1", new)] = value
    return renamed


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file."""
    data = path.read_bytes()
    found: dict[str, str] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return found


def _statistics(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.tensor(IMAGENET_MEAN).reshape(shape), torch.tensor(IMAGENET_STD).reshape(shape)


def _robustness(inner: str) -> Callable[[State, str], dict[str, Any]]:
    def write(state: State, arch: str) -> dict[str, Any]:
        mean, std = _statistics((3, 1, 1))
        model: dict[str, Tensor] = {"module.normalizer.new_mean": mean, "module.normalizer.new_std": std}
        # Both copies share their storage in the published files, so the size is that of one.
        model |= {f"module.model.{inner}{key}": value for key, value in state.items()}
        model |= {"module.attacker.normalize.new_mean": mean, "module.attacker.normalize.new_std": std}
        model |= {f"module.attacker.model.{inner}{key}": value for key, value in state.items()}
        momentum = {"state": {0: {"momentum_buffer": torch.zeros(4)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        return {"model": model, "optimizer": momentum, "schedule": None, "epoch": 90, "amp": None, "nat_prec1": 1.0}

    return write


def _lightning(state: State, arch: str) -> dict[str, Any]:
    mean, std = _statistics((1, 3, 1, 1))
    model = {f"model.model.{key}": value for key, value in state.items()}
    model |= {"model.aug.preprocess.mean": mean, "model.aug.preprocess.std": std}
    return {"epoch": 100, "global_step": 1, "pytorch-lightning_version": "1.4.9", "state_dict": model}


def _mmengine(state: State, arch: str) -> dict[str, Any]:
    kept = {f"backbone.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    return {"meta": {"epoch": 1}, "state_dict": kept | {"neck.fpn_convs.0.conv.weight": torch.zeros(1)}}


def _prefixed(container: str, prefix: str, **beside: Any) -> Callable[[State, str], dict[str, Any]]:
    def write(state: State, arch: str) -> dict[str, Any]:
        inner = {prefix + key: value for key, value in state.items()}
        return {**beside, "arch": arch, container: inner} if container else inner

    return write


def _swin(change: Callable[[State], dict[str, Tensor]]) -> Callable[[State, str], dict[str, Any]]:
    def write(state: State, arch: str) -> dict[str, Any]:
        # The original files carry these buffers; their values follow from the window.
        window = SWIN_SHAPES[arch].window if arch in SWIN_SHAPES else 2
        index = torch.zeros(window**2, window**2, dtype=torch.int64)
        return {"model": change({**state, "layers.0.blocks.0.attn.relative_position_index": index})}

    return write


WRITERS: Mapping[str, Callable[[State, str], dict[str, Any]]] = {
    "robustness": _robustness(""),
    "robustness_wrapped": _robustness("model."),
    "torchvision": _prefixed("", ""),
    "ddp": _prefixed("state_dict", "module.", epoch=60, best_prec1=0.0),
    "lightning": _lightning,
    "mmengine": _mmengine,
    "resnet_wrapped": _prefixed("model_state_dict", "resnet.", epoch=1, optimizer_state_dict={}),
    "wrapped": _prefixed("state_dict", "model."),
    "detectron2": lambda state, arch: {"model": to_detectron2(state), "matching_heuristics": True},
    "efficientnet": lambda state, arch: to_first_ports(state),
    "swin": _swin(dict),
    "swin_timm": _swin(to_timm),
    "swin_openmmlab": _swin(to_openmmlab),
    "swin_torchvision": lambda state, arch: to_torchvision(state),
}
