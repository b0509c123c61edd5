"""How a model of timm becomes four maps and a list of parts, found out without allocating it.

Channels and strides are those of timm's `feature_info`, the blocks those of its `group_matcher`; which part belongs to
which stage is seen from a forward and backward pass on PyTorch's meta device, which computes shapes only.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from rtx.backbones.freezing import N_STAGES, Part, norm_layers
from rtx.errors import BadValue
from rtx.sources.catalog.timm_models import build_timm

STRIDES = (4, 8, 16, 32)
NOT_REACHED = N_STAGES + 1
"""The stage of a part that no output needs: it counts as unused, however many outputs are asked for."""
_SIZE = (224, 224)
_REFUSED = (RuntimeError, AssertionError, ValueError, IndexError, TypeError)
_ODD = (137, 309)  # 5 and 10 times 32 when padded: odd and even maps at the coarsest stride
# For the few families without a grouping of their own.
_GROUPS = {
    "stem": r"^stem",
    "blocks": [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)],
}
_BETWEEN = re.compile("downsample|transition|patch|merg|pool|norm|head|final|neck|embed")


@dataclass(frozen=True)
class Stages:
    """What is taken from a model.

    Attributes:
        indices: the features that are taken, in timm's count: four maps, or the last one of a network with one stride.
        channels: of the four maps; of the one map.
        stride: of the one map, after the image is scaled by `scale`; 0 for four maps.
        scale: of the image before the patches; not 1 where these are no power of two.
        final_channels: of the map that the published classifier pools.
        parts: without prefix, in network order.
        final_parts: the same where that map is the last output.
        divisor: the image is padded to a multiple of it.
        final_divisor: the same where the last output of `final_parts` is the only one: what the network itself needs.
        early: batch norm and four maps, as a ResNet.
    """

    indices: tuple[int, ...]
    channels: tuple[int, ...]
    stride: int
    scale: float
    final_channels: int
    parts: tuple[Part, ...]
    final_parts: tuple[Part, ...]
    divisor: int
    final_divisor: int
    early: bool

    @property
    def single(self) -> bool:
        """Whether there is one map only, as in a plain ViT."""
        return self.stride > 0


def features(net: nn.Module, x: Tensor, indices: tuple[int, ...], **options: Any) -> list[Tensor]:
    """Maps (N, C, H, W) by timm's own feature extraction."""
    run: Any = net.forward_intermediates
    maps: list[Tensor] = run(
        x, indices=list(indices), output_fmt="NCHW", intermediates_only=True, stop_early=True, **options
    )
    return maps


def last_map(net: nn.Module, x: Tensor, index: int) -> Tensor:
    """The last map of a network with one stride, behind the final norm where timm knows of one."""
    run: Any = net.forward_intermediates
    known = inspect.signature(run).parameters
    return features(net, x, (index,), **({"norm": True} if "norm" in known else {}))[0]


def final_map(net: nn.Module, x: Tensor) -> Tensor:
    """What the published classifier pools, as (N, C, H, W)."""
    run: Any = net.forward_features
    y: Tensor = run(x)
    if y.ndim == 4 and getattr(net, "output_fmt", "NCHW") == "NHWC":
        y = y.permute(0, 3, 1, 2).contiguous()
    return y


@lru_cache(maxsize=32)
@torch.enable_grad()
def layout_of(name: str) -> Stages:
    """The layout of a model.

    Args:
        name: as timm writes it.

    Raises:
        UnknownName: timm has no such model.
        BadValue: it has no feature maps, none at strides 4, 8, 16 and 32, or takes one image size only.
    """
    with torch.device("meta"):
        net = build_timm(name).eval()
    info = getattr(net, "feature_info", None)
    if info is None or not hasattr(net, "forward_intermediates"):
        raise BadValue(f"timm's {name} has no feature maps (no forward_intermediates); take another model")
    rows = list(getattr(info, "info", info))
    strides = [int(row["reduction"]) for row in rows]
    at = {stride: index for index, stride in enumerate(strides)}  # the last of each
    if set(STRIDES) <= set(at):
        indices, stride, scale = tuple(at[s] for s in STRIDES), 0, 1.0
    elif len(set(strides)) == 1:
        indices = (len(rows) - 1,)
        stride = min(max(2 ** round(math.log2(strides[0])), 4), 32)
        scale = strides[0] / stride
    else:
        raise BadValue(
            f"timm's {name} has maps at strides {', '.join(map(str, sorted(set(strides))))}; needed are 4, 8, 16 and "
            "32, or one stride throughout; take another model"
        )

    def run(image: Tensor) -> list[Tensor]:
        return [last_map(net, image, indices[0])] if stride else features(net, image, indices)

    divisor = _divisor(name, run, (stride,) if stride else STRIDES, scale)
    final_divisor = strides[0] if stride else _least(net)
    net.train()  # some keep a product of their weights while they do not train
    image = torch.zeros(2, 3, *(round(side * scale) for side in _SIZE), device="meta")
    maps = run(image)
    pooled = maps[-1] if stride else final_map(net, image)
    needed = _needed(net, [*maps, pooled] if not stride else maps)
    parts = tuple(_parts(net, needed[: len(maps)]))
    return Stages(
        indices=indices,
        channels=tuple(int(m.shape[1]) for m in maps),
        stride=stride,
        scale=scale,
        final_channels=int(pooled.shape[1]),
        parts=parts,
        final_parts=parts if stride else tuple(_parts(net, [*needed[:-2], needed[-2] | needed[-1]])),
        divisor=divisor,
        final_divisor=final_divisor,
        early=not stride and any(True for _ in norm_layers(net)),
    )


