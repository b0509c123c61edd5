"""Networks of others as backbones, and how a user registers one: `rtx.register_backbone`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, fx, nn
from torch.nn import functional

from rtx.backbones.base import SourceBackbone
from rtx.backbones.freezing import N_STAGES, apply_norm_cfg, norm_layers
from rtx.backbones.spec import BACKBONES, Backbone, add_row
from rtx.backbones.traced import Cut, Stages, cut
from rtx.errors import BadValue, some, unknown_name
from rtx.sources.catalog.archs import ARCHS, Arch, add_arch
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD, Pixels
from rtx.sources.catalog.rows import CATALOG, SHORT_NAMES

STRIDES = (4, 8, 16, 32)
_EVEN, _ODD = (128, 160), (131, 157)


@dataclass(frozen=True)
class Net:
    """How a registered network is made and read.

    Attributes:
        builder: makes it with random weights.
        stages: see `register_backbone`.
        divisor: the image is padded to a multiple of it.
    """

    builder: Callable[[], nn.Module]
    stages: Stages
    divisor: int = 1


NETS: dict[str, Net] = {}


def register_backbone(
    name: str,
    builder: Callable[[], nn.Module],
    *,
    channels: Sequence[int],
    stages: Stages,
    strides: Sequence[int] = STRIDES,
    head_keys: Sequence[str] = (),
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> None:
    """Make a network of your own a backbone: `--source NAME:FILE` and `NAME:random` then work like any other source.

    The network is built once, here, to check what is said about it.

    Args:
        name: of the architecture, as `--source` will have it.
        builder: makes the network with random weights: a plain module, e.g. a classifier. Its forward pass takes images
            (N, 3, H, W); what lies behind the last stage (pooling, classifier) is cut off.
        channels: of the four maps.
        stages: names of modules (or parameters) in the order in which the image passes them: those of the stem, then
            those of stages 1 to 4, each one name or several. The output of a stage's last module is its map. A
            `Sequential` of modules that have layers inside stands for these. `blocks:k` counts modules with layers
            inside, or, in a stage without any, those with convolutions or linear layers; a `Sequential` of plain layers
            (a transition, say) beside blocks does not count.
        strides: of the four maps in pixels. Detectors need 4, 8, 16, 32.
        head_keys: how the keys of the classifier begin in weights files, e.g. ("fc.",); every load drops these.
        mean: of the pixels that it was trained with, per channel (RGB) on the [0, 1] scale.
        std: as `mean`.

    Raises:
        BadValue: a name that is taken, maps of other channels or strides than said, pieces that do not exist, are
            passed in another order or not at all, or weights on the way that are in none.

    Example:
        >>> from torchvision.models import resnet18
        >>> register_backbone("resnet18_mine", resnet18, channels=(64, 128, 256, 512), head_keys=("fc.",),
        ...     stages=(("conv1", "bn1"), "layer1", "layer2", "layer3", "layer4"))  # doctest: +SKIP
    """
    if not name or name.strip() != name or any(mark in name for mark in ":@/\\"):
        raise BadValue(f"backbone name {name!r}: must have no ':', '@', '/' or blanks around it")
    if name == "random" or name in ARCHS or name in CATALOG or name in SHORT_NAMES:
        raise BadValue(f"backbone {name!r} is there already; take another name")
    three = [_numbers(values, 3, f"backbone {name!r}: {what}") for what, values in (("mean", mean), ("std", std))]
    four = [
        _numbers(v, N_STAGES, f"backbone {name!r}: {what}")
        for what, v in (("channels", channels), ("strides", strides))
    ]
    if min(three[1]) <= 0 or max(*three[0], *three[1]) > 1:
        raise BadValue(f"backbone {name!r}: mean {mean!r} and std {std!r} must be on the [0, 1] scale, std above 0")
    net = builder()
    if not isinstance(net, nn.Module):
        raise BadValue(f"backbone {name!r}: its builder returned a {type(net).__name__}, not a torch.nn.Module")
    heads = (head_keys,) if isinstance(head_keys, str) else tuple(head_keys)
    found, kept = cut(net, stages, name)
    if taken := [key for key, _ in (*kept.named_children(), *kept.named_parameters(recurse=False)) if key in _RESERVED]:
        raise BadValue(
            f"backbone {name!r}: {some(taken, 8)} is a name that rtx's backbones use; rename it in the network"
        )
    divisor = _check_maps(found, kept, name, tuple(int(n) for n in four[0]), tuple(int(n) for n in four[1]))
    own = {key for key in net.state_dict() if not key.startswith(heads or ("\0",))} - set(kept.state_dict())
    if own:
        listed = ", ".join(sorted(own)[:8])
        raise BadValue(
            f"backbone {name!r}: {len(own)} tensors of the network are neither in stages= nor named by "
            f"head_keys= ({listed})"
        )
    early = any(True for _ in norm_layers(kept))
    arch = Arch(
        name,
        heads,
        "registered",
        builder,
        Pixels((three[0][0], three[0][1], three[0][2]), (three[1][0], three[1][1], three[1][2])),
    )
    add_net(arch, Net(builder, stages, divisor), channels=four[0], strides=four[1], early=early)


def add_net(
    arch: Arch, net: Net, *, channels: Sequence[float], strides: Sequence[float] = STRIDES, early: bool
) -> None:
    """Put in a network whose facts are known to be right."""
    if arch.name not in ARCHS:
        add_arch(arch)
    (a, b, c, d), (e, f, g, h) = (tuple(int(n) for n in row) for row in (channels, strides))
    config = {"type": "SourceConvNet", "arch": arch.name}
    add_row(arch.name, Backbone((a, b, c, d), config, (e, f, g, h), freezes_early=early))
    NETS[arch.name] = net


def _numbers(values: Sequence[float], count: int, what: str) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise BadValue(f"{what}={values!r}: must be {count} numbers") from error
    if len(found) != count:
        raise BadValue(f"{what}={values!r}: must be {count} numbers")
    return found


def _check_maps(found: Cut, kept: nn.Module, name: str, channels: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Compare the maps with what was said; the divisor that images need."""
    versions: dict[int, int] = {}

    def maps_of(size: tuple[int, int]) -> list[Tensor]:
        maps: list[Tensor] = []

        def seen(index: int, one: Tensor) -> None:
            maps.append(one)
            versions[index] = one._version if isinstance(one, Tensor) else 0

        with torch.no_grad():
            run(found, kept, torch.zeros(1, 3, *size), seen)
        return maps

    try:
        maps = maps_of(_EVEN)
    except Exception as error:  # the user's own forward
        raise BadValue(
            f"backbone {name!r}: does not take an image of {_EVEN[1]}x{_EVEN[0]} pixels "
            f"({type(error).__name__}: {error}); detection and segmentation need any size"
        ) from error
    for i, one in enumerate(maps):
        wanted = (1, channels[i], *(side // strides[i] for side in _EVEN))
        if not isinstance(one, Tensor) or tuple(one.shape) != wanted:
            got = f"{tuple(one.shape)}" if isinstance(one, Tensor) else f"a {type(one).__name__}"
            raise BadValue(
                f"backbone {name!r}: stage {i + 1} gives {got} for an image of {_EVEN[1]}x{_EVEN[0]} pixels; channels="
                f"{channels[i]} and strides={strides[i]} say {wanted}"
            )
        if one._version != versions[i]:
            raise BadValue(
                f"backbone {name!r}: the map of stage {i + 1} is changed in place by what follows; use "
                "ReLU(inplace=False) there"
            )
    try:
        maps_of(_ODD)
    except Exception:  # it takes multiples of its patches only
        return max(strides)
    return 1


def run(
    found: Cut,
    net: nn.Module,
    x: Tensor,
    tap: Callable[[int, Tensor], None],
    *,
    block: Callable[..., Any] | None = None,
    last: int = N_STAGES - 1,
) -> None:
    """Run the traced steps.

    Args:
        found: the steps.
        net: holds the modules under their names.
        x: images.
        tap: called with the place of each map and the map.
        block: calls the pieces that are blocks, with the module and its input.
        last: the place of the last map that is needed.
    """
    values: dict[str, Any] = {}
    blocks = {part.name for part in found.parts if part.block}

    def value_of(node: fx.Node) -> Any:
        return values[node.name]

    for node in found.graph.nodes:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), value_of)
        if node.op == "placeholder":
            values[node.name] = x if not values else args[0] if args else None
        elif node.op == "call_module":
            module = net.get_submodule(node.target)
            inner = block if block is not None and node.target in blocks and not kwargs else None
            values[node.name] = inner(module, *args) if inner else module(*args, **kwargs)
        elif node.op == "get_attr":
            owner, _, name = node.target.rpartition(".")
            values[node.name] = getattr(net.get_submodule(owner), name)
        elif node.op == "call_function":
            values[node.name] = node.target(*args, **kwargs)
        elif node.op == "call_method":
            values[node.name] = getattr(args[0], node.target)(*args[1:], **kwargs)
        place = found.taps.get(node.name)
        if place is not None:
            tap(place, values[node.name])
            if place == last:
                return
        for name in found.frees.get(node.name, ()):
            del values[name]


