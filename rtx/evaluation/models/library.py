"""What the files of all libraries share: the model that is asked for, its weights, its network, its pixels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from rtx.errors import BadValue, RtxError, WeightsError, printable
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.class_names import distinct
from rtx.sources.reading.read import read_checkpoint


@dataclass(frozen=True)
class Asked:
    """The model that is asked for.

    Attributes:
        spec: all of it, e.g. `torchvision:resnet50`.
        what: what stands behind the colon.
        kind: what the data can score: `Detector`, `Segmenter` or `Classifier`.
        weights: the file of `--weights`.
        classes: names of the model's classes that were given, in the order of its labels; empty for the library's.
        device: where the model goes.
        class_map: see `Adapter`.
    """

    spec: str
    what: str
    kind: type[Adapter]
    weights: Path | None = None
    classes: tuple[str, ...] = ()
    device: str = "cpu"
    class_map: Mapping[str, str] = field(default_factory=dict)

    def file(self, where: str) -> Path:
        """The file of `--weights`.

        Raises:
            BadValue: there is none; `where` says which it could be.
        """
        if self.weights is None:
            raise BadValue(f"--model {self.spec}: give --weights FILE; {where}")
        return self.weights

    def place(self) -> Path:
        """What stands behind the colon, where that holds the weights too.

        Raises:
            BadValue: `--weights` is given beside it.
        """
        if self.weights is not None:
            raise BadValue(f"--model {self.spec}: holds its weights itself; leave --weights away")
        return Path(self.what).expanduser()

    def names(self, own: Mapping[int, object] | Sequence[str], count: int) -> tuple[str, ...]:
        """The names of the model's `count` classes: those that were given, else its own, by label or in their order.

        Raises:
            BadValue: there are more or fewer names than classes.
        """
        if isinstance(own, Mapping):
            own = [str(own[label]) for label in range(count) if label in own]
        found = self.classes or tuple(own)
        if len(found) != count:
            raise BadValue(
                f"--model {self.spec}: {len(found)} class names for a model of {count} classes; name them: "
                "--model-classes NAME ..., in the order of its labels"
            )
        return found

    def adapter(self, network: nn.Module, classes: Sequence[str], version: str, **options: Any) -> Adapter:
        """The adapter around a module, which takes a list of RGB uint8 arrays (H, W, 3) if `options` name no other."""
        shared: dict[str, Any] = dict(name=self.spec, version=version, inputs="arrays", class_map=self.class_map)
        return self.kind(network.to(self.device).eval(), distinct(classes), **{**shared, **options})


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a file: a bare state dict, or one under `model`, `state_dict` or `model_state_dict`.

    Raises:
        WeightsError: it cannot be read without running code from it, or holds no weights.
    """
    content = read_checkpoint(path)
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)} if content else {}
    if not tensors:
        raise WeightsError(f"weights {str(path)!r} hold no state dict; save model.state_dict()")
    return {re.sub(r"^module\.", "", key): value for key, value in tensors.items()}


class WrongTask(BadValue):
    """A model that does another task than the data are asked to score."""


def wrong_task(asked: Asked, does: str) -> WrongTask:
    """The error of a model that does another task than the data score."""
    wanted = {Detector: "boxes", Segmenter: "label maps", Classifier: "classes of images"}[asked.kind]
    return WrongTask(f"--model {asked.spec}: {does}, but the data of --data-root score {wanted}; give data of its task")


@contextmanager
def refusing(asked: Asked, what: str, kind: type[RtxError] = BadValue) -> Iterator[None]:
    """While it lasts, what goes wrong in a library is an error of rtx, which says `what`, and why in its own words.

    Raises:
        RtxError: of that `kind`; errors of rtx pass as they are.
    """
    try:
        yield
    except RtxError:
        raise
    except Exception as error:
        why = printable(" ".join(f"{type(error).__name__}: {error}".split()))
        raise kind(f"--model {asked.spec}: {what} ({why[:500]})") from error


def digits(settings: str) -> str:
    """Twelve digits that tell these settings from others, for the version of a model."""
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


class LibraryNetwork(nn.Module):
    """A network of a library; a subclass runs it on images as that library does.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.parameters()).device


def label_maps(scores: torch.Tensor, size: tuple[int, int]) -> list[torch.Tensor]:
    """Label maps (H, W) of that size, of class scores (N, classes, h, w) that are enlarged to it."""
    return list(interpolate(scores, size, mode="bilinear", align_corners=False).argmax(1))


class PixelStep:
    """The part of a classifier's preprocessing that is done on uint8 pixels, so that what it gives can be corrupted.

    Args:
        resized: RGB uint8 (H, W, 3) -> the same, resized and cropped.
        settings: tells it from others.
    """

    def __init__(self, resized: Callable[[Any], Any], settings: str) -> None:
        self.resized, self.settings = resized, settings

    def __repr__(self) -> str:
        return self.settings

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize and crop `results["img"]`.

        Raises:
            BadValue: what comes out is no uint8 image.
        """
        image = np.asarray(self.resized(results["img"]))
        if image.dtype != np.uint8 and (image != np.round(image)).any():
            raise BadValue(
                f"preprocessing {self.settings[:200]} gives {image.dtype}, which cannot be corrupted as pixels"
            )
        image = np.ascontiguousarray(image.astype(np.uint8))
        return {**results, "img": image, "img_shape": image.shape[:2]}
