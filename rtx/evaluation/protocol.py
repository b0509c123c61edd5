"""The options of an evaluation, each in one place: default, help, check, and where the protocol card states it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rtx.corruptions import DEFAULT_ENGINE, ENGINES
from rtx.corruptions.settings import CHANNEL_ORDERS
from rtx.datasets.views import View
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.norm_adaptation import NormAdaptation
from rtx.results.conditions import grid
from rtx.types import SEVERITIES, Condition

PLACES = ("original_resolution", "network_input")
"""Right after the image loader, or behind everything that resizes and crops, before normalising and packing."""


def _option(default: Any, text: str, *, card: str | None = None, **flag: Any) -> Any:
    """One option.

    Args:
        default: its value where nothing is asked for.
        text: the help text.
        card: the field of the protocol card that states it, whose tag `rtx.results.protocol.FIELDS` has; None where it
            changes no number.
        flag: what argparse wants to know.
    """
    return field(default=default, metadata={"help": text, "card": card, "flag": flag})


@dataclass(frozen=True)
class Protocol:
    """How a model is evaluated. A command line, a hook and the adapters take the same options; see each one's help.

    `corruptions` and `severities` may be any sequences. `corruption_at` None is the practice of the model's task.
    `cache` None keeps decoded images where memory allows, see `rtx.evaluation.sweep.keep`.
    `view` None is what the model's own config says.
    `batch_size` None is 1, on a GPU what a probe finds, see `rtx.evaluation.sweep.batch_size`.
    `workers` None is what suits the machine, see `rtx.evaluation.sweep.batches.loaders`.

    Raises:
        UnknownName: no such corruption or group, engine, channel order or place.
        BadValue: a number out of range, or a view of another form.
    """

    corruptions: tuple[str, ...] = _option(("benchmark",), "names or groups", nargs="+", metavar="NAME")
    severities: tuple[int, ...] = _option(SEVERITIES, "1 to 5", nargs="+", type=int, metavar="S")
    limit: int | None = _option(
        None, "evaluate a seeded subset of this many images (labelled PREVIEW)", card="limit", type=int
    )
    seed: int = _option(0, "seed of the corruptions and of the subset", card="corruption_seed", type=int)
    batch_size: int | None = _option(
        None, "images a forward pass; default: 1, on a GPU what a short probe finds best", type=int
    )
    workers: int | None = _option(
        None, "loader processes; default: by the processors there are (on a GPU all but one, up to 16)", type=int
    )
    cache: float | None = _option(
        None,
        "gigabytes for decoded images, so that a sweep decodes each once (0: none); default: all of them where they "
        "take a quarter of the memory and half of the free disk at most",
        type=float,
        metavar="GB",
    )
    engine: str = _option(
        DEFAULT_ENGINE, "what makes the pixels", card="corruption_engine", choices=tuple(sorted(ENGINES))
    )
    channel_order: str = _option("rgb", "what corruptions are given", card="channel_order", choices=CHANNEL_ORDERS)
    corruption_at: str | None = _option(
        None,
        "where corruptions act; classifiers: network_input (after resize and crop), others: original_resolution",
        card="corruption_at",
        choices=PLACES,
    )
    view: str | None = _option(
        None,
        "what is seen of each image: downscale:N (short side), downscale:HxW, lowpass:keepN, lowpass:dropN, none; "
        "default: what the model was trained on",
        card="view",
        metavar="VIEW",
    )
    adapt_norm: str | None = _option(
        None,
        "batch-norm statistics of each cell's own images instead of those of training: IMAGES or IMAGES:PRIOR; another "
        "protocol",
        card="norm_adaptation",
        metavar="N[:PRIOR]",
    )
    amp: bool = _option(False, "autocast the forward pass; named in the protocol card", card="precision")
    channels_last: bool = _option(False, "weights in that memory format; named in the protocol card", card="precision")
    keep_predictions: bool = _option(False, "write predictions/ too, for `rtx score`")
    resamples: int = _option(1000, "resamplings of the images for intervals; 0 for none", type=int, metavar="N")

    def __post_init__(self) -> None:
        """Refuse what no evaluation can do, before anything is loaded."""
        object.__setattr__(self, "corruptions", tuple(self.corruptions))
        object.__setattr__(self, "severities", tuple(self.severities))
        self.conditions()
        if self.view is not None:
            View.parse(self.view)
        if self.adapt_norm is not None:
            NormAdaptation.parse(self.adapt_norm)
        if self.limit is not None and self.limit < 1:
            raise BadValue(f"--limit {self.limit}: must be 1 or more")
        if self.batch_size is not None and self.batch_size < 1:
            raise BadValue(f"--batch-size {self.batch_size}: must be 1 or more")
        if self.workers is not None and self.workers < 0:
            raise BadValue(f"--workers {self.workers}: must be 0 (load in the process itself) or more")
        if self.cache is not None and not 0 <= self.cache < math.inf:
            raise BadValue(f"--cache {self.cache}: must be 0 (keep no decoded image) or more gigabytes")
        if not 0 <= self.resamples <= 100_000:
            raise BadValue(f"--resamples {self.resamples}: must be 0 (no intervals) to 100000")
        for option in fields(self):
            value, choices = getattr(self, option.name), option.metadata["flag"].get("choices")
            if choices and value is not None and value not in choices:
                name = option.name.replace("_", " ")
                raise unknown_name(name, value, place="rtx.evaluation.protocol.Protocol", choices=choices)

    def conditions(self) -> tuple[Condition, ...]:
        """The cells that are wanted, clean first."""
        return grid(self.corruptions, self.severities)

    def with_options(self, options: Mapping[str, Any]) -> Protocol:
        """A copy with other values of some options.

        Raises:
            BadValue: an option has no such name.
        """
        known = [option.name for option in fields(self)]
        if unknown := sorted(set(options) - set(known)):
            raise BadValue(f"an evaluation has no option {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return replace(self, **options)
