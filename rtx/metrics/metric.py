"""The base of all metrics: images are added one by one, live or from files; then it gives scores, evidence and card."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, unknown_name
from rtx.metrics.per_image import Evidence


class Metric(ABC):
    """Collects the predictions of one cell after the other; each metric has an `add` of its own.

    Attributes:
        metrics: names that `compute` returns, always the same ones.
        headline: the one that P, mPC and rPC are made of.
        class_names: of the classes, in the order in which its evidence numbers them; empty where it knows none.
        label_names: of the classes, in the order of the labels; empty where it is that of `class_names`.
    """

    metrics: tuple[str, ...]
    headline: str
    class_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()

    def __init__(self, metrics: Iterable[str], headline: str) -> None:
        self.metrics = tuple(metrics)
        if headline not in self.metrics:
            raise unknown_name("headline metric", headline, place="the metrics of this evaluator", choices=self.metrics)
        self.headline = headline
        self.reset()

    def reset(self) -> None:
        """Forget every prediction; the ground truth stays."""
        self._images: dict[Any, Any] = {}
        self._broken: set[Any] = set()
        self._matched: Any = None

    @property
    def n_images(self) -> int:
        """How many images were added since the last reset."""
        return len(self._images)

    def _add(self, image: Any, prediction: Any, *, broken: bool = False) -> None:
        """Keep what an image adds; `broken` where some of its predictions were NaN or infinite and do not count."""
        if image in self._images:
            raise BadValue(
                f"image {image!r} was scored twice: a list or annotation file names it twice, two files differ in "
                "their suffix alone, the test set is repeated (RepeatDataset, ClassBalancedDataset), or a sampler "
                "pads; each image must come once"
            )
        self._images[image] = prediction
        self._matched = None
        if broken:
            self._broken.add(image)

    def compute(self) -> dict[str, float]:
        """Every metric over the images added since the last reset: fractions, NaN where undefined.

        Raises:
            BadValue: no image was added.
        """
        if not self._images:
            raise BadValue("no image was processed: there is nothing to score")
        found = self._scores()
        return {name: found[name] for name in self.metrics}

    def flags(self) -> list[str]:
        """Remarks that belong beside the numbers, e.g. "no predictions"."""
        n = len(self._broken)
        return [f"{n} image{'s' if n > 1 else ''} with non-finite predictions"] if n else []

    def diagnosis(self) -> dict[str, Any]:
        """What the scores are lost to, and how far confidences are right, as JSON values; {} where nothing is known.

        `errors` and `calibration`, each with what `rtx.metrics.errors` and `rtx.metrics.calibration` say. It makes no
        score, and states its own version, so that the protocol card does not know it.
        """
        return {}

    @abstractmethod
    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""

    @abstractmethod
    def evidence(self) -> Evidence:
        """Evidence for intervals, of the images added since the last reset."""

    @abstractmethod
    def _scores(self) -> dict[str, float]: ...


def ratio(part: Any, whole: Any, otherwise: float = math.nan) -> NDArray[np.float64]:
    """Part / whole where the whole is above 0."""
    found: NDArray[np.float64] = np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)
    return found


def truth_sha256(images: Iterable[tuple[str, Any]]) -> str:
    """Sha256 over ground truth: `data_sha256` of the protocol card, of live and of offline scoring.

    Args:
        images: name of each evaluated image, and what is true of it as JSON-ready values; in any order.
    """
    rows = sorted(json.dumps(row, sort_keys=True, default=_text) for row in images)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
