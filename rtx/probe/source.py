"""A source as a frozen network: pixels in, one vector an image out, in front of where its classifier would be."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from rtx.backbones import spec as backbones
from rtx.errors import BadValue
from rtx.files import code_sha256
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD
from rtx.sources.catalog.spec import parse_spec, statistics_of
from rtx.sources.keys.guess import guess_arch
from rtx.sources.keys.layouts import recognise
from rtx.sources.load import NO_BACKBONE, locate
from rtx.sources.reading.read import read_checkpoint
from rtx.sources.spelling import full_spec
from rtx.sources.stated import stated_statistics
from rtx.transfer.guard import fingerprint

log = logging.getLogger(__name__)

FORWARD = "1"
"""Counts up whenever the same weights and pixels give other features: caches made before are made again then."""


@dataclass(frozen=True)
class FrozenSource:
    """A network that does not train.

    Attributes:
        spec: as `--source` takes it.
        arch: its architecture.
        network: in eval mode; the global average of its last stage is the feature.
        width: of the feature, D.
        weights: hex sha256 over names and values of all parameters and buffers.
        mean: of R, G, B on the 0 to 255 scale, and `std`.
        std: see `mean`.
        bgr: the network takes the channels in the other order.
        config: what its backbone was built from.
        forward: what else its features depend on: `FORWARD`, and versions of the libraries whose layers it has.
    """

    spec: str
    arch: str
    network: nn.Module
    width: int
    weights: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool
    config: dict[str, Any]
    forward: dict[str, str]

    @property
    def name(self) -> str:
        """For files and tables: the spec, of a file its stem."""
        if "/" not in self.spec:
            return self.spec
        path = Path(self.spec)
        # Every `rtx train_source` calls its file so; the run folder tells them apart.
        return f"{path.parent.name}-{path.stem}" if path.stem == "source" else path.stem

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, D) float32 of uint8 RGB images (N, H, W, 3) on the device of the network."""
        pixels = images.permute(0, 3, 1, 2).float()
        shape = (1, 3, 1, 1)
        pixels = (pixels - pixels.new_tensor(self.mean).view(shape)) / pixels.new_tensor(self.std).view(shape)
        return self.network(pixels.flip(1) if self.bgr else pixels)[-1].mean((2, 3)).float()


def load_frozen(spec: str, device: str = "cpu", *, seed: int = 0) -> FrozenSource:
    """Build the backbone of a source and load its weights strictly.

    VGG's features are the average of its last stage (512), not what its two hidden layers make of them.

    Args:
        spec: a source's name, FILE, ARCH:FILE, timm:NAME, or ARCH:random.
        device: where it goes.
        seed: of random weights.

    Raises:
        UnknownName: no such source.
        BadValue: random weights of no architecture, or a file whose architecture cannot be told.
        WeightsError: the file is missing, unreadable or does not fit.
    """
    parsed = parse_spec(spec)
    arch = parsed.arch or _guessed(spec)
    spec = full_spec(spec)
    row = backbones.spec_of(arch)
    config = {**row.config, "frozen_stages": 4, "out_indices": (3,)}
    if config["type"] == "SourceSwin":
        # A classifier reads the features that the published one read, as in `rtx.config.with_source`.
        config |= {"last_norm_from_source": not parsed.random, "shift_single_windows": False}
    if row.final_channels is not None:
        config["final"] = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MODELS.build({**config, "source": None if parsed.random else spec})
    if not parsed.random:
        network.init_weights()
    network = network.to(device).eval().requires_grad_(False)
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {fingerprint(value)}\n".encode())
    trained = statistics_of(parsed, arch)
    mean, std = (trained.mean, trained.std) if trained else _statistics(spec, parsed.path)
    if trained and trained.channel_order == "bgr":
        mean, std = mean[::-1], std[::-1]
    return FrozenSource(
        spec,
        arch,
        network,
        row.final_channels or row.channels[3],
        digest.hexdigest(),
        tuple(round(255 * m, 6) for m in mean),
        tuple(round(255 * s, 6) for s in std),
        bool(trained and trained.channel_order == "bgr"),
        config,
        _forward(network),
    )


def _statistics(spec: str, path: Path | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What a file states, else ImageNet's, which is said."""
    stated = stated_statistics(path) if path is not None else None
    if path is not None and stated is None:
        log.warning("source %s: the file does not state the mean and std of its training; ImageNet's are taken", spec)
    return stated or (IMAGENET_MEAN, IMAGENET_STD)


def _forward(network: nn.Module) -> dict[str, str]:
    """Versions of what computes the features, and the code of a network of one's own.

    That of PyTorch moves them by rounding; the cache keeps it beside.
    """
    modules = {type(module).__module__ for module in network.modules()}
    packages, installed = {name.partition(".")[0] for name in modules} - {"torch", "rtx"}, set(packages_distributions())
    own = sorted(name for name in modules if name.partition(".")[0] in packages - installed)
    code = {name: code_sha256(name) or "?" for name in own}
    return {"rtx": FORWARD, **{name: version(name) for name in sorted(packages & installed)}, **code}


def check_source(spec: str) -> None:
    """See that a source can be loaded, as far as that takes no time.

    Raises:
        UnknownName, WeightsError, BadValue: see `load_frozen`.
    """
    parsed = parse_spec(spec)
    if not parsed.random:
        locate(spec)
    elif parsed.arch is None:
        raise BadValue("source 'random': say of which architecture, as in resnet18:random")


def _guessed(spec: str) -> str:
    check_source(spec)
    path = locate(spec)
    arch = guess_arch(recognise(read_checkpoint(path), str(path)).state)
    if arch not in backbones.BACKBONES:
        if arch is None:
            raise BadValue(f"source {spec!r}: looks like no architecture rtx knows; give ARCH:FILE")
        raise BadValue(f"source {spec!r}: looks like a {arch}, for which rtx has no backbone; {NO_BACKBONE}")
    return arch
