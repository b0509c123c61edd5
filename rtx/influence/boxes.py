"""The classification head of a two-stage detector, with regions of images in the place of images.

Its last layer is a softmax over the classes and the background, on what the head's shared layers make of a region.
Training regions are the annotated boxes and the RPN's best proposals, with the labels that the head's assigner gives
them; in training, the head sees a random sample of such regions, so that its optimum is not quite that of these. Test
regions are the annotated boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray
from torch import Tensor, nn

from rtx.errors import BadValue
from rtx.evaluation.card import weights_sha256
from rtx.evaluation.sweep.batches import cut, shape_groups
from rtx.evaluation.sweep.forward import padding_divisor
from rtx.influence.head import SoftmaxHead

PROPOSALS = 32
"""Of each training image, by the RPN's score, beside its annotated boxes."""
BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of a data set.

    Attributes:
        features: (n, D) what the last layer reads.
        labels: (n,); the number of classes stands for the background.
        places: (n,) the image of each.
        boxes: (n, 4) left, top, right, bottom in the pixels that the network sees.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    boxes: NDArray[np.float32]

    def some(self, rows: NDArray[np.int64]) -> Regions:
        """Those rows."""
        return Regions(self.features[rows], self.labels[rows], self.places[rows], self.boxes[rows])


def classification_layer(model: Any, place: str) -> nn.Linear:
    """The linear layer of the box head that makes the logits.

    Raises:
        BadValue: there is none: no two-stage detector, a cascade, a sigmoid, or a layer of another kind.
    """
    head: Any = getattr(getattr(model, "roi_head", None), "bbox_head", None)
    layer = getattr(head, "fc_cls", None)
    if type(layer) is nn.Linear and layer.bias is not None and not getattr(head.loss_cls, "use_sigmoid", False):
        return layer
    raise BadValue(
        f"{place}: {type(model).__name__} has no box head with a linear softmax layer, on which influence in closed "
        "form rests; take a run of Faster or Mask R-CNN, or a classifier's"
    )


@torch.inference_mode()
def regions(model: Any, dataset: Any, *, proposals: int, batch_size: int, workers: int) -> Regions:
    """The annotated boxes of a built data set, and of each image so many proposals.

    Args:
        model: a two-stage detector of mmdet, in evaluation mode.
        dataset: in the steps of its test, with boxes.
        proposals: of each image; 0 for the annotated boxes alone.
        batch_size: images of a pass.
        workers: threads that decode.

    Raises:
        BadValue: no box is annotated.
    """
    layer = classification_layer(model, "the detector")
    parts: list[tuple[Tensor, Tensor, NDArray[np.int64], Tensor]] = []
    inputs: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, given, output: inputs.append(given[0].float().cpu()))
    try:
        with ThreadPoolExecutor(max(1, workers)) as pool:
            # Of one padded shape each: what an image is padded with beyond its own need changes its features.
            for numbers in cut(shape_groups(dataset, range(len(dataset)), padding_divisor(model)), batch_size):
                batch = model.data_preprocessor(pseudo_collate(list(pool.map(dataset.__getitem__, numbers))), False)
                boxes, labels = _labelled(model, batch, proposals)
                if sum(map(len, boxes)):
                    rois = [torch.cat([one.new_full((len(one), 1), n), one], 1) for n, one in enumerate(boxes)]
                    model.roi_head._bbox_forward(model.extract_feat(batch["inputs"]), torch.cat(rois))
                    places = np.repeat(np.array(numbers), [len(one) for one in boxes])
                    parts.append((inputs.pop(), torch.cat(labels).cpu(), places, torch.cat(boxes).cpu()))
    finally:
        hook.remove()
    if not parts:
        raise BadValue(f"none of the {len(dataset)} images has an annotated box")
    x, y, at, box = (list(column) for column in zip(*parts, strict=True))
    whole = Regions(torch.cat(x).numpy(), torch.cat(y).numpy(), np.concatenate(at), torch.cat(box).numpy())
    return whole.some(np.argsort(whole.places, kind="stable"))


