"""ResNet key names of detectron2, and the options that build each network there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

OPTIONS: Mapping[str, Mapping[str, int]] = {
    "resnet18": {"DEPTH": 18, "RES2_OUT_CHANNELS": 64},
    "resnet34": {"DEPTH": 34, "RES2_OUT_CHANNELS": 64},
    "resnet50": {"DEPTH": 50},
    "resnet101": {"DEPTH": 101},
    "wide_resnet50_2": {"DEPTH": 50, "WIDTH_PER_GROUP": 128},
    "wide_resnet50_4": {"DEPTH": 50, "WIDTH_PER_GROUP": 256},
    "resnext50_32x4d": {"DEPTH": 50, "NUM_GROUPS": 32, "WIDTH_PER_GROUP": 4},
    "resnext101_32x8d": {"DEPTH": 101, "NUM_GROUPS": 32, "WIDTH_PER_GROUP": 8},
}
"""Architecture -> what differs under MODEL.RESNETS from its defaults (NUM_GROUPS 1, WIDTH_PER_GROUP 64,
RES2_OUT_CHANNELS 256). With other values its loader skips the weights that do not fit, and only warns."""


def to_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From torchvision's names; batch counters, which detectron2 has no place for, are left out."""
    return {_to(key): value for key, value in state.items() if not key.endswith(".num_batches_tracked")}


def from_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_detectron2`."""
    return {_from(key): value for key, value in state.items()}


def is_detectron2(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict uses these names."""
    return "stem.conv1.weight" in state and "res2.0.conv1.weight" in state


def _to(key: str) -> str:
    if key.startswith("layer"):
        key = re.sub(r"^layer(\d)", lambda m: f"res{int(m[1]) + 1}", key)
        key = key.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        return re.sub(r"\.bn(\d)\.", r".conv\1.norm.", key)
    if key.startswith(("conv1.", "bn1.")):
        return "stem." + key.replace("bn1.", "conv1.norm.", 1)
    return key


def _from(key: str) -> str:
    if key.startswith("res"):
        key = re.sub(r"^res(\d)", lambda m: f"layer{int(m[1]) - 1}", key)
        key = key.replace("shortcut.norm.", "downsample.1.").replace("shortcut.", "downsample.0.")
        return re.sub(r"\.conv(\d)\.norm\.", r".bn\1.", key)
    if key.startswith("stem."):
        return key.removeprefix("stem.").replace("conv1.norm.", "bn1.", 1)
    return key
