"""The config of an adapter's evaluation: the test set of a data folder, in RGB, and its metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from mmengine.structures import BaseDataElement, PixelData

from rtx.datasets.class_folders import class_folders
from rtx.datasets.layouts import layout_of
from rtx.datasets.openmmlab.checks import check_data
from rtx.datasets.openmmlab.image_loader import LoadImageChecked
from rtx.datasets.openmmlab.with_data import with_data
from rtx.errors import BadValue
from rtx.evaluation.models.adapters import CLASS_FOLDERS, Adapter
from rtx.metrics.coco_truth import read_truth

_KEYS = ("img_id", "img_path", "ori_shape", "img_shape")


@TRANSFORMS.register_module()
class LoadImageRgb(LoadImageChecked):
    """`LoadImageChecked` in RGB, the order that corruptions and adapters take."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load `results["img_path"]` into `results["img"]`, uint8 (H, W, 3) in RGB."""
        results = super().transform(results)
        results["img"] = cv2.cvtColor(results["img"], cv2.COLOR_BGR2RGB)
        results["img_order"] = "rgb"
        return results


@TRANSFORMS.register_module()
class PackRgb(BaseTransform):
    """Hand over the RGB array as a tensor (3, H, W) on the same memory, and what scorers ask of a sample."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack `img`, and `gt_label` or `gt_seg_map` where they are there."""
        sample = BaseDataElement(metainfo={key: results[key] for key in _KEYS if key in results})
        if "gt_label" in results:
            sample.gt_label = results["gt_label"]
        if "gt_seg_map" in results:
            labels = torch.from_numpy(results["gt_seg_map"][None].astype(np.int64))
            sample.gt_sem_seg = PixelData(data=labels)
        image = torch.from_numpy(np.ascontiguousarray(results["img"]))
        return {"inputs": image.permute(2, 0, 1), "data_samples": sample}


def config_for(
    adapter: Adapter, data: str | Path, *, annotations: str | Path | None = None, classes: Sequence[str] | None = None
) -> Config:
    """The config of such an evaluation; the adapter receives the classes of the data.

    Raises:
        BadValue: the layout of the folder is not one that this kind of adapter is scored on.
        DataError: the data cannot be used as they are.
    """
    root = Path(data).expanduser()
    if not root.is_dir():
        raise BadValue(f"data folder {str(data)!r} does not exist (looked for {root.absolute()})")
    layout = "coco" if annotations else layout_of(root) or CLASS_FOLDERS
    if layout not in adapter.layouts:
        raise BadValue(
            f"data folder {str(data)!r} has the layout of {layout}; a {type(adapter).__name__} is scored on "
            f"{' or '.join(adapter.layouts)}" + (", or give annotations=FILE" if layout == CLASS_FOLDERS else "")
        )
    if classes is not None and layout not in ("coco", "voc"):
        raise BadValue(f"classes={list(classes)}: the classes that count can be chosen for COCO and VOC only")
    dataset, evaluator = adapter.test_set(layout)
    steps = [dict(type=LoadImageRgb.__name__), *dataset.pop("steps", ()), dict(type=PackRgb.__name__)]
    dataset |= {"test_mode": True, "pipeline": steps}
    if layout == CLASS_FOLDERS:
        class_folders(root)
        dataset |= {"data_root": str(root), "metainfo": {"classes": adapter.classes}}
    elif annotations is not None:
        evaluator["ann_file"] = dataset["ann_file"] = str(Path(annotations).absolute())
        dataset |= {"data_root": "", "data_prefix": {"img": str(root.absolute())}}
    test = dict(test_dataloader=dict(dataset=dataset), test_evaluator=evaluator)
    cfg = Config(dict(default_scope=adapter.scope, model=adapter.identity(), **test))
    if layout != CLASS_FOLDERS and annotations is None:
        cfg = with_data(cfg, root)
    if layout == "coco":  # labels count through the annotation file
        names = list(read_truth(Path(cfg.test_evaluator.ann_file), quiet=True).categories.values())
    else:
        names = _names(cfg)
    if absent := [name for name in classes or () if name not in names]:
        raise BadValue(f"classes: {absent[0]!r} is none of the data's ({', '.join(names)})")
    if layout in ("coco", "voc"):
        names = [name for name in names if classes is None or name in classes]
        cfg.test_dataloader.dataset.metainfo = dict(classes=names)
    check_data(cfg, ["val"])
    adapter.bind(names)
    return cfg


def _names(cfg: Config) -> list[str]:
    """The classes that the test set has once it is built."""
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, "lazy_init": True, "pipeline": []})
    return list(dataset.metainfo["classes"])