def _labelled(model: Any, batch: Any, proposals: int) -> tuple[list[Tensor], list[Tensor]]:
    """Boxes (n, 4) and labels (n,) of each image."""
    from mmengine.structures import InstanceData

    samples = batch["data_samples"]
    background = model.roi_head.bbox_head.num_classes
    found: list[Any] = [None] * len(samples)
    if proposals:
        found = model.rpn_head.predict(model.extract_feat(batch["inputs"]), samples, rescale=False)
    boxes, labels = [], []
    for sample, proposed in zip(samples, found, strict=True):
        device = batch["inputs"].device
        # In the steps of a test boxes are loaded behind the resizing, and stay in the pixels of the file.
        scale = torch.tensor(tuple(sample.scale_factor) * 2, dtype=torch.float32, device=device)
        truth, ignored = (
            _scaled(part, scale) for part in (sample.gt_instances, getattr(sample, "ignored_instances", None))
        )
        boxes.append(truth.bboxes)
        labels.append(truth.labels)
        if proposed is None:
            continue
        best = proposed.bboxes[proposed.scores.argsort(descending=True)[:proposals]]
        given = model.roi_head.bbox_assigner.assign(InstanceData(priors=best), truth, ignored).gt_inds
        kept = given >= 0  # neither an object nor the background, or of a crowd
        owner = (given[kept] - 1).clamp_min(0)
        known = truth.labels[owner] if len(truth) else owner
        boxes[-1] = torch.cat([boxes[-1], best[kept]])
        labels[-1] = torch.cat([labels[-1], torch.where(given[kept] > 0, known, background)])
    return boxes, labels


def _scaled(instances: Any, scale: Tensor) -> Any:
    from mmengine.structures import InstanceData

    if instances is None or not len(instances):
        return InstanceData(bboxes=scale.new_zeros(0, 4), labels=torch.zeros(0, dtype=torch.long, device=scale.device))
    found = instances.bboxes
    plain = (found.tensor if hasattr(found, "tensor") else found).to(scale)
    return InstanceData(bboxes=plain * scale, labels=instances.labels.to(scale.device))


def box_head(
    model: Any,
    sets: dict[str, Any],
    *,
    decay: float,
    bias_decays: bool,
    choose: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    batch_size: int,
    workers: int,
    place: str,
) -> tuple[SoftmaxHead, Callable[[str, int], NDArray[np.uint8]], dict[str, Any]]:
    """The head with its regions, what gives the pixels of one, and what the card says.

    Args:
        model: see `regions`.
        sets: "train" and "test", built in the steps of the test.
        decay: weight decay of the layer, and `bias_decays`: of its bias too.
        bias_decays: see `decay`.
        choose: rows of the test regions by their labels.
        batch_size: images of a pass.
        workers: threads that decode.
        place: names the run in messages.

    Raises:
        BadValue: no linear layer, or no box.
    """
    layer = classification_layer(model, place)
    how: dict[str, Any] = dict(batch_size=batch_size, workers=workers)
    train = regions(model, sets["train"], proposals=PROPOSALS, **how)
    test = regions(model, sets["test"], proposals=0, **how)
    test = test.some(choose(test.labels))
    head = SoftmaxHead(
        layer.weight.detach().cpu().double().numpy(), layer.bias.detach().cpu().double().numpy(),
        train.features, train.labels, test.features, test.labels, decay, bias_decays,
    )  # fmt: skip

    def pixels(which: str, row: int) -> NDArray[np.uint8]:
        found = {"train": train, "test": test}[which]
        image = sets[which][int(found.places[row])]["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]
        left, top, right, bottom = found.boxes[row].round().astype(int).tolist()
        left, top = max(0, min(left, image.shape[1] - 1)), max(0, min(top, image.shape[0] - 1))
        part: NDArray[np.uint8] = np.ascontiguousarray(image[top : max(bottom, top + 1), left : max(right, left + 1)])
        return part

    card = {"weights": weights_sha256(model), "regions": "boxes and proposals by the assigner", "proposals": PROPOSALS}
    return head, pixels, card
