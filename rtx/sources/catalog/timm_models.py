"""Models of timm as sources: `timm:NAME` and `timm:NAME@FILE`.

timm is imported only when one of them is asked for.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.errors import BadValue, MissingDependency, UnknownName, WeightsMismatch, unknown_name
from rtx.sources.catalog.archs import Arch
from rtx.sources.catalog.record import Source
from rtx.sources.keys.convnext import to_original

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIX = "timm:"
_ANY_SIZE = {"dynamic_img_size": True, "strict_img_size": False}
HUB = "https://huggingface.co/{}/resolve/main/{}"


def import_timm() -> Any:
    """The package timm.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingDependency(
            f"timm cannot be imported ({error}); install it: pip install -c constraints.txt 'rtx-robustness[timm]'"
        ) from error
    from rtx.sources.convstem import make_known

    make_known()
    return timm


def pretrained_facts(name: str) -> dict[str, Any]:
    """What timm publishes about a model's weights: mean, std, licence, names of the classifier, addresses.

    Args:
        name: as timm writes it, with or without the tag of its weights, e.g. "resnet50" or "resnet50.a1_in1k".

    Raises:
        MissingDependency: timm is not installed.
        UnknownName: timm has no such model or tag; the nearest names are shown.
    """
    timm = import_timm()
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise unknown_name(
            "model", base, place=f"timm {timm.__version__}", choices=timm.list_models(),
            remedy="`python -c 'import timm; print(timm.list_models(\"*convnext*\"))'` lists them",
        )  # fmt: skip
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        raise unknown_name(f"tag of {base}", tag, place=f"timm {timm.__version__}", choices=tags) from error
    return {} if found is None else dict(found.to_dict())


def timm_source(name: str) -> Source:
    """A record for a model of timm, with the facts of its published weights."""
    facts = pretrained_facts(name)
    hub, file = facts.get("hf_hub_id"), facts.get("hf_hub_filename") or "model.safetensors"
    urls = tuple(url for url in (HUB.format(hub, file) if hub else "", facts.get("url") or "") if url)
    return Source(
        name=PREFIX + name, arch=PREFIX + name, recipe=facts.get("tag") or "timm",
        filename=name + Path(file if hub else facts.get("url") or file).suffix, urls=urls, layout="torchvision",
        licence=facts.get("license") or "not stated", paper=facts.get("paper_name") or "timm",
        mean=_three(facts.get("mean"), 0.5), std=_three(facts.get("std"), 0.5),
    )  # fmt: skip


def _three(values: Any, otherwise: float) -> tuple[float, float, float]:
    one, two, three = (float(value) for value in values or (otherwise,) * 3)
    return one, two, three


def timm_arch(arch: str) -> Arch:
    """The architecture `timm:NAME`, with the keys of its classifier."""
    classifier = pretrained_facts(arch.removeprefix(PREFIX)).get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return Arch(arch, tuple(f"{name}." for name in names), "timm")


def build_timm(name: str, *, num_classes: int = 0, **options: Any) -> nn.Module:
    """A model of timm with random weights, which takes images of any size where timm knows how.

    Args:
        name: as timm writes it; a tag counts for nothing.
        num_classes: of the classifier; 0 for none.
        options: further arguments of the model.

    Raises:
        BadValue: timm cannot build it so.
    """
    import torch

    timm = import_timm()
    pretrained_facts(name)
    base = name.partition(".")[0]
    with torch.device("meta"):
        known = inspect.signature(type(timm.create_model(base)).__init__).parameters
    options |= {key: value for key, value in _ANY_SIZE.items() if key in known}
    try:
        net: nn.Module = timm.create_model(base, num_classes=num_classes, **options)
    except TypeError as error:
        raise BadValue(f"timm cannot build {base} with {options}: {error}") from error
    return net


def timm_shapes(name: str, num_classes: int = 0) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a model, found without allocating it."""
    import torch

    with torch.device("meta"):
        state = build_timm(name, num_classes=num_classes).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def cached_file(name: str) -> Path | None:
    """The file that timm itself has downloaded for a model, if there is one; nothing is downloaded."""
    facts = pretrained_facts(name)
    if facts.get("hf_hub_id"):
        from huggingface_hub import try_to_load_from_cache

        # In timm's own order.
        named = facts.get("hf_hub_filename")
        for file in (named,) if named else ("model.safetensors", "pytorch_model.bin"):
            found = try_to_load_from_cache(facts["hf_hub_id"], file)
            if isinstance(found, str):
                return Path(found)
    if facts.get("url"):
        import torch

        path = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(facts["url"])
        return path if path.is_file() else None
    return None


def from_published(state: Mapping[str, Tensor], name: str, where: str) -> dict[str, Tensor]:
    """The keys and shapes of timm's model for a file in its publisher's form, by timm's own conversion.

    That conversion also interpolates position embeddings of another grid. Weights that were trained with rtx (`net.`
    before each key) work too.

    Raises:
        WeightsMismatch: timm's conversion fails on it.
    """
    import torch

    timm = import_timm()
    state = dict(state)
    if any(key.startswith("net.") for key in state):
        state = {key.removeprefix("net."): value for key, value in state.items() if not key.startswith("pyramid.")}
    state = to_original(state)
    entry = timm.model_entrypoint(name.partition(".")[0])
    convert = getattr(sys.modules[entry.__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    with torch.device("meta"):
        net = build_timm(name)
    try:
        return dict(convert(state, net))
    except UnknownName:
        raise
    except Exception as error:  # the keys of another network raise anything in there
        raise WeightsMismatch(
            f"{where} does not fit {PREFIX}{name}: timm cannot convert it ({type(error).__name__}: {error})"
        ) from error
