"""ConvNeXts and ViTs with a convolutional stem (Singh et al., NeurIPS 2023, arXiv:2303.01870) as models of timm.

timm itself has none. `make_known`, which `import_timm` calls, registers them with it under the names of `MODELS`, so
that they are sources like all others: `timm:convnext_tiny_cvst`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD


class ConvStem(nn.Module):
    """3x3 convolutions with layer norm and GELU in place of the patches, (N, 3, H, W) to (N, C, H/s, W/s).

    Args:
        widths: of the convolutions.
        strides: of the convolutions.
        width: of a last 1x1 convolution; None for none.
    """

    def __init__(self, widths: Sequence[int], strides: Sequence[int], width: int | None = None) -> None:
        """Build the layers under the names of the published files."""
        from timm.layers import LayerNorm2d

        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in zip((3, *widths), widths, strides, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), LayerNorm2d(after, eps=1e-6), nn.GELU()]
        if width is not None:
            layers.append(nn.Conv2d(widths[-1], width, 1))
        self.stem = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The map of the stem."""
        out: Tensor = self.stem(x)
        return out


_PATCH = ((48, 96, 192, 384), (2, 2, 2, 2))
# Name: (timm's model without the stem, widths, strides, width of the last 1x1 convolution).
MODELS: Mapping[str, tuple[str, tuple[int, ...], tuple[int, ...], int | None]] = {
    "convnext_tiny_cvst": ("convnext_tiny", (48, 96), (2, 2), None),
    "convnext_small_cvst": ("convnext_small", (48, 96), (2, 2), None),
    "convnext_base_cvst": ("convnext_base", (64, 96, 128), (2, 2, 1), None),
    "convnext_large_cvst": ("convnext_large", (96, 144, 192), (2, 2, 1), None),
    "vit_small_patch16_cvst": ("vit_small_patch16_224", *_PATCH, 384),
    "vit_medium_patch16_cvst": ("deit3_medium_patch16_224", *_PATCH, 512),
    "vit_base_patch16_cvst": ("vit_base_patch16_224", *_PATCH, 768),
}


def _pixels(name: str) -> dict[str, tuple[float, float, float]]:
    """All but one were published without pixel statistics of their own: they see [0, 1]."""
    if name == "vit_small_patch16_cvst":
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


default_cfgs = {
    name: {
        "url": "", "num_classes": 1000, "input_size": (3, 224, 224), **_pixels(name),
        "license": "not stated", "paper_name": "Singh et al., NeurIPS 2023, arXiv:2303.01870",
        "classifier": "head.fc" if name.startswith("convnext") else "head",
    }
    for name in MODELS
}  # fmt: skip


def _build(name: str, **options: Any) -> nn.Module:
    import timm

    base, widths, strides, width = MODELS[name]
    for timms_own in ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        options.pop(timms_own, None)
    net: nn.Module = timm.create_model(base, **options)
    stem = ConvStem(widths, strides, width)
    if width is None:
        net.stem = stem
    else:
        net.get_submodule("patch_embed").proj = stem
    return net


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """The keys of `model` for a published file: its training code wraps the network and may store pixel statistics.

    Raises:
        ValueError: the file's pixel statistics are not ImageNet's.
    """
    kept = {key.removeprefix("base_model.").removeprefix("model."): value for key, value in state.items()}
    for key, expected in (("normalize.mean", IMAGENET_MEAN), ("normalize.std", IMAGENET_STD)):
        stored = [round(value, 4) for value in kept.pop(key, torch.tensor(expected)).flatten().tolist()]
        if stored != list(expected):
            raise ValueError(f"{key} is {stored}, the source was published with {list(expected)}")
    from timm.models import convnext, vision_transformer

    converted: Mapping[str, Tensor] = kept
    if any("pos_embed" in key for key in kept):
        converted = vision_transformer.checkpoint_filter_fn(kept, model)
    elif any(key.startswith("downsample_layers.") for key in kept):  # segmenters, in the form of the original ConvNeXt
        converted = convnext.checkpoint_filter_fn(kept, model)
    return converted


def make_known() -> None:
    """Register the models with timm, once."""
    from timm.models import is_model

    for name in MODELS:
        if not is_model(name):
            _register(name)


def _register(name: str) -> None:
    from timm.models import register_model

    def entry(pretrained: bool = False, **options: Any) -> nn.Module:
        return _build(name, **options)

    entry.__name__ = entry.__qualname__ = name
    register_model(entry)
