"""What a run is called, and what its source, data and method are, read off the protocol card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"

# Test set -> what gives it away: number of images and of classes, scorer. Labels on the card come first.
_KNOWN_SETS = {
    (5000, 80, "coco"): "coco_val2017",
    (4952, 80, "coco"): "coco_val2017",
    (4952, 20, "voc"): "voc2007_test",
    (500, 8, "coco"): "cityscapes_val",
    (2000, 150, "miou"): "ade20k_val",
}
_METHODS = {
    "maskrcnn": "Mask R-CNN",
    "fasterrcnn": "Faster R-CNN",
    "cascadercnn": "Cascade R-CNN",
    "cascademaskrcnn": "Cascade Mask R-CNN",
    "retinanet": "RetinaNet",
    "htc": "HTC",
    "upernet": "UperNet",
}
_EPS = re.compile(r"_(l2|linf)_eps(\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Source:
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


def source_of(card: Mapping[str, Any]) -> Source:
    """Read the source off a card.

    Example:
        >>> source_of({"source": "resnet50_l2_eps3"})
        Source(text='resnet50_l2_eps3', recipe='l2_eps3', arch='resnet50', norm='l2', eps=3.0)
        >>> source_of({"source": "resnet18:/data/robust.pth"}).text
        'robust.pth'
    """
    raw = card.get("source") or UNKNOWN
    arch_given, colon, file = str(raw).partition(":")
    text = Path(file or raw).name if colon or "/" in str(raw) else str(raw)
    arch = str(_nested(card, "freeze_map", "backbone", "arch") or (arch_given if colon else ""))
    if not arch:
        found = re.match(r"(wide_resnet\d+_\d|resnext\d+_\w+?d|resnet\d+|swin_[a-z]+)", text)
        arch = found.group(1) if found else UNKNOWN
    stem = re.sub(r"\.(pth|pt|safetensors|ckpt)$", "", text)
    recipe = stem[len(arch) + 1 :] if stem.startswith(arch + "_") else stem
    match = _EPS.search("_" + recipe)
    if match:
        return Source(text, recipe, arch, match.group(1), float(match.group(2)))
    plain = recipe.startswith("in1k") or recipe == "standard"
    return Source(text, recipe, arch, None, 0.0 if plain else None)


def dataset_of(card: Mapping[str, Any], n_images: int | None) -> str:
    """Name of the test set: the card's label, what its size gives away, its folder's name, or digits of its hash.

    A folder that is merely called like a published test set does not make its images that test set.

    Example:
        >>> dataset_of({"labels": {"data": "fruits"}}, 3), dataset_of({"labels": {"data": "coco_val2017"}}, 3)
        ('fruits', 'data-unknown')
    """
    stated = _stated(card, n_images)
    if stated:
        return stated
    folder = str((card.get("labels") or {}).get("data") or "")
    if folder and slug(folder) not in _KNOWN_SETS.values():
        return folder
    return f"data-{str(card.get('data_sha256') or UNKNOWN)[:8]}"


def datasets_of(runs: Sequence[tuple[Mapping[str, Any], int | None]]) -> list[str]:
    """Names of the test sets of several runs, given as card and number of images: the same data have one name.

    Example:
        >>> one, two = ({"data_sha256": "5e1", "labels": {"data": name}} for name in ("fruits", "copy_of_fruits"))
        >>> datasets_of([(one, 3), (two, 3)])
        ['fruits', 'fruits']
    """
    first: dict[tuple[str, int | None], str] = {}
    for card, n_images in sorted(
        runs, key=lambda run: (not _stated(*run), not (run[0].get("labels") or {}).get("data"))
    ):
        if card.get("data_sha256"):
            first.setdefault((str(card["data_sha256"]), n_images), dataset_of(card, n_images))
    return [_stated(*run) or first.get((str(run[0].get("data_sha256")), run[1])) or dataset_of(*run) for run in runs]


def _stated(card: Mapping[str, Any], n_images: int | None) -> str:
    """A name that the card states, or that its size gives away; "" without."""
    labels = card.get("labels") or {}
    for name in ("dataset", "target"):
        if labels.get(name):
            return str(labels[name])
    metric = card.get("metric") or {}
    known = _KNOWN_SETS.get((n_images or 0, metric.get("n_classes") or 0, str(metric.get("scorer"))))
    return known or "" if card.get("limit") is None else ""


def method_of(card: Mapping[str, Any]) -> str:
    """The detector or segmenter, from a label or the config's name.

    Example:
        >>> method_of({"labels": {"config": "maskrcnn_r50_eps3_coco"}})
        'Mask R-CNN'
    """
    labels = card.get("labels") or {}
    if labels.get("method"):
        return str(labels["method"])
    head = re.split(r"[_-](?:r\d|x\d|s\d|swin|wrn|resnet|t_|b_)", str(labels.get("config") or ""))[0]
    return _METHODS.get(re.sub(r"[^a-z]", "", head.lower()), UNKNOWN)


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


def _nested(node: Any, *keys: str) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
