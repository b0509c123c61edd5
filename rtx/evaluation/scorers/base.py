"""The base of all scorers, and reading values out of OpenMMLab's samples and configs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from rtx.errors import BadValue
from rtx.metrics.metric import Metric


class Scorer(Metric):
    """A metric that is fed with what OpenMMLab models return.

    Attributes:
        keep: set it before the first image where `predictions` will be asked for; label maps are forgotten otherwise.
        reads_annotations: whether `process` takes the ground truth from the samples, so that they must have it.
    """

    keep: bool = False
    reads_annotations: ClassVar[bool] = True

    def reset(self) -> None:
        """Forget every prediction."""
        super().reset()
        self._kept: list[Any] = []

    @classmethod
    @abstractmethod
    def from_config(cls, evaluator: Mapping[str, Any], dataset: Any) -> Scorer:
        """The scorer that a config asks for.

        Args:
            evaluator: its `test_evaluator`.
            dataset: the built test set.

        Raises:
            UnknownName, BadValue: it asks for something else than the standard metric.
            DataError: the ground truth cannot be read.
        """

    @abstractmethod
    def process(self, data_samples: Sequence[Any]) -> None:
        """Take what `model.test_step` returned for a batch.

        Raises:
            BadValue: an image comes a second time, or the predictions do not fit the data set.
        """

    @abstractmethod
    def predictions(self) -> tuple[str, bytes]:
        """Suffix and content of a file from which these images can be scored again without inference.

        Raises:
            BadValue: `keep` was not set, see `_all_kept`.
        """

    def _all_kept(self) -> list[Any]:
        """What was kept of each image where the metric itself forgets it."""
        if len(self._kept) != self.n_images:
            raise BadValue("predictions were not kept; set `keep` before the first image")
        return self._kept

    @abstractmethod
    def data_sha256(self, infos: Iterable[Mapping[str, Any]]) -> str:
        """Sha256 over the ground truth of images, see `rtx.metrics.metric.truth_sha256`.

        Args:
            infos: what the data set's `get_data_info` says of each.
        """


def array(tensor: Any) -> Any:
    """Tensor on any device -> numpy array; numpy has no bfloat16, which autocast may leave behind."""
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    plain = tensor.detach().cpu()
    return (plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy()


def floats(tensor: Any) -> Any:
    """Tensor -> float32 numpy array."""
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
