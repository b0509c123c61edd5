"""What may be compared: every field of a protocol card, and whether it is a matter of model, pixels or context.

    model     makes the number, and differs between two models by nature: weights, config
    pixels    makes the number, and must agree before two models are compared: images, corruptions, metric, arithmetic
    context   is recorded beside the number and makes none: versions, device, labels

Model and pixels make the key of a protocol, under which cells are stored. A field that has no row here counts as one of
the pixels, so that nothing unknown is compared unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODEL, PIXELS, CONTEXT = "model", "pixels", "context"
Card = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One field of a protocol card.

    Attributes:
        name: in the card.
        tag: `MODEL`, `PIXELS` or `CONTEXT`.
        words: what people call it.
        of_subset: it follows from which images `limit` leaves, so that a difference is not worth saying beside that.
    """

    name: str
    tag: str
    words: str
    of_subset: bool = False


FIELDS = {
    field.name: field
    for field in (
        # How the pixels came about.
        Field("corruption_engine", PIXELS, "corruption engine"),
        Field("corruption_engine_version", PIXELS, "engine version"),
        Field("channel_order", PIXELS, "channel order"),
        Field("corruption_seed", PIXELS, "corruption seed"),
        Field("corruption_at", PIXELS, "where the corruption acts"),
        Field("elastic_smoothing", PIXELS, "smoothing of elastic transform on large images"),
        Field("view", PIXELS, "view of the images"),
        Field("attack", PIXELS, "attack"),
        Field("norm_adaptation", PIXELS, "batch-norm statistics of the evaluated images"),
        Field("image_key", PIXELS, "what seeds an image"),
        Field("jpeg_quality", PIXELS, "JPEG quality of the exported files"),
        # Which images, and what they are scored against.
        Field("limit", PIXELS, "subset (--limit)"),
        Field("subset", PIXELS, "how the subset was drawn", of_subset=True),
        Field("n_images", PIXELS, "number of images", of_subset=True),
        Field("data_sha256", PIXELS, "annotations (data hash)", of_subset=True),
        Field("images_sha256", PIXELS, "content of the images (hash)", of_subset=True),
        # How the number is made of them.
        Field("metric", PIXELS, "metric definition or scorer"),
        Field("precision", PIXELS, "precision"),
        Field("batching", PIXELS, "batching"),
        # Of imports: by whom, and what their files leave open.
        Field("origin", PIXELS, "who evaluated"),
        Field("unknown", PIXELS, "what is not stated"),
        # The model.
        Field("model_name", MODEL, "name of the model"),
        Field("model_version", MODEL, "version of the model"),
        Field("weights_sha256", MODEL, "weights"),
        Field("config_sha256", MODEL, "config"),
        Field("predictions_sha256", MODEL, "predictions"),
        # Recorded only.
        Field("source", CONTEXT, "source weights"),
        Field("transfer", CONTEXT, "transfer mode"),
        Field("freeze_map", CONTEXT, "what was frozen"),
        Field("target", CONTEXT, "how the target was trained on"),
        Field("hardening", CONTEXT, "how training hardened the network"),
        Field("keeping", CONTEXT, "what training did to stay near its source"),
        Field("interpolation", CONTEXT, "what the weights lie between"),
        Field("checkpoint_file", CONTEXT, "checkpoint file"),
        Field("checkpoint_sha256", CONTEXT, "checkpoint"),
        Field("device", CONTEXT, "device"),
        Field("labels", CONTEXT, "names in tables"),
        Field("versions", CONTEXT, "versions of libraries"),
        Field("rtx", CONTEXT, "version of rtx"),
    )
}
_KEYLESS = frozenset(name for name, field in FIELDS.items() if field.tag == CONTEXT)


def protocol_key(card: Card) -> str:
    """Sha256 (hex) over the fields of a card that determine the numbers.

    Example:
        >>> protocol_key({"corruption_seed": 0, "device": "cpu"}) == protocol_key({"corruption_seed": 0})
        True
    """
    return hashlib.sha256(json.dumps(without_context(card), sort_keys=True, default=str).encode()).hexdigest()


def without_context(card: Card) -> dict[str, Any]:
    """The fields of a card that determine the numbers."""
    return {name: value for name, value in card.items() if name not in _KEYLESS}


def words(name: str) -> str:
    """The readable name of a field of a card."""
    return FIELDS[name].words if name in FIELDS else name


def pixels(card: Card) -> dict[str, Any]:
    """The fields of a card that must agree before two models are compared; what is None is left out.

    What else was scored beside the headline (`kinds`) does not touch it: the box AP of a detector with masks is
    comparable with that of one without.

    Example:
        >>> pixels({"corruption_seed": 0, "limit": None, "weights_sha256": "5e1", "metric": {"kinds": ["bbox"]}})
        {'corruption_seed': 0, 'metric': {}}
    """
    found = {n: v for n, v in card.items() if v is not None and (n not in FIELDS or FIELDS[n].tag == PIXELS)}
    if isinstance(metric := found.get("metric"), Mapping):
        found["metric"] = {name: value for name, value in metric.items() if name != "kinds"}
    return found


def differing(first: Card, second: Card) -> list[str]:
    """Names of the fields that keep two models from being compared; empty where their numbers are comparable.

    Where the subsets of images differ, what follows from that is left out.
    """
    one, two = pixels(first), pixels(second)
    names = [name for name in sorted(one.keys() | two.keys()) if _text(one.get(name)) != _text(two.get(name))]
    return without_subset(names) if "limit" in names else names


def without_subset(names: list[str]) -> list[str]:
    """Names of fields without those that follow from a subset of the images."""
    return [name for name in names if name not in FIELDS or not FIELDS[name].of_subset]


def stated(name: str, value: Any) -> str:
    """The value of a field of `pixels`, None where the card has none, short enough for a sentence.

    Example:
        >>> stated("limit", None), stated("origin", None), stated("precision", None), stated("precision", "fp32")
        ('all images', 'rtx', 'not stated', 'fp32')
    """
    if value is None:
        return {"limit": "all images", "origin": "rtx", "view": "none"}.get(name, "not stated")
    text = value if isinstance(value, str) else _text(value)
    return text if len(text) <= 48 else text[:45] + "..."


def _text(value: Any) -> str:
    """A value as JSON: a card in memory equals the one that was read from its file."""
    return json.dumps(value, sort_keys=True, default=str)
