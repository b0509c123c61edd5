"""Swin's key names (the original repository's, timm's newer ones, OpenMMLab's) and the shapes of each architecture."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SwinShape:
    """Width, depths, heads and window of one Swin."""

    width: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int


SWIN_SHAPES: Mapping[str, SwinShape] = {
    "swin_t": SwinShape(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "swin_s": SwinShape(96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "swin_b": SwinShape(128, (2, 2, 18, 2), (4, 8, 16, 32), 7),
    "swin_b_w12": SwinShape(128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
}
# Buffers that follow from the window and the image size; they hold nothing learned.
_DERIVED = re.compile(r"\.(relative_position_index|attn_mask)$")


def swin_shapes(arch: str, classes: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes in the original names, classifier and final norm included."""
    shape = SWIN_SHAPES[arch]
    shapes: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (shape.width, 3, 4, 4)}

    def pair(name: str, width: int, *inputs: int) -> None:
        shapes.update({f"{name}.weight": (width, *inputs), f"{name}.bias": (width,)})

    shapes["patch_embed.proj.bias"] = (shape.width,)
    pair("patch_embed.norm", shape.width)
    for i, depth in enumerate(shape.depths):
        c = shape.width * 2**i
        for j in range(depth):
            block = f"layers.{i}.blocks.{j}."
            pair(block + "norm1", c)
            shapes[block + "attn.relative_position_bias_table"] = ((2 * shape.window - 1) ** 2, shape.heads[i])
            pair(block + "attn.qkv", 3 * c, c)
            pair(block + "attn.proj", c, c)
            pair(block + "norm2", c)
            pair(block + "mlp.fc1", 4 * c, c)
            pair(block + "mlp.fc2", c, 4 * c)
        if i < 3:
            shapes[f"layers.{i}.downsample.reduction.weight"] = (2 * c, 4 * c)
            pair(f"layers.{i}.downsample.norm", 4 * c)
    pair("norm", 8 * shape.width)
    pair("head", classes, 8 * shape.width)
    return shapes


def dialect_of(state: Mapping[str, Tensor]) -> str | None:
    """Whose names a state dict uses: "swin" (original), "swin_timm", "swin_openmmlab", "swin_torchvision", or None."""
    if "features.1.0.attn.relative_position_bias_table" in state:
        return "swin_torchvision"
    if "stages.0.blocks.0.attn.w_msa.qkv.weight" in state:
        return "swin_openmmlab"
    if "layers.0.blocks.0.attn.relative_position_bias_table" not in state:
        return None
    return "swin" if "layers.0.downsample.reduction.weight" in state else "swin_timm"


def to_original(state: Mapping[str, Tensor], dialect: str) -> tuple[dict[str, Tensor], list[str]]:
    """Original names for any dialect, and the derived buffers that were left out."""
    derived = [key for key in state if _DERIVED.search(key)]
    kept = {key: value for key, value in state.items() if key not in derived}
    if dialect == "swin_timm":
        at, before = re.compile(r"^layers\.(\d)\.downsample"), lambda m: f"layers.{int(m[1]) - 1}.downsample"
        kept = {at.sub(before, key).replace("head.fc.", "head."): value for key, value in kept.items()}
    elif dialect != "swin":
        rename = _to_openmmlab if dialect == "swin_openmmlab" else _to_torchvision
        back = {rename(key): key for key in swin_shapes("swin_b", 1)}  # it has every key of the others
        kept = {back.get(key, key): value for key, value in kept.items()}
    if dialect == "swin_openmmlab":
        kept = {key: _merging_order(key, value, inverse=True) for key, value in kept.items()}
    # mmpretrain keeps the final norm as the output norm of the last stage.
    if "norm.weight" not in kept and "norm3.weight" in kept:
        for name in ("weight", "bias"):
            kept[f"norm.{name}"] = kept.pop(f"norm3.{name}")
    return kept, derived


def to_openmmlab(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From original names to those of mmdet's, mmseg's and mmpretrain's SwinTransformer; the head keeps its name."""
    return {_to_openmmlab(key): _merging_order(key, value, inverse=False) for key, value in state.items()}


def to_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From original names to those of torchvision's SwinTransformer, with the index buffers that it expects."""
    return {_to_torchvision(key): value for key, value in with_indices(state, flat=True).items()}


def with_indices(state: Mapping[str, Tensor], *, flat: bool = False) -> dict[str, Tensor]:
    """Original names with each block's `relative_position_index`, which stock networks keep as a buffer.

    Args:
        state: original names.
        flat: one axis of window^4 entries (torchvision) instead of two of window^2 (all others).
    """
    full: dict[str, Tensor] = {}
    for key, value in state.items():
        full[key] = value
        if key.endswith(".relative_position_bias_table"):
            index = position_index((round(value.shape[0] ** 0.5) + 1) // 2)
            full[key.replace("bias_table", "index")] = index.flatten() if flat else index
    return full


def position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of positions in a window, (window^2, window^2)."""
    places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    apart = places[:, None] - places[None, :] + window - 1
    return apart[..., 0] * (2 * window - 1) + apart[..., 1]


_RENAMES = (("attn.", "attn.w_msa."), ("mlp.fc1.", "ffn.layers.0.0."), ("mlp.fc2.", "ffn.layers.1."))


def _to_openmmlab(key: str) -> str:
    if key.startswith("patch_embed.proj."):
        return key.replace("proj", "projection", 1)
    if not key.startswith("layers."):
        return key
    for ours, theirs in _RENAMES:
        key = key.replace(ours, theirs, 1)
    return key.replace("layers.", "stages.", 1)


def _to_torchvision(key: str) -> str:
    key = key.replace("patch_embed.proj.", "features.0.0.").replace("patch_embed.norm.", "features.0.2.")
    key = re.sub(r"^layers\.(\d)\.blocks", lambda m: f"features.{2 * int(m[1]) + 1}", key)
    key = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"features.{2 * int(m[1]) + 2}", key)
    return key.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")


def _merging_order(key: str, value: Tensor, *, inverse: bool) -> Tensor:
    """OpenMMLab merges patches by nn.Unfold: channel-major and row-first instead of patch-major and column-first."""
    if ".downsample." not in key:
        return value
    swap: Callable[[Tensor], Tensor] = lambda x: x[:, [0, 2, 1, 3]]  # noqa: E731  # its own inverse
    flat = value.reshape(-1, value.shape[-1])
    rows, inputs = flat.shape
    if inverse:
        new = swap(flat.reshape(rows, inputs // 4, 4).transpose(1, 2)).reshape(rows, inputs)
    else:
        new = swap(flat.reshape(rows, 4, inputs // 4)).transpose(1, 2).reshape(rows, inputs)
    return new.reshape(value.shape)
