"""The test set of an adapter: what a data folder holds, as RGB arrays, without a config or a framework's data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from rtx.datasets.class_folders import class_folders
from rtx.datasets.decoded import DecodedImages
from rtx.datasets.image_files import decode_rgb, read_whole
from rtx.datasets.layout import data_name
from rtx.datasets.layouts import layout_of
from rtx.errors import BadValue, DataError
from rtx.evaluation.card import model_card
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.folders import CLASS_FOLDERS, MAPS, READERS, Held
from rtx.evaluation.pixels.attacked import Attacked
from rtx.evaluation.pixels.made import Made
from rtx.evaluation.pixels.stored import Stored
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.scorers.base import Scorer
from rtx.results.predictions import read_map

_KEYS = ("img_id", "img_path", "ori_shape", "img_shape")
Step = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Tested:
    """What a model is evaluated on.

    Attributes:
        dataset: the test set, with a step in its pipeline that gives the pixels of the present condition.
        scorer: the metric.
        card: fields of the protocol card about pixels and model.
        labels: names shown in tables.
    """

    dataset: Any
    scorer: Scorer
    card: dict[str, Any]
    labels: dict[str, Any]


class LoadRgb:
    """A pipeline step: the image as RGB uint8 (H, W, 3), the order that corruptions and adapters take."""

    decoded: DecodedImages | None = None
    """Where images that were decoded before are kept, while a sweep runs."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load `results["img_path"]` into `results["img"]`.

        Raises:
            DataError: the file is missing, damaged or no image.
        """
        name = str(results["img_path"])
        image = None if self.decoded is None else self.decoded.get(name, "rgb")
        if image is None:
            image = decode_rgb(read_whole(Path(name)), Path(name))
            if self.decoded is not None:
                self.decoded.put(name, "rgb", image)
        return {**results, "img": image, "img_order": "rgb", "ori_shape": image.shape[:2], "img_shape": image.shape[:2]}


class AdapterImages:
    """Images of a data folder with what is known of each, in the form that a sweep asks for.

    Args:
        held: what the folder holds.
        steps: from `img_path` to the RGB array that the adapter gets.
    """

    def __init__(self, held: Held, steps: Sequence[Step]) -> None:
        self.rows, self.metainfo, self.rule = held.rows, {"classes": held.classes}, held.rule
        self.pipeline = Compose(list(steps))

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.rows)

    def get_data_info(self, index: int) -> Mapping[str, Any]:
        """What is known of an image."""
        return self.rows[index]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The array as a tensor (3, H, W) on the same memory, and what scorers ask of a sample.

        Raises:
            DataError: the image cannot be read, or a number in its label map is no class's.
            BadValue: the label map is none.
        """
        row = self.rows[index]
        results = self.pipeline(dict(row))
        assert results is not None
        results["img_shape"] = results["img"].shape[:2]
        sample = BaseDataElement(metainfo={key: results[key] for key in _KEYS if key in results})
        if "instances" in row:
            sample.gt_instances = _instances(row["instances"])
        if "gt_label" in row:
            sample.gt_label = row["gt_label"]
        if self.rule is not None:
            path = row["seg_map_path"]
            label = read_map(path, f"label map {path}")
            if label.max(initial=0) > 255:
                raise DataError(f"label map {path}: holds {label.max()}; numbers of classes must lie in 0..254")
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(self.rule.apply(label)[None]))
        image = torch.from_numpy(np.ascontiguousarray(results["img"]))
        return {"inputs": image.permute(2, 0, 1), "data_samples": sample}


def data_folder(data: str | Path) -> Path:
    """The folder of that name.

    Raises:
        BadValue: there is none.
    """
    root = Path(data).expanduser()
    if not root.is_dir():
        raise BadValue(f"data folder {str(data)!r} does not exist (looked for {root.absolute()})")
    return root


def layout_for_adapters(root: Path, annotations: str | Path | None) -> str:
    """A key of `READERS`: class folders are what shows no sign of any other layout."""
    return "coco" if annotations else layout_of(root) or CLASS_FOLDERS


def _instances(rows: Sequence[Mapping[str, Any]]) -> InstanceData:
    """Boxes and labels of an image, which an attack on a detector raises the loss of; masks stay in the file."""
    mine = [row for row in rows if not row.get("ignore_flag")]
    boxes = torch.tensor([row["bbox"] for row in mine], dtype=torch.float32).reshape(-1, 4)
    return InstanceData(bboxes=boxes, labels=torch.tensor([row["bbox_label"] for row in mine], dtype=torch.int64))


def adapter_test(
    adapter: Adapter,
    data: str | Path,
    pixels: Made | Stored | Attacked,
    protocol: Protocol,
    *,
    annotations: str | Path | None = None,
    classes: Sequence[str] | None = None,
    checkpoint: Path | None = None,
) -> Tested:
    """What an adapter is evaluated on; the adapter is told the classes of the data.

    Raises:
        BadValue: the layout of the folder is not one that this kind of adapter is scored on, or `classes` names none of
            its classes.
        DataError: the data cannot be used as they are.
    """
    root = data_folder(data)
    layout = layout_for_adapters(root, annotations)
    layout = layout if layout in adapter.layouts else f"{MAPS}{layout}"
    if layout not in adapter.layouts:
        layout = layout.removeprefix(MAPS)
        raise BadValue(
            f"data folder {str(data)!r} has the layout of {layout}; a {type(adapter).__name__} is scored on "
            f"{' or '.join(adapter.layouts)}" + (", or give annotations=FILE" if layout == CLASS_FOLDERS else "")
        )
    if classes is not None and layout not in ("coco", "yolo", "cityscapes", "voc"):
        raise BadValue(f"classes={list(classes)}: the classes that count can be chosen where there are boxes only")
    if layout == CLASS_FOLDERS:
        adapter.match(class_folders(root))
    held = READERS[layout](root, annotations=annotations, wanted=classes, known=adapter.classes)
    if layout != CLASS_FOLDERS:
        adapter.match(held.classes)
    adapter.bind(held.classes)
    steps = pixels.pipeline(LoadRgb(), adapter.preparation(), adapter.scope, protocol)
    dataset = AdapterImages(held, steps)
    text = json.dumps([adapter.identity(), held.classes, list(map(repr, adapter.preparation()))], sort_keys=True)
    name = data_name(annotations or root)
    return Tested(
        dataset,
        adapter.scorer(held),
        card={
            **pixels.card(adapter.scope, protocol),
            **model_card(adapter, hashlib.sha256(text.encode()).hexdigest(), checkpoint, scope=adapter.scope),
            **adapter.card(),
        },
        labels={**({} if name is None else {"data": name}), "run": adapter.name, "method": adapter.name},
    )
