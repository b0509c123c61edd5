"""`torchvision:NAME`: detectors, segmenters and classifiers of torchvision, with the preprocessing of their weights."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.transforms import functional as pixels

from rtx.errors import WeightsMismatch, unknown_name
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.library import Asked, LibraryNetwork, PixelStep, label_maps, read_state, refusing, wrong_task
from rtx.evaluation.models.source_classifier import Normalised

log = logging.getLogger(__name__)

_MODULES = {Detector: models.detection, Segmenter: models.segmentation, Classifier: models}


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`; `NAME@ENTRY` is preprocessed as that entry of weights."""
    name, _, entry = asked.what.partition("@")
    module = _MODULES[asked.kind]
    choices = models.list_models(module=module)
    if name not in choices and any(name in models.list_models(module=other) for other in _MODULES.values()):
        raise wrong_task(asked, "does another task")
    if name not in choices:
        raise unknown_name("model", name, place=f"{module.__name__} of this torchvision", choices=choices)
    entries = {row.name: row for row in models.get_model_weights(name)}
    urls = " or ".join(row.url for row in entries.values())
    path = asked.file(f"torchvision's own are {urls}")
    if entry and entry not in entries:
        raise unknown_name("entry of weights", entry, place=f"torchvision's for {name}", choices=entries)
    by_file = next((row for row in entries.values() if path.name == row.url.rpartition("/")[2]), None)
    chosen = entries[entry] if entry else by_file or models.get_model_weights(name).DEFAULT
    log.info("%s: preprocessing of torchvision's %s", name, chosen.name)

    background = () if asked.kind is Classifier else ("__background__",)
    names = (*background, *asked.classes) if asked.classes else tuple(chosen.meta["categories"])
    version = f"torchvision {torchvision.__version__}, {chosen.name}"
    fault = (
        f"{path} does not fit torchvision's {name} with {len(names)} classes"
        f"{' (background included)' if background else ''}; a model with classes of its own needs --model-classes "
        "NAME ..., in the order of its labels"
    )
    state = read_state(path)
    with refusing(asked, fault, WeightsMismatch):
        network = _built(name, asked.kind, chosen, state, names)
    how: Any = chosen.transforms()
    if asked.kind is Segmenter:
        return asked.adapter(TorchvisionSegmenter(network, how), names, version)
    if asked.kind is Detector:
        masks = "maskrcnn" in name
        return asked.adapter(TorchvisionDetector(network), names, version, inputs="tensor", masks=masks)
    prepare = [PixelStep(partial(_resized, how), repr(how))]
    return asked.adapter(Normalised(network, how.mean, how.std), names, version, inputs="tensor", prepare=prepare)


def _built(
    name: str, kind: type[Adapter], chosen: WeightsEnum, state: dict[str, Tensor], names: tuple[str, ...]
) -> Any:
    """The network with its weights.

    With published weights a builder makes another network than without: other batch norms and epsilons, transposed
    inputs, auxiliary heads. So it is given a published entry that stands for the file. Built plainly are detectors that
    were trained from scratch, which their counters of batches tell, and segmenters, whose auxiliary head may be absent.
    """
    if kind is Segmenter:
        aux = {"aux_loss": any(key.startswith("aux_classifier.") for key in state)} if "lraspp" not in name else {}
        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=len(names), **aux)
    elif kind is Detector and any(key.endswith("num_batches_tracked") for key in state):
        network = models.get_model(name, weights=None, weights_backbone=None, num_classes=len(names))
    else:
        own = patch.object(WeightsEnum, "get_state_dict", lambda *args, **options: state)
        with own, patch.dict(chosen.meta, categories=list(names)):
            return models.get_model(name, weights=chosen)
    network.load_state_dict(state, strict=True)
    return network


class TorchvisionDetector(LibraryNetwork):
    """Boxes, and masks where it has them, as torchvision's reference evaluation takes them."""

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Boxes in pixels of each image, RGB (N, 3, H, W) in [0, 1]."""
        found: list[dict[str, Tensor]] = self.network(list(images))
        return [{**row, "masks": row["masks"][:, 0] > 0.5} if "masks" in row else row for row in found]


class TorchvisionSegmenter(LibraryNetwork):
    """Label maps: the class scores at the size that the weights ask for, enlarged to the image."""

    def __init__(self, network: nn.Module, transforms: Any) -> None:
        super().__init__(network)
        self.transforms = transforms

    def forward(self, images: list[Any]) -> list[Tensor]:
        """A label map (H, W) for each image, RGB uint8 (H, W, 3), all of one size."""
        inputs = torch.stack([self.transforms(Image.fromarray(image)) for image in images])
        return label_maps(self.network(inputs.to(self.device))["out"], images[0].shape[:2])


def _resized(how: Any, image: Any) -> Any:
    """An image, RGB uint8 (H, W, 3), resized and cropped as the classifiers' transforms do it."""
    options = dict(interpolation=how.interpolation, antialias=how.antialias)
    return pixels.center_crop(pixels.resize(Image.fromarray(image), how.resize_size, **options), how.crop_size)
