"""`transformers:FOLDER`: models of Hugging Face transformers from a folder with safetensors; nothing is downloaded."""

from __future__ import annotations

import json
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from torchvision.ops import masks_to_boxes

from rtx.errors import BadValue, WeightsError, WeightsMismatch, some
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.library import Asked, LibraryNetwork, PixelStep, digits, refusing, wrong_task

Sizes = list[tuple[int, int]]
_LOCAL: dict[str, Any] = dict(local_files_only=True, trust_remote_code=False)


def _boxes(processor: Any, found: Any, sizes: Sizes) -> Any:
    """Boxes of every query, as examples/pytorch/object-detection scores them: without a threshold."""
    return processor.post_process_object_detection(found, 0.0, sizes)


def _instances(processor: Any, found: Any, sizes: Sizes) -> Any:
    """Masks of every query, and the boxes around them."""
    options = dict(threshold=0.0, target_sizes=sizes, return_binary_maps=True)
    for row in processor.post_process_instance_segmentation(found, **options):
        segments = row["segments_info"]
        masks = row["segmentation"].bool() if segments else torch.zeros(0, 1, 1, dtype=torch.bool)
        boxes = masks_to_boxes(masks)
        boxes[:, 2:] += 1  # from the last pixel inside to the edge
        scores, labels = ([segment[key] for segment in segments] for key in ("score", "label_id"))
        yield dict(boxes=boxes, scores=np.array(scores, np.float32), labels=np.array(labels, np.int64), masks=masks)


def _maps(processor: Any, found: Any, sizes: Sizes) -> Any:
    """Label maps in the size of the image."""
    return processor.post_process_semantic_segmentation(found, target_sizes=sizes)


def _logits(processor: Any, found: Any, sizes: Sizes) -> Any:
    return found.logits


_TASKS: dict[str, dict[type[Adapter], Any]] = {
    "ForObjectDetection": {Detector: _boxes},
    "ForInstanceSegmentation": {Detector: _instances, Segmenter: _maps},
    "ForUniversalSegmentation": {Detector: _instances, Segmenter: _maps},
    "ForSemanticSegmentation": {Segmenter: _maps},
    "ForImageClassification": {Classifier: _logits},
}
"""End of the architecture's name -> what it can be evaluated as, and what then follows from its outputs."""


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`."""
    folder = asked.place()
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise BadValue(f"--model {asked.spec}: {folder / name} does not exist; give a folder of save_pretrained()")
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"--model {asked.spec}: no safetensors in the folder, and pickles are not read; write it again with "
            "model.save_pretrained(FOLDER)"
        )
    with refusing(asked, "transformers cannot read the folder"):
        config = transformers.AutoConfig.from_pretrained(folder, **_LOCAL)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **_LOCAL)
    name = (getattr(config, "architectures", None) or ["none"])[0]
    task = next((answers for end, answers in _TASKS.items() if name.endswith(end)), {})
    network_class = getattr(transformers, name, None)
    if not task or network_class is None:
        raise BadValue(f"--model {asked.spec}: architecture {name}; evaluated are {', '.join(_TASKS)}")
    if asked.kind not in task:
        raise wrong_task(asked, f"is a {name}")
    answer = task[asked.kind]
    if answer is _instances and not _gives_masks(processor):
        raise BadValue(f"--model {asked.spec}: {name} gives no mask for each object; evaluate it on label maps")
    network = TransformersNetwork(_loaded(asked, network_class, folder, config), processor, answer)
    names = asked.names(config.id2label, len(config.id2label))
    settings = _text([config.to_diff_dict(), processor.to_dict()])
    version = f"transformers {transformers.__version__}, settings {digits(settings)}"
    options: dict[str, Any] = {}
    if asked.kind is Detector:
        options = dict(masks=answer is _instances)
    if asked.kind is Classifier:
        options = dict(prepare=[PixelStep(partial(_resized, processor), _text(processor.to_dict()))])
    return asked.adapter(network, names, version, **options)


def _gives_masks(processor: Any) -> bool:
    return "return_binary_maps" in signature(processor.post_process_instance_segmentation).parameters


def _loaded(asked: Asked, network_class: Any, folder: Path, config: Any) -> nn.Module:
    """The network with the weights of the folder, each of them.

    Raises:
        WeightsMismatch: a tensor is missing, left over, or of another shape.
    """
    if getattr(config, "use_pretrained_backbone", False):
        config.use_pretrained_backbone = False  # the folder has its weights
    options = dict(_LOCAL, config=config, use_safetensors=True, dtype=torch.float32)
    options |= dict(output_loading_info=True, ignore_mismatched_sizes=True)  # they are named below instead
    transformers.logging.disable_progress_bar()
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with refusing(asked, "the weights cannot be loaded", WeightsMismatch):
            network, info = network_class.from_pretrained(folder, **options)
    finally:
        transformers.logging.set_verbosity(verbosity)
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    faults = [(kind.replace("_", " "), sorted(map(str, info[kind]))) for kind in kinds if info[kind]]
    if faults:
        text = "; ".join(f"{len(keys)} {kind} ({some(keys, 4)})" for kind, keys in faults)
        raise WeightsMismatch(f"--model {asked.spec}: the weights do not fit config.json: {text}")
    return network


def _text(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _resized(processor: Any, image: Any) -> Any:
    """An image, RGB uint8 (H, W, 3), resized and cropped as the processor does it."""
    options = dict(do_rescale=False, do_normalize=False, input_data_format="channels_last", return_tensors="np")
    return np.asarray(processor(images=[image], **options)["pixel_values"][0]).transpose(1, 2, 0)


class TransformersNetwork(LibraryNetwork):
    """A network between its image processor's two halves.

    Args:
        network: in evaluation mode.
        processor: prepares the images.
        answer: from the processor, the network's outputs and the sizes (H, W) of the images to a result for each image.
    """

    def __init__(self, network: nn.Module, processor: Any, answer: Any) -> None:
        super().__init__(network)
        self.processor, self.answer = processor, answer
        self.wanted = list(signature(network.forward).parameters)
        # Classifiers get images that are resized before they are corrupted.
        self.options = dict(do_resize=False, do_center_crop=False) if answer is _logits else {}

    def forward(self, images: list[Any]) -> Any:
        """What is answered for each image, RGB uint8 (H, W, 3)."""
        inputs = self.processor(images=images, input_data_format="channels_last", return_tensors="pt", **self.options)
        found = self.network(**{key: value.to(self.device) for key, value in inputs.items() if key in self.wanted})
        return self.answer(self.processor, found, [image.shape[:2] for image in images])
