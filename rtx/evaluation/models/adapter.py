"""The base of adapters: the interface of a sweep around a function or a torch module."""

from __future__ import annotations

import inspect
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.dist import is_main_process
from torch import nn

from rtx.errors import BadValue, unknown_name
from rtx.evaluation.models.class_names import mapping_text, match_names
from rtx.evaluation.models.folders import Held
from rtx.evaluation.scorers.base import Scorer

log = logging.getLogger(__name__)

INPUTS = ("arrays", "tensor")
Function = Callable[[Any], Any]
Loss = Callable[[torch.Tensor, list[dict[str, torch.Tensor]]], torch.Tensor]


class Adapter(nn.Module, ABC):
    """The base of all adapters: the interface of a sweep around a function.

    Args:
        fn: takes the images of a batch, returns one result for each; a torch module is called in evaluation mode.
        classes: the names of the classes in the order of the function's labels.
        name: tells this model from others; needed for a function, the class's name for a torch module when None.
        version: tells this state of it from others. Give another one whenever the answers change and the weights do not
            (thresholds, sizes, code that is called): finished cells are kept under name, version and weights.
        loss: what an attack raises, see `rtx.evaluation.pixels.attacked`: (pixels (N, 3, H, W) in [0, 1], RGB, with
            gradient; for each image a dict of its truth, see `truth`) -> one loss for each image, (N,). None for the
            usual one, which takes the module's scores for logits.
        inputs: `arrays`: a list of RGB uint8 arrays (H, W, 3); `tensor`: one float tensor (N, 3, H, W), RGB in [0, 1],
            on the module's device.
        class_map: how the model's classes are found among those of the data. None: by equal names, and the model must
            have each class of the data. A mapping: this model's class is that one of the data; the others by name, see
            `match_names`; classes of the data that are left over are never predicted.

    Raises:
        BadValue: no class, a class twice, or a function without a name.
        UnknownName: no such kind of input.
    """

    scope: ClassVar[str]
    layouts: ClassVar[tuple[str, ...]]
    returns: ClassVar[str]
    again: Callable[[Mapping[str, Any]], tuple[Callable[..., Adapter], tuple[Any, ...]]] | None = None
    """From its weights to what makes it again, with arguments, where its code cannot be sent to another process."""

    def __init__(
        self,
        fn: Function,
        classes: Sequence[str],
        *,
        name: str | None = None,
        version: str | None = None,
        inputs: str | None = None,
        class_map: Mapping[str, str] | None = None,
        loss: Loss | None = None,
    ) -> None:
        super().__init__()
        inputs = inputs or ("tensor" if isinstance(fn, nn.Module) else "arrays")
        if inputs not in INPUTS:
            raise unknown_name("kind of input", inputs, place="rtx.evaluation.models.adapter.INPUTS", choices=INPUTS)
        self.classes = tuple(str(c) for c in classes)
        if not self.classes:
            raise BadValue("classes: there is none; name each class once, in the order of the labels")
        if len(set(self.classes)) != len(self.classes):
            twice, count = Counter(self.classes).most_common(1)[0]
            raise BadValue(
                f"classes: {twice!r} is there {count} times of {len(self.classes)}; name each class once, in the order "
                "of the labels (labels that are in use for nothing, as in torchvision's 91 categories, need names too)"
            )
        if not isinstance(fn, nn.Module) and not name:
            raise BadValue(
                "a function has no weights that tell it from another one: give name=..., and another version=... "
                "whenever its answers change, since finished cells are kept under them"
            )
        self.fn, self.name, self.version, self.inputs = fn, name or type(fn).__qualname__, version, inputs
        self.class_map, self.own_classes = class_map, self.classes
        self.loss = loss
        self._labels: Any = np.arange(len(self.classes))
        if not any(True for _ in self.parameters()):
            self.nothing = nn.Parameter(torch.zeros(0), requires_grad=False)  # the sweep asks where the model lies

    def card(self) -> dict[str, str | None]:
        """Fields of the protocol card that tell this model from others, beside the hash of its weights."""
        return {"model_name": self.name, "model_version": self.version}

    def identity(self) -> dict[str, Any]:
        """Hashed instead of a model config: the name of the function, and its source code where there is one."""
        try:
            source = inspect.getsource(type(self.fn) if isinstance(self.fn, nn.Module) else self.fn)
        except (OSError, TypeError):
            source = None
        return {"type": f"rtx.{type(self).__name__}", "inputs": self.inputs, "classes": self.classes, "code": source}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """How another process gets it: as it is, or opened there again with these weights and the data's classes."""
        if self.again is None:
            return super().__reduce_ex__(protocol)
        return *self.again(self.state_dict()), {"classes": self.classes, "_labels": self._labels}

    @abstractmethod
    def scorer(self, held: Held) -> Scorer:
        """What scores its answers on a data folder."""

    def preparation(self) -> list[Any]:
        """Pipeline steps between loading an image and handing it over."""
        return []

    def match(self, names: Sequence[str]) -> None:
        """Call the model's classes as the data do, and log which is which; nothing without a `class_map`.

        Raises:
            UnknownName, BadValue: see `match_names`.
        """
        if self.class_map is None:
            return
        matched = match_names(self.own_classes, names, self.class_map)
        self.classes = tuple(matched.get(name, name) for name in self.own_classes)
        if is_main_process():
            log.info("%s", mapping_text(self.own_classes, names, matched))

    def bind(self, names: Sequence[str]) -> None:
        """Say which classes the data set has, in its own order; other classes of the function are then left out.

        Raises:
            BadValue: the function does not know one of them, and there is no `class_map`.
        """
        absent = [name for name in names if name not in self.classes] if self.class_map is None else []
        if absent:
            raise BadValue(
                f"{len(absent)} of the {len(names)} classes of the data are none of the model's, the first is "
                f"{absent[0]!r} (the model's: {', '.join(self.classes[:8])}); name them alike, or give the "
                "classes that count as classes=[...]"
            )
        index = {name: n for n, name in enumerate(names)}
        self._labels = np.array([index.get(name, -1) for name in self.classes])

    def truth(self, sample: Any) -> dict[str, torch.Tensor]:
        """What is true of an image, in the order of the function's own classes, on the device of the module.

        Returns:
            `labels`: of a classifier (1,), of a detector (n,), of a segmenter a map (1, H, W) with 255 where nothing
            counts; `boxes` of a detector (n, 4), left, top, right, bottom.
        """
        where = next(self.parameters()).device
        if "gt_label" in sample:
            return {"labels": torch.as_tensor(sample.gt_label).flatten().to(where)}
        # The data's order -> the function's; what the function does not know counts nowhere.
        own = np.full(256, 255)
        for mine, theirs in enumerate(self._labels):
            if theirs >= 0:
                own[theirs] = mine
        table = torch.from_numpy(own).to(where)
        if "gt_sem_seg" in sample:
            return {"labels": table[sample.gt_sem_seg.data.long().to(where)]}
        found = sample.gt_instances
        return {"boxes": found.bboxes.to(where), "labels": table[found.labels.to(where)]}

    def test_step(self, batch: Mapping[str, Any]) -> list[Any]:
        """Predict a batch of the sweep; `inputs` are RGB uint8 tensors (3, H, W).

        Raises:
            BadValue: the function returned something that does not fit; image and remedy are named.
        """
        samples, pixels = list(batch["data_samples"]), list(batch["inputs"])
        if self.inputs == "tensor":
            where = next(self.parameters())
            images: Any = torch.stack([image.contiguous() for image in pixels]).to(where.device).float() / 255
        else:
            # Copies, so that a function may draw into them or keep them, whatever memory the loaders share.
            images = [image.permute(1, 2, 0).numpy().copy() for image in pixels]
        found = self.fn(images)
        try:
            rows = None if isinstance(found, Mapping) else list(found)
        except TypeError:
            rows = None
        if rows is None or len(rows) != len(samples):
            what = type(found).__name__ if rows is None else f"{len(rows)} results"
            raise BadValue(
                f"{self.name} returned {what} for {len(samples)} images, the first is {samples[0].img_path}; "
                f"return a list with {self.returns} for each image"
            )
        for sample, row, image in zip(samples, rows, pixels, strict=True):
            self._fill(sample, row, (int(image.shape[1]), int(image.shape[2])))
        return samples

    @abstractmethod
    def _fill(self, sample: Any, row: Any, size: tuple[int, int]) -> None:
        """Put what the function returned for an image of (height, width) into its data sample."""

    def _fault(self, sample: Any, text: str) -> BadValue:
        return BadValue(f"image {str(sample.img_path)!r}: {self.name} returned {text}")

    def _known(self, sample: Any, labels: Any) -> Any:
        """Labels in the data set's order, -1 for classes that it does not have."""
        if labels.dtype.kind not in "iufb":
            first = str(labels.reshape(-1)[0])
            raise self._fault(sample, f"the label {first!r}, which is no number; return indices into classes")
        if not np.issubdtype(labels.dtype, np.integer):
            if not np.isfinite(labels).all() or (labels != np.round(labels)).any():
                raise self._fault(sample, f"labels of type {labels.dtype} that are no whole numbers; return indices")
            labels = labels.astype(np.int64)
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise self._fault(
                sample,
                f"labels {labels.min()} to {labels.max()} of {len(self.classes)} classes; labels are indices into "
                "classes and start at 0, there is none for the background",
            )
        return self._labels[labels]
