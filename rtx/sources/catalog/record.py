"""The record of one published weights file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Threat = Literal["none", "l2", "linf"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PixelStatistics:
    """The pixels that weights were trained with: mean and std on the [0, 1] scale, and the order of their channels."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channel_order: Literal["rgb", "bgr"]

    @property
    def pixel_mean(self) -> list[float]:
        """`mean` on the 0 to 255 scale of OpenMMLab's preprocessors, e.g. [123.675, 116.28, 103.53]."""
        return [round(255 * m, 6) for m in self.mean]

    @property
    def pixel_std(self) -> list[float]:
        """`std` on the 0 to 255 scale, e.g. [58.395, 57.12, 57.375]."""
        return [round(255 * s, 6) for s in self.std]


@dataclass(frozen=True)
class Pixels(PixelStatistics):
    """Pixel statistics by themselves; ImageNet's where nothing is said."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channel_order: Literal["rgb", "bgr"] = "rgb"


@dataclass(frozen=True)
class Source(PixelStatistics):
    """One published weights file and what must be known to use it.

    Attributes:
        name: `<arch>_<recipe>[_eps<x>]`, e.g. "resnet50_l2_eps3".
        arch: key of `rtx.sources.catalog.archs.ARCHS`, e.g. "resnet50", or `timm:NAME`.
        recipe: how it was trained, e.g. "l2" (adversarial, L2), "ant", "in1k_v1".
        threat: norm of the adversary seen in training, or "none".
        eps: its radius in [0, 1] pixel units (a Linf 4/255 source has 4 / 255); 0.0 without adversary.
        filename: name of the file under `weights/`.
        urls: where it was published first, then mirrors; in the order in which they are tried.
        package: folder of an installable package that holds the file, as "package/folder", or "".
        extra: the extra of rtx that installs that package, or "".
        layout: key of `rtx.sources.keys.layouts.LAYOUTS` that the file is expected to have.
        licence: of the weights, as stated by the publisher, or "not stated".
        paper: short citation.
        clean_top1: published ImageNet top-1 in [0, 1], or None.
        sha256: of the whole file, or None if no citable source published it.
        sha256_prefix: first hex digits, where the publisher puts them into the file name.
        size: bytes, or None.
        mean: per channel, on the [0, 1] scale, in `channel_order`.
        std: as `mean`.
        channel_order: order of the channels the network was trained on.
        ignored_keys: key patterns (fnmatch) of the file that are dropped beyond the architecture's classifier.
        unverified: names of the fields above that rest on memory, inference or a third party.
        note: what a user should know, one sentence.
    """

    name: str
    arch: str
    recipe: str
    filename: str
    layout: str
    licence: str
    paper: str
    threat: Threat = "none"
    eps: float = 0.0
    urls: tuple[str, ...] = ()
    clean_top1: float | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    size: int | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channel_order: Literal["rgb", "bgr"] = "rgb"
    package: str = ""
    extra: str = ""
    ignored_keys: tuple[str, ...] = ()
    unverified: tuple[str, ...] = field(default=())
    note: str = ""

    @property
    def binds(self) -> bool:
        """Whether the licence asks for more than a notice, so that who uses the weights should be told."""
        return not self.licence.lower().startswith(("mit", "apache", "bsd", "cc0", "not stated"))
