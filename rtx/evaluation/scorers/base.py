"""What every scorer does, and reading values out of OpenMMLab's samples and configs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rtx.errors import BadValue, unknown_name
from rtx.metrics.per_image import Evidence


class Scorer(ABC):
    """Collects predictions of one condition after the other.

    Attributes:
        metrics: names that `compute` returns, always the same ones.
        headline: the one that P, mPC and rPC are made of.
        keep: set it before the first image where `predictions` will be asked for; label maps are forgotten otherwise.
        class_names: of the classes, in the order in which its evidence numbers them; empty where it knows none.
        label_names: of the classes, in the order of the labels; empty where it is that of the data set.
    """

    metrics: tuple[str, ...]
    headline: str
    keep: bool = False
    class_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()

    def __init__(self, metrics: Iterable[str], headline: str) -> None:
        self.metrics = tuple(metrics)
        if headline not in self.metrics:
            raise unknown_name("headline metric", headline, place="the metrics of this evaluator", choices=self.metrics)
        self.headline = headline
        self._seen: set[Any] = set()
        self._broken: set[Any] = set()

    @property
    def n_images(self) -> int:
        """How many images were processed since the last reset."""
        return len(self._seen)

    def reset(self) -> None:
        """Forget every prediction; the ground truth stays."""
        self._seen = set()
        self._broken = set()

    @abstractmethod
    def process(self, data_samples: Sequence[Any]) -> None:
        """Take what `model.test_step` returned for a batch.

        Raises:
            BadValue: an image comes a second time, or the predictions do not fit the data set.
        """

    @abstractmethod
    def card(self) -> dict[str, Any]:
        """The definition of the numbers, for the protocol card."""

    def flags(self) -> list[str]:
        """Remarks that belong beside the numbers, e.g. "no predictions"."""
        return not_finite(len(self._broken))

    @abstractmethod
    def evidence(self) -> Evidence:
        """What intervals are made of, for the images processed since the last reset."""

    @abstractmethod
    def predictions(self) -> tuple[str, bytes]:
        """Suffix and content of a file from which these images can be scored again without inference.

        Raises:
            BadValue: `keep` was not set.
        """

    @abstractmethod
    def _scores(self) -> dict[str, float]: ...

    def compute(self) -> dict[str, float]:
        """Every metric over the images processed since the last reset: fractions, NaN where undefined.

        Raises:
            BadValue: no image was processed.
        """
        if not self._seen:
            raise BadValue("no image was processed: there is nothing to score")
        found = self._scores()
        return {name: found[name] for name in self.metrics}

    def _count(self, image_id: Any) -> None:
        if image_id in self._seen:
            raise BadValue(f"image {image_id!r} was scored twice; a sampler that pads must be trimmed")
        self._seen.add(image_id)


def not_finite(n_images: int) -> list[str]:
    """The remark on predictions that were NaN or infinite and so count as not made, if there are any.

    Example:
        >>> not_finite(0), not_finite(3)
        ([], ['3 images with non-finite predictions'])
    """
    return [f"{n_images} image{'s' if n_images > 1 else ''} with non-finite predictions"] if n_images else []


def array(tensor: Any) -> Any:
    """Tensor on any device -> numpy array."""
    return tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)


def floats(tensor: Any) -> Any:
    """Tensor -> float32 numpy array; numpy has no bfloat16, which autocast may leave behind."""
    return array(tensor.float() if hasattr(tensor, "float") else np.asarray(tensor, np.float32))


def listed(value: Any) -> tuple[Any, ...]:
    """One value or a list of them -> tuple."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def refuse(evaluator: Mapping[str, Any], key: str, reason: str) -> None:
    """Refuse an evaluator setting that would change what the number means.

    Raises:
        BadValue: the setting is there.
    """
    if evaluator.get(key) is not None:
        raise BadValue(f"test_evaluator {key}={evaluator[key]!r} is not supported: {reason}; remove it")
