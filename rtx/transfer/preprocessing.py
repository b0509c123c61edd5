"""How images reach the network in the papers' classification transfer, as mmpretrain pipelines, and their statistics.

Both papers resize with Pillow, as torchvision does, which smooths where it shrinks; so do these pipelines.
"""

from __future__ import annotations

from typing import Any

from rtx.errors import BadValue
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD
from rtx.sources.catalog.spec import parse_spec

IMAGE_SIZE = 224
_GREY = frozenset({"mnist", "fashion_mnist", "kmnist"})
_GLYPHS = frozenset({"svhn", "mnist", "kmnist"})
Pipeline = list[dict[str, Any]]
_PILLOW: dict[str, Any] = dict(backend="pillow", interpolation="bilinear")
_LOAD: dict[str, Any] = dict(type="LoadTargetImage")
_PACK: dict[str, Any] = dict(type="PackInputs")


def pipelines(name: str, target: str, size: int = IMAGE_SIZE) -> tuple[Pipeline, Pipeline]:
    """The training and the test pipeline.

    Args:
        name: "salman": a random crop of random size, resized, flipped; the test takes the centre of an image whose
            shorter side is 256/224 of the size. "utrera": resized, then cropped behind 4 pixels of padding, flipped,
            jittered by 0.25 and rotated by up to 2 degrees; grey sets are only resized.
        target: a row of `rtx.datasets.classification`. Digits and letters are flipped only in SVHN by "utrera", whose
            code does so.
        size: side of what the network sees, in pixels.

    Raises:
        BadValue: the size is under 32 pixels, for which corruptions are not defined.
    """
    if size < 32:
        raise BadValue(f"--image-size {size}: must be 32 or more")
    flip: Pipeline = [dict(type="RandomFlip", prob=0.5, direction="horizontal")]
    if name == "salman":
        flip = [] if target in _GLYPHS else flip
        edge = round(size * 256 / 224)
        crop = dict(type="RandomResizedCrop", scale=size, **_PILLOW)
        return [_LOAD, crop, *flip, _PACK], [*_centre(edge, size), _PACK]
    resize = _centre(size, size)
    if target in _GREY:
        return [*resize, _PACK], [*resize, _PACK]
    jitter = dict(type="ColorJitter", brightness=0.25, contrast=0.25, saturation=0.25)
    rotate = dict(
        type="Rotate", magnitude_range=(0, 2), magnitude_std="inf", prob=1.0, pad_val=0, interpolation="nearest"
    )
    crop = dict(type="RandomCrop", crop_size=size, padding=4)
    return [*resize[:2], crop, *flip, jitter, rotate, _PACK], [*resize, _PACK]


def _centre(edge: int, size: int) -> Pipeline:
    resize = dict(type="ResizeEdge", scale=edge, edge="short", **_PILLOW)
    return [_LOAD, resize, dict(type="CenterCrop", crop_size=size)]


_CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_CIFAR100 = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
# As the code has them: those of Fashion-MNIST and KMNIST are one pair of numbers.
_CLOTHES = ((0.1801,) * 3, (0.3421,) * 3)
_UTRERA = {
    "caltech101": (IMAGENET_MEAN, IMAGENET_STD),
    "food": ((0.5493, 0.4450, 0.3435), (0.2730, 0.2759, 0.2800)),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "fashion_mnist": _CLOTHES,
    "kmnist": _CLOTHES,
    "mnist": ((0.1307,) * 3, (0.3081,) * 3),
}
_SALMAN = {"cifar10": _CIFAR, "cifar100": _CIFAR100}


def upstream_statistics(name: str, target: str, source: str | None) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of the pixels that the papers' code normalises by, on the 0 to 255 scale.

    Salman et al. wrap the network anew with the numbers of the target: those of the CIFARs, and for all other targets
    mean 0 and deviation 1. Utrera et al. take those of the target too, but a robust checkpoint brings ImageNet's with
    it and overwrites them, so that natural and robust networks see different inputs.

    Args:
        name: "salman" or "utrera".
        target: a row of `rtx.datasets.classification`.
        source: as `--source` takes it; a file counts as a robust checkpoint, as in the code.

    Returns:
        (mean, std) of R, G and B; None for those that the source was trained with.

    Raises:
        BadValue: the code has no numbers for this target.
    """
    if name == "salman":
        mean, std = _SALMAN.get(target, ((0.0,) * 3, (1.0,) * 3))
    else:
        parsed = parse_spec(source or "random")
        if parsed.path is not None or (parsed.source is not None and parsed.source.eps > 0):
            return None
        if target not in _UTRERA:
            raise BadValue(
                f"--normalise upstream: the code of Utrera et al. has no pixel statistics for {target}; it has those "
                f"of {', '.join(_UTRERA)}"
            )
        mean, std = _UTRERA[target]
    return [round(255 * m, 6) for m in mean], [round(255 * s, 6) for s in std]