@MODELS.register_module()
class SourceConvNet(SourceBackbone):
    """A network that is no subclass of ours as a feature pyramid: torchvision's, and those of `register_backbone`.

    Its modules and keys are the network's own, without what lies behind the last stage.

    Args:
        arch: key of `NETS`, e.g. "mobilenet_v2".
        norm_cfg: type "BN" or "SyncBN" acts on batch norms; no other kind can be put in.
        **common: source, freezing, norm policy, outputs: see `SourceBackbone`.

    Raises:
        UnknownName: no such architecture.
        BadValue: a norm layer other than batch norm, or more trainable blocks than there are.

    Example:
        >>> import torch
        >>> backbone = SourceConvNet("mobilenet_v2", frozen_stages=4)
        >>> [tuple(f.shape) for f in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 24, 16, 16), (1, 32, 8, 8), (1, 96, 4, 4), (1, 1280, 2, 2)]
    """

    def __init__(
        self,
        arch: str,
        *,
        norm_cfg: dict[str, Any] | None = None,
        **common: Any,
    ) -> None:
        """Build and cut the network and apply the freezing."""
        if arch not in NETS:
            raise unknown_name("architecture", arch, place="rtx.backbones", choices=NETS)
        super().__init__(arch=arch, **common)
        self._cut, kept = cut(NETS[arch].builder(), NETS[arch].stages, arch)
        self._divisor = NETS[arch].divisor
        for name, piece in {**kept._modules, **kept._parameters, **kept._buffers}.items():
            if isinstance(piece, nn.Module | nn.Parameter):
                setattr(self, name, piece)
            else:
                self.register_buffer(name, piece, persistent=name not in kept._non_persistent_buffers_set)
        apply_norm_cfg(self, norm_cfg)
        self.finish(self._cut.parts)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps at the strides of its row as far as `out_indices` asks for them."""
        sides, maps = x.shape[2:], []
        strides = BACKBONES[self.arch].strides

        def keep(place: int, one: Tensor) -> None:
            if place in self.out_indices:
                cropped = self._divisor > 1
                maps.append(
                    one[:, :, : -(-sides[0] // strides[place]), : -(-sides[1] // strides[place])] if cropped else one
                )

        x = functional.pad(x, (0, -sides[1] % self._divisor, 0, -sides[0] % self._divisor))
        run(self._cut, self, x, keep, block=self.run_block, last=max(self.out_indices))
        return tuple(maps)


_RESERVED = {
    *dir(SourceBackbone),
    *inspect.signature(SourceBackbone.__init__).parameters,
    "parts",
    "plan",
    "_cut",
    "_divisor",
}
