"""EfficientNet's key names in the first PyTorch ports (Luke Melas-Kyriazi's, ML Illustrated's), and timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_STEM = "_conv_stem.weight"
_BLOCK = re.compile(r"^_blocks\.(\d+)\.(.*)$")
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# A block without expansion begins with the depthwise convolution, and timm numbers norms and names the last convolution
# by their place.
_EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}


def is_efficientnet(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has these names."""
    return _STEM in state and "_blocks.0._depthwise_conv.weight" in state


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of timm, where blocks are counted within stages; each of the seven stages has a width of its own."""
    places, stage, place, before = {}, -1, 0, -1
    for index in sorted({int(match[1]) for key in state if (match := _BLOCK.match(key))}):
        width = int(state[f"_blocks.{index}._project_conv.weight"].shape[0])
        stage, place = (stage, place + 1) if width == before else (stage + 1, 0)
        places[index], before = f"blocks.{stage}.{place}", width
    return {_renamed(key, state, places): value for key, value in state.items()}


def _renamed(key: str, state: Mapping[str, Tensor], places: Mapping[int, str]) -> str:
    match = _BLOCK.match(key)
    if match is None:
        module, dot, rest = key.partition(".")
        return _OUTSIDE.get(module, module) + dot + rest
    index = int(match[1])
    module, dot, rest = match[2].partition(".")
    names = _EXPANDED if f"_blocks.{index}._expand_conv.weight" in state else _PLAIN
    module = {**names, **_SQUEEZE}.get(module, module)
    return f"{places[index]}.{module}{dot}{rest}"
