"""From a checkpoint's layout to plain torchvision keys.

A layout is recognised by its keys alone: which container entry holds the weights, which wrapper prefix they carry,
whether a second copy and a normaliser lie beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

from rtx.errors import WeightsError, WeightsMismatch, some
from rtx.sources.keys.efficientnet import is_efficientnet, to_timm
from rtx.sources.keys.openmmlab import from_detectron2, from_openmmlab, is_detectron2
from rtx.sources.keys.swin import dialect_of, to_original
from rtx.sources.keys.wrappers import PARALLEL, network_in, unwrapped, wrapper_of
from rtx.sources.reading.unpickle import Inert

log = logging.getLogger(__name__)

# Where the state dict lies, the commonest first; a flat file has the tensors at the top.
CONTAINERS = ("model", "state_dict", "model_state_dict", "net", "network", "ema_state_dict")


@dataclass(frozen=True)
class KeyLayout:
    """One published key layout.

    Attributes:
        name: key of `LAYOUTS`.
        prefix: what stands before every torchvision key.
        copies: prefixes of further copies of the same weights, which must agree.
        normalisers: key prefixes under which pixel statistics are stored, as (mean key, std key).
        others: prefixes of keys that belong to other parts of the saved model and are dropped.
        text: one line for people.
    """

    name: str
    prefix: str
    copies: tuple[str, ...] = ()
    normalisers: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()
    text: str = ""


_ROBUSTNESS_NORMALISERS = (
    ("module.normalizer.new_mean", "module.normalizer.new_std"),
    ("module.attacker.normalize.new_mean", "module.attacker.normalize.new_std"),
)
# In order of specificity: the first layout whose prefix occurs is the one.
_ALL = (
    KeyLayout(
        "robustness_wrapped",
        "module.model.model.",
        ("module.attacker.model.model.",),
        _ROBUSTNESS_NORMALISERS,
        text="robustness library, network wrapped twice (the six extra architectures of Salman et al.)",
    ),
    KeyLayout(
        "robustness",
        "module.model.",
        ("module.attacker.model.",),
        _ROBUSTNESS_NORMALISERS,
        text="robustness library: network, attacker copy and normaliser",
    ),
    KeyLayout(
        "lightning",
        "model.model.",
        (),
        (("model.aug.preprocess.mean", "model.aug.preprocess.std"),),
        ("model.aug.",),
        text="Lightning module around the network (PRIME's training code)",
    ),
    KeyLayout("ddp", "module.", text="DataParallel or DistributedDataParallel around the network"),
    KeyLayout(
        "mmengine",
        "backbone.",
        (),
        (("data_preprocessor.mean", "data_preprocessor.std"),),
        ("",),
        text="OpenMMLab training checkpoint: backbone and a ResNet's linear head are taken, all else is dropped",
    ),
    KeyLayout("resnet_wrapped", "resnet.", text="network as attribute `resnet` (training code of ANT)"),
    KeyLayout("wrapped", "model.", text="network as attribute `model`"),
    KeyLayout("torchvision", "", text="plain torchvision keys"),
)
# Networks whose keys differ between publishers; recognised after the wrapping is off.
_DIALECTS = (
    KeyLayout("swin", "", text="original Swin keys"),
    KeyLayout("swin_timm", "", text="Swin with the keys of timm 0.9 and later"),
    KeyLayout("swin_openmmlab", "", text="Swin with OpenMMLab's keys"),
    KeyLayout("swin_torchvision", "", text="Swin with torchvision's keys"),
    KeyLayout("detectron2", "", text="ResNet with detectron2's keys"),
    KeyLayout("efficientnet", "", text="EfficientNet with the keys of the first PyTorch ports"),
)
LAYOUTS: Mapping[str, KeyLayout] = {layout.name: layout for layout in (*_ALL, *_DIALECTS)}


@dataclass(frozen=True)
class Recognised:
    """A checkpoint with its wrapping taken off.

    Attributes:
        layout: the layout found.
        container: entry that held the state dict, "" for a flat file.
        state: torchvision keys to tensors, the classifier included.
        copies: prefixes of the further copies found, all checked to agree.
        normaliser: stored (mean, std) on the [0, 1] scale, or None.
        dropped: keys of the file that belong to none of this, e.g. an OpenMMLab neck.
    """

    layout: KeyLayout
    container: str
    state: dict[str, Tensor]
    copies: tuple[str, ...]
    normaliser: tuple[tuple[float, ...], tuple[float, ...]] | None
    dropped: tuple[str, ...]


def recognise(content: Any, where: str, *, dialects: bool = True) -> Recognised:
    """Find the state dict in a checkpoint and take its wrapping off.

    Args:
        content: what `rtx.sources.reading.read.read_checkpoint` returned.
        where: file name for error messages.
        dialects: turn the keys of other publishers into those of rtx's own backbones.

    Raises:
        WeightsError: there is no state dict in it.
        WeightsMismatch: two copies of the weights, or two normalisers, disagree.
    """
    container, tensors = _find_state(content, where)
    names = unwrapped(tensors, where)
    wrapper = wrapper_of(tensors)
    tensors = {names[key]: value for key, value in tensors.items()}
    layout = next(
        layout for layout in _ALL if any(key.startswith(layout.prefix) and key != layout.prefix for key in tensors)
    )
    known = {key for pair in layout.normalisers for key in pair}
    inner: dict[str, Tensor] = {}
    dropped = []
    copies: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        copy = next((prefix for prefix in layout.copies if key.startswith(prefix)), None)
        if key in known:
            continue
        if copy is not None:
            copies.setdefault(copy, {})[key.removeprefix(copy)] = value
        elif key.startswith(layout.prefix):
            inner[key.removeprefix(layout.prefix)] = value
        else:
            dropped.append(key)
    if layout.name == "mmengine" and "layer1.0.conv1.weight" in inner:
        # The linear head that mmpretrain and `rtx train_source` put on a ResNet is torchvision's fc.
        for theirs, ours in (("head.fc.weight", "fc.weight"), ("head.fc.bias", "fc.bias")):
            if theirs in dropped:
                inner[ours] = tensors[theirs]
                dropped.remove(theirs)
    foreign = [key for key in dropped if not (layout.others and key.startswith(layout.others))]
    if foreign:
        raise WeightsMismatch(
            f"{where}: {len(foreign)} keys beside the layout {layout.name!r} ({some(foreign, 8)}); "
            "remove them from the file if they are not part of the network"
        )
    for prefix, other in copies.items():
        _check_copy(inner, other, layout.prefix, prefix, where)
    normaliser = _normaliser(tensors, layout, where)
    inner, attributes = network_in(inner)
    layout = _said(layout, wrapper, attributes)
    if is_efficientnet(inner):
        inner, layout = to_timm(inner), LAYOUTS["efficientnet"]
        dialects = False
    dialect = dialect_of(inner)
    if not dialects:
        return Recognised(layout, container, inner, tuple(copies), normaliser, tuple(dropped))
    if is_detectron2(inner):
        inner, layout = from_detectron2(inner), LAYOUTS["detectron2"]
    elif dialect is not None:
        inner, derived = to_original(inner, dialect)
        dropped += derived
        layout = LAYOUTS[dialect] if layout.name == "torchvision" else layout
    else:
        inner = from_openmmlab(inner)
    return Recognised(layout, container, inner, tuple(copies), normaliser, tuple(dropped))


def _said(layout: KeyLayout, wrapper: str, attributes: str) -> KeyLayout:
    """The layout with what was taken off beyond its own prefix."""
    if attributes:
        layout = replace(layout, prefix=layout.prefix + attributes, text=f"network as attribute `{attributes[:-1]}`")
    if wrapper:
        layout = replace(layout, prefix=wrapper + layout.prefix.removeprefix(PARALLEL), text=f"{layout.text}, wrapped")
    return layout


def _find_state(content: Any, where: str) -> tuple[str, dict[str, Tensor]]:
    if isinstance(content, Tensor):
        raise WeightsError(f"{where}: holds one tensor of shape {tuple(content.shape)}, not a network's state dict")
    if isinstance(content, Inert):
        raise WeightsError(whole_model(where, content))
    if not isinstance(content, dict):
        raise WeightsError(f"{where}: holds a {type(content).__name__}, not a network's state dict")
    for container in CONTAINERS:
        entry = content.get(container)
        if _holds_tensors(entry):
            others = [str(key) for key, value in content.items() if key != container and _holds_tensors(value)]
            if others:
                log.warning(
                    "%s: weights are taken from %r; %s holds some as well, e.g. an average of them (to use those, save "
                    "them alone in a file)",
                    where, container, some(others, 8),
                )  # fmt: skip
            return container, _tensors(entry, where)
    if any(isinstance(value, Tensor) for value in content.values()):
        return "", _tensors(content, where)
    if model := next((content[name] for name in CONTAINERS if isinstance(content.get(name), Inert)), None):
        raise WeightsError(whole_model(where, model))
    keys = some([str(key)[:40] for key in content], 8)
    raise WeightsError(
        f"{where}: no state dict in it (top-level entries: {keys or 'none'}; looked for tensors there and under "
        f"{', '.join(CONTAINERS)}); save model.state_dict() instead of the whole model"
    )


def whole_model(where: str, found: Inert) -> str:
    """The message for a file that holds an object instead of its tensors."""
    what = "an object" if found.origin == "?" else f"an object ({found.origin})"
    return (
        f"{where}: holds {what}, such as a whole model, not a network's state dict; rtx makes no objects of a file. "
        "Where you trust it, load it with PyTorch and save model.state_dict()"
    )


def _holds_tensors(entry: Any) -> TypeGuard[dict[Any, Any]]:
    return isinstance(entry, dict) and any(isinstance(value, Tensor) for value in entry.values())


def _tensors(entry: Mapping[Any, Any], where: str) -> dict[str, Tensor]:
    odd = [str(key)[:80] for key, value in entry.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if odd:
        raise WeightsError(f"{where}: entries of its state dict are no plain tensors ({some(odd, 8)})")
    return dict(entry)


def _check_copy(one: dict[str, Tensor], two: dict[str, Tensor], name: str, other: str, where: str) -> None:
    differ = sorted(set(one) ^ set(two))
    differ += [key for key in one if key in two and not _same(one[key], two[key])]
    if differ:
        raise WeightsMismatch(
            f"{where}: the copies under {name!r} and {other!r} disagree in {len(differ)} entries ({some(differ, 8)}); "
            "the file is damaged or was edited, get it again"
        )


def _same(one: Tensor, two: Tensor) -> bool:
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    # Bytes, not values: two NaN copies agree.
    return bool(
        torch.equal(one.contiguous().reshape(-1).view(torch.uint8), two.contiguous().reshape(-1).view(torch.uint8))
    )


def _normaliser(
    tensors: Mapping[str, Tensor], layout: KeyLayout, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    found = []
    for mean_key, std_key in layout.normalisers:
        if (mean_key in tensors) != (std_key in tensors):
            raise WeightsMismatch(f"{where}: only one of {mean_key} and {std_key} is there")
        if mean_key in tensors:
            mean, std = (tuple(tensors[key].double().flatten().tolist()) for key in (mean_key, std_key))
            if len(mean) != 3 or len(std) != 3:
                raise WeightsMismatch(f"{where}: {mean_key} has {len(mean)} channels, {std_key} {len(std)}; expected 3")
            scale = 255.0 if layout.name == "mmengine" else 1.0
            found.append((tuple(m / scale for m in mean), tuple(s / scale for s in std)))
    if any(other != found[0] for other in found[1:]):
        raise WeightsMismatch(f"{where}: the normalisers of the network and of its copy disagree: {found}")
    return found[0] if found else None
