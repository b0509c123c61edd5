"""`transformers:FOLDER`: models of Hugging Face transformers from a folder with safetensors; nothing is downloaded."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from rtx.errors import BadValue, WeightsError, WeightsMismatch, some
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.presets import Asked, wrong_task

_TASKS: dict[str, tuple[type[Adapter], ...]] = {
    "ForObjectDetection": (Detector,),
    "ForInstanceSegmentation": (Detector, Segmenter),
    "ForUniversalSegmentation": (Detector, Segmenter),
    "ForSemanticSegmentation": (Segmenter,),
    "ForImageClassification": (Classifier,),
}
"""End of the architecture's name -> what it can be evaluated as."""
_LOCAL: dict[str, Any] = dict(local_files_only=True, trust_remote_code=False)


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`."""
    folder = Path(asked.what).expanduser()
    if asked.weights is not None:
        raise BadValue(f"--model {asked.spec}: its weights lie in the folder; leave --weights away")
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise BadValue(f"--model {asked.spec}: {folder / name} does not exist; give a folder of save_pretrained()")
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"--model {asked.spec}: no safetensors in the folder, and pickles are not read; write it again with "
            "model.save_pretrained(FOLDER)"
        )
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **_LOCAL)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **_LOCAL)
    except (OSError, ValueError, KeyError) as error:
        raise BadValue(f"--model {asked.spec}: transformers cannot read the folder ({_brief(error)})") from error
    name = (getattr(config, "architectures", None) or ["none"])[0]
    task = next((kinds for end, kinds in _TASKS.items() if name.endswith(end)), ())
    network_class = getattr(transformers, name, None)
    if not task or network_class is None:
        raise BadValue(f"--model {asked.spec}: architecture {name}; evaluated are {', '.join(_TASKS)}")
    if asked.kind not in task:
        raise wrong_task(asked, f"is a {name}")
    network = _loaded(asked.spec, network_class, folder, config)
    labels = config.id2label
    names = asked.classes or tuple(str(labels[n]) for n in range(len(labels)))
    if len(names) != len(labels):
        raise BadValue(f"--model-classes: {len(names)} names for a model of {len(labels)} classes ({asked.spec})")
    version = f"transformers {transformers.__version__}, settings {_settings(config, processor)}"
    if asked.kind is Detector:
        masks = "ForObjectDetection" not in name
        if (
            masks
            and "return_binary_maps" not in inspect.signature(processor.post_process_instance_segmentation).parameters
        ):
            raise BadValue(f"--model {asked.spec}: {name} gives no mask for each object; evaluate it on label maps")
        return asked.adapter(TransformersDetector(network, processor, masks=masks), names, version, masks=masks)
    if asked.kind is Segmenter:
        return asked.adapter(TransformersSegmenter(network, processor), names, version)
    return asked.adapter(TransformersClassifier(network, processor), names, version, prepare=[ProcessorSize(processor)])


def _loaded(spec: str, network_class: Any, folder: Path, config: Any) -> nn.Module:
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
        network, info = network_class.from_pretrained(folder, **options)
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise WeightsMismatch(f"--model {spec}: the weights cannot be loaded ({_brief(error)})") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
    faults = [
        f"{len(info[key])} {key.replace('_', ' ')} ({some(sorted(map(str, info[key])), 4)})"
        for key in _FAULTS
        if info[key]
    ]
    if faults:
        raise WeightsMismatch(f"--model {spec}: the weights do not fit config.json: {'; '.join(faults)}")
    return network


_FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")


def _settings(config: Any, processor: Any) -> str:
    """Twelve digits that tell the settings of network and preprocessing from others."""
    text = json.dumps([config.to_diff_dict(), processor.to_dict()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


class _Processed(nn.Module):
    """A network between its image processor's two halves."""

    def __init__(self, network: nn.Module, processor: Any, **options: Any) -> None:
        super().__init__()
        self.network, self.processor, self.options = network, processor, options

    def run(self, images: list[Any]) -> tuple[Any, list[tuple[int, int]]]:
        """What the network says of images, RGB uint8 (H, W, 3), and their sizes (H, W)."""
        device = next(self.network.parameters()).device
        inputs = self.processor(images=images, input_data_format="channels_last", return_tensors="pt", **self.options)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        wanted = inspect.signature(self.network.forward).parameters
        return self.network(**{key: value.to(device) for key, value in inputs.items() if key in wanted}), sizes


class TransformersDetector(_Processed):
    """Boxes of every query, as examples/pytorch/object-detection scores them: without a threshold."""

    def __init__(self, network: nn.Module, processor: Any, *, masks: bool) -> None:
        super().__init__(network, processor)
        self.masks = masks

    def forward(self, images: list[Any]) -> list[dict[str, Any]]:
        """Boxes in pixels of each image, and masks where the network has them: boxes are then those around them."""
        found, sizes = self.run(images)
        if not self.masks:
            rows: list[dict[str, Any]] = self.processor.post_process_object_detection(found, 0.0, sizes)
            return rows
        options = dict(threshold=0.0, target_sizes=sizes, return_binary_maps=True)
        return [_instances(row) for row in self.processor.post_process_instance_segmentation(found, **options)]


def _instances(row: dict[str, Any]) -> dict[str, Any]:
    """Boxes, scores, labels and masks of one image."""
    from torchvision.ops import masks_to_boxes

    segments = row["segments_info"]
    masks = row["segmentation"].bool() if segments else torch.zeros(0, 1, 1, dtype=torch.bool)
    boxes = masks_to_boxes(masks)
    boxes[:, 2:] += 1  # from the last pixel inside to the edge
    return {
        "boxes": boxes,
        "scores": np.array([segment["score"] for segment in segments], np.float32),
        "labels": np.array([segment["label_id"] for segment in segments], np.int64),
        "masks": masks,
    }


class TransformersSegmenter(_Processed):
    """Label maps in the size of the image."""

    def forward(self, images: list[Any]) -> list[Any]:
        """A label map (H, W) for each image, RGB uint8 (H, W, 3)."""
        found, sizes = self.run(images)
        maps: list[Any] = self.processor.post_process_semantic_segmentation(found, target_sizes=sizes)
        return maps


class ProcessorSize:
    """The part of a classifier's preprocessing that is done on uint8 pixels, so that what it gives can be corrupted."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __repr__(self) -> str:
        return json.dumps(self.processor.to_dict(), sort_keys=True, default=str)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize and crop `results["img"]`, RGB uint8 (H, W, 3).

        Raises:
            BadValue: the processor gives no whole numbers when it does not rescale.
        """
        options = dict(do_rescale=False, do_normalize=False, input_data_format="channels_last", return_tensors="np")
        image = np.asarray(self.processor(images=[results["img"]], **options)["pixel_values"][0]).transpose(1, 2, 0)
        if image.dtype != np.uint8 and (image != np.round(image)).any():
            raise BadValue(
                f"{type(self.processor).__name__} resizes to {image.dtype}, which cannot be corrupted as pixels"
            )
        image = np.ascontiguousarray(image.astype(np.uint8))
        return {**results, "img": image, "img_shape": image.shape[:2]}


class TransformersClassifier(_Processed):
    """Logits of images that are resized and cropped."""

    def __init__(self, network: nn.Module, processor: Any) -> None:
        super().__init__(network, processor, do_resize=False, do_center_crop=False)

    def forward(self, images: list[Any]) -> Any:
        """Logits (N, classes) of images, RGB uint8 (H, W, 3)."""
        return self.run(images)[0].logits
