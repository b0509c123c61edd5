"""Which architecture a state dict belongs to, from its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rtx.sources.keys.swin import SWIN_SHAPES

_BASIC_BLOCKS: dict[tuple[int, ...], str] = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}
_RESNET_BLOCKS: dict[tuple[int, ...], int] = {
    (2, 2, 2, 2): 18,
    (3, 4, 6, 3): 50,
    (3, 4, 23, 3): 101,
    (3, 8, 36, 3): 152,
}


def guess_arch(state: Mapping[str, Tensor]) -> str | None:
    """The most likely architecture (not always one that rtx can build), or None.

    Args:
        state: torchvision keys, the wrapping already taken off.
    """
    if "layer1.0.conv1.weight" in state:
        return _guess_resnet(state)
    if "features.denseblock1.denselayer1.conv1.weight" in state:
        layers = sum(key.startswith("features.denseblock") and key.endswith(".conv1.weight") for key in state)
        return f"densenet{2 * layers + 5}"  # two convolutions a layer, three transitions, the stem and the classifier
    if "layers.8.0.layers.0.weight" in state:
        return "mnasnet1_0"
    if "stage2.0.branch1.0.weight" in state:
        return "shufflenet_v2_x1_0"
    if "features.0.0.weight" in state and "features.18.0.weight" in state:
        return "mobilenet_v2"
    if "features.0.weight" in state and "features.41.running_mean" in state:
        return "vgg16_bn"
    if "layers.0.blocks.0.attn.relative_position_bias_table" in state and "patch_embed.proj.weight" in state:
        return _guess_swin(state)
    return None


def _shape(state: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    return tuple(state[key].shape) if key in state else ()


def _guess_resnet(state: Mapping[str, Tensor]) -> str:
    blocks = tuple(
        len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")}) for stage in range(1, 5)
    )
    if "layer1.0.conv3.weight" not in state:
        return _BASIC_BLOCKS.get(blocks, f"ResNet with blocks {blocks}")
    depth = _RESNET_BLOCKS.get(blocks)
    if depth is None:
        return f"ResNet with blocks {blocks}"
    if "conv1.weight" not in state:
        return f"resnet{depth} with a deep stem (ResNetV1c)"
    shape = _shape(state, "layer1.0.conv2.weight")
    width, per_group = (shape[0], shape[1]) if len(shape) == 4 else (0, 0)
    if per_group != width:
        groups = width // per_group if per_group else 0
        return f"resnext{depth}_{groups}x{per_group}d"
    names = {64: f"resnet{depth}", 128: f"wide_resnet{depth}_2", 256: f"wide_resnet{depth}_4"}
    return names.get(width, f"ResNet-{depth} of width {width}")


def _guess_swin(state: Mapping[str, Tensor]) -> str:
    width = _shape(state, "patch_embed.proj.weight")[0]
    depth = len({key.split(".")[3] for key in state if key.startswith("layers.2.blocks.")})
    window = (round(_shape(state, "layers.0.blocks.0.attn.relative_position_bias_table")[0] ** 0.5) + 1) // 2
    for name, shape in SWIN_SHAPES.items():
        if (shape.width, shape.depths[2], shape.window) == (width, depth, window):
            return name
    return f"Swin of width {width}, {depth} blocks in stage 3, window {window}"