def _divisor(name: str, run: Callable[[Tensor], list[Tensor]], strides: tuple[int, ...], scale: float) -> int:
    """1 where four maps of an odd size have the sizes that a ResNet's have, else 32."""

    def fits(size: tuple[int, int]) -> bool:
        with torch.no_grad():
            maps = run(torch.zeros(1, 3, *(round(side * scale) for side in size), device="meta"))
        return [tuple(m.shape[2:]) for m in maps] == [tuple(-(-side // s) for side in size) for s in strides]

    problem: object = "maps of another size than promised"
    for divisor in (1, 32) if len(strides) > 1 else (32,):
        height, width = (-(-side // divisor) * divisor for side in _ODD)
        try:
            if fits((height, width)):
                return divisor
        except _REFUSED as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise BadValue(
        f"timm's {name} does not take images of any size, which detection and segmentation need ({problem}); "
        "take another model"
    )


def _least(net: nn.Module) -> int:
    """The least multiple of which a network of several strides takes images."""
    for divisor in (1, *STRIDES):
        size = [-(-side // divisor) * divisor for side in _ODD]
        try:
            with torch.no_grad():
                final_map(net, torch.zeros(1, 3, *size, device="meta"))
        except _REFUSED:
            continue
        return divisor
    return STRIDES[-1]


def _needed(net: nn.Module, maps: list[Tensor]) -> list[set[str]]:
    """For each map the names of the parameters that it depends on, by a backward pass without numbers."""
    names, weights = zip(*((name, p) for name, p in net.named_parameters() if p.requires_grad), strict=True)
    found = []
    for one in maps:
        gradients = torch.autograd.grad(one.sum(), weights, retain_graph=True, allow_unused=True)
        found.append({name for name, gradient in zip(names, gradients, strict=True) if gradient is not None})
    return found


def _parts(net: nn.Module, needed: list[set[str]]) -> list[Part]:
    """The parts of timm's groups in network order.

    Args:
        net: the model.
        needed: see `_needed`.
    """
    groups = _grouping(net)
    stages = {key: next((i for i, keys in enumerate(needed, 1) if key in keys), NOT_REACHED) for key in groups}
    marks = {key: (group, stages[key] == NOT_REACHED) for key, group in groups.items()}
    found: list[tuple[int, int, str]] = []  # stage, group, name
    for name in _pieces(net, marks):
        keys = [key for key in groups if key == name or key.startswith(f"{name}.")]
        group, stage = groups[keys[0]], min(stages[key] for key in keys)
        found.append((0 if group == 0 and stage == 1 else stage, group, name))
    found.sort(key=lambda row: row[:2])
    first: dict[int, str] = {}
    for stage, group, name in found:
        if 0 < stage < NOT_REACHED and group and _is_block(name):
            first.setdefault(group, name)
    blocks = set(first.values())
    spread = {}
    if len({stage for stage, _, name in found if name in blocks}) == 1:
        spread = _quarters([name for stage, _, name in found if 0 < stage < NOT_REACHED], blocks)
    return [Part(name, spread.get(name, stage), name in blocks) for stage, _, name in found]


def _quarters(names: list[str], blocks: set[str]) -> dict[str, int]:
    """Quarters of the blocks as stages, where one map, or the first of four, needs them all."""
    stages, seen = {}, 0
    for name in names:
        stages[name] = 1 + N_STAGES * min(seen, len(blocks) - 1) // len(blocks)
        seen += name in blocks
    return stages


def _grouping(net: nn.Module) -> dict[str, int]:
    from timm.models import group_parameters

    matcher = getattr(net, "group_matcher", None)
    groups: Mapping[str, int] = group_parameters(net, matcher(coarse=False) if matcher else _GROUPS, reverse=True)
    return dict(groups)


def _pieces(net: nn.Module, marks: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The largest modules whose parameters have one mark, and the parameters that lie between them."""
    for name, _ in net.named_parameters(recurse=False):
        yield prefix + name
    for name, child in net.named_children():
        path = f"{prefix}{name}."
        inside = {mark for key, mark in marks.items() if key.startswith(path)}
        if len(inside) == 1:
            yield path[:-1]
        elif inside:
            yield from _pieces(child, marks, path)


def _is_block(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last[-1].isdigit() and not _BETWEEN.search(last)
