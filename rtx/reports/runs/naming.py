"""Name, source, data and method of a run, from the labels and the source of its card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
LONGEST = 200
"""Letters of a name that are shown."""

_ARCH = re.compile(
    r"(wide_resnet\d+_\d|resnext\d+_\w+?d|resnet\d+|swin_[a-z]+(?:_w\d+)?|efficientnet_lite\d|densenet\d+|mnasnet\d_\d|mobilenet_v\d|"
    r"shufflenet_v\d_x\d_\d|vgg\d+(?:_bn)?)(?=_|$|:|\.)"
)
_EPS = re.compile(r"_(l2|linf)_eps(\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class SourceName:
    """Where the backbone's weights came from.

    Attributes:
        text: the name of the source, or the file's name without its folder.
        recipe: the name without the architecture, e.g. `l2_eps3`.
        arch: the architecture, or "unknown".
        norm: `l2` or `linf` of an adversarially trained source, else None.
        eps: its radius (of 255ths for `linf`); 0 for a source that is known to be trained without; None if unknown.
    """

    text: str
    recipe: str
    arch: str
    norm: str | None
    eps: float | None


def source_of(card: Mapping[str, Any]) -> SourceName:
    """Read the source off a card.

    Example:
        >>> source_of({"source": "resnet50_l2_eps3"})
        SourceName(text='resnet50_l2_eps3', recipe='l2_eps3', arch='resnet50', norm='l2', eps=3.0)
        >>> source_of({"source": "resnet18:/data/robust.pth"}).text
        'robust.pth'
    """
    raw = card.get("source") or UNKNOWN
    arch_given, colon, file = str(raw).partition(":")
    text = Path(file or raw).name if colon or "/" in str(raw) else str(raw)
    backbone = (card.get("freeze_map") or {}).get("backbone") or {}
    found = _ARCH.match(text)
    named = found.group(1) if found else UNKNOWN
    arch = str(backbone.get("arch") or (arch_given if colon else "") or named)
    stem = re.sub(r"\.(pth|pt|safetensors|ckpt)$", "", text)
    recipe = next((stem[len(name) + 1 :] for name in (arch, named) if stem.startswith(name + "_")), stem)
    match = _EPS.search("_" + recipe)
    if match:
        return SourceName(text, recipe, arch, match.group(1), float(match.group(2)))
    plain = recipe.startswith("in1k") or recipe == "standard"
    return SourceName(text, recipe, arch, None, 0.0 if plain else None)


def readable(text: Any) -> str:
    r"""A name in one line without control characters or an end: what a terminal, a page and a figure can show.

    Example:
        >>> readable("\ufeffa\x1b[31m\nb"), len(readable("x" * 4000))
        ('a[31m b', 200)
    """
    plain = "".join(letter for letter in " ".join(str(text).split()) if letter.isprintable())
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def label(card: Mapping[str, Any], name: str) -> str:
    """One of a card's labels; "" without."""
    return readable((card.get("labels") or {}).get(name) or "")


def dataset_of(card: Mapping[str, Any]) -> str:
    """Name of the test set: the label `data`, which is its folder's name where the config says nothing else."""
    return label(card, "data") or "unknown data"


def datasets_of(runs: Sequence[tuple[Mapping[str, Any], int | None]]) -> list[str]:
    """Names of the test sets of several runs, given as card and number of images: the same data have one name.

    Example:
        >>> one, two = ({"data_sha256": "5e1", "labels": {"data": name}} for name in ("fruits", "copy_of_fruits"))
        >>> datasets_of([(one, 3), (two, 3)])
        ['fruits', 'fruits']
    """
    first: dict[tuple[str, int | None], str] = {}
    for card, n_images in runs:
        if label(card, "data") and card.get("data_sha256"):
            first.setdefault((card["data_sha256"], n_images), dataset_of(card))
    return [first.get((card.get("data_sha256", ""), n_images), dataset_of(card)) for card, n_images in runs]


def method_of(card: Mapping[str, Any]) -> str:
    """The detector or segmenter, from the label `method`."""
    return label(card, "method") or UNKNOWN


def unique_names(candidates: Iterable[tuple[str, ...]]) -> list[str]:
    """One name for each run: its first candidate where that tells it apart, else as many as it takes, else a number.

    Example:
        >>> unique_names([("a", "fixed"), ("a", "full"), ("b", "full")])
        ['a fixed', 'a full', 'b']
    """
    rows = [tuple(part for part in row if part) for row in candidates]
    names = [row[0] for row in rows]
    for length in range(2, 1 + max((len(row) for row in rows), default=1)):
        names = [
            " ".join(row[:length]) if names.count(name) > 1 else name for row, name in zip(rows, names, strict=True)
        ]
    twice = {name for name in names if names.count(name) > 1}
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if name in twice:
            names[index] = f"{name} #{seen[name]}"
    return names


def slug(text: str) -> str:
    """Lower-case letters, digits, dots and underscores, for file names and element ids."""
    return re.sub(r"[^a-z0-9.]+", "_", text.lower()).strip("_") or "x"
