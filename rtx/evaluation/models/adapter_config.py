"""What an adapter is evaluated on: the test set of a data folder, in RGB, and the metric that goes with it."""

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
from rtx.datasets.openmmlab.class_folders import ClassFolders
from rtx.datasets.openmmlab.image_loader import LoadImageChecked
from rtx.datasets.openmmlab.with_data import layout_of, with_data
from rtx.errors import BadValue
from rtx.evaluation.models.adapters import Adapter, Classifier, Detector, Segmenter, place_of
from rtx.metrics.coco_truth import category_ids, read_truth

_KEYS = ("img_id", "img_path", "ori_shape", "img_shape")
_LOAD, _PACK = dict(type="LoadImageRgb"), dict(type="PackRgb")


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
    """The config of such an evaluation; the adapter is told which classes the data have.

    Raises:
        BadValue: the layout of the folder is not one that this kind of adapter is scored on.
        DataError: the data cannot be used as they are.
    """
    root = place_of(data)
    layout = "coco" if annotations else layout_of(root)
    makers = {
        (Detector, "coco"): _coco,
        (Detector, "voc"): _voc,
        (Segmenter, "ade"): _ade,
        (Classifier, None): _classes,
    }
    make = next((m for (kind, name), m in makers.items() if isinstance(adapter, kind) and name == layout), None)
    if make is None:
        known = [name or "class folders" for (kind, name) in makers if isinstance(adapter, kind)]
        raise BadValue(
            f"data folder {str(data)!r} has the layout of {layout or 'class folders'}; a {type(adapter).__name__} is "
            f"scored on {' or '.join(known)}" + ("" if layout else ", or give annotations=FILE")
        )
    if classes is not None and layout not in ("coco", "voc"):
        raise BadValue(f"classes={list(classes)}: the classes that count can be chosen for COCO and VOC only")
    cfg, names = make(adapter, root, None if annotations is None else Path(annotations), classes)
    adapter.bind(names)
    return cfg


def _config(adapter: Adapter, dataset: dict[str, Any], evaluator: dict[str, Any]) -> Config:
    test = dict(test_dataloader=dict(dataset=dataset), test_evaluator=evaluator)
    return Config(dict(default_scope=adapter.scope, model=adapter.identity(), **test))


def _coco(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    evaluator = dict(type="CocoMetric", metric=["bbox", "segm"] if adapter.masks else "bbox", ann_file="")
    dataset: dict[str, Any] = dict(type="CocoDataset", ann_file="", test_mode=True, pipeline=[_LOAD, _PACK])
    cfg = _config(adapter, dataset, evaluator)
    if annotations is None:
        cfg = with_data(cfg, root)
    else:
        where = dict(data_root="", ann_file=str(annotations.absolute()), data_prefix=dict(img=str(root.absolute())))
        cfg.test_dataloader.dataset.update(where)
        cfg.test_evaluator.ann_file = str(annotations.absolute())
    truth = read_truth(Path(cfg.test_evaluator.ann_file), quiet=True)
    order = {name: n for n, name in enumerate(truth.categories.values())}
    wanted = sorted(classes or order, key=lambda name: order.get(name, len(order)))
    names = [truth.categories[i] for i in category_ids(truth, wanted)]  # labels count through the annotation file
    cfg.test_dataloader.dataset.metainfo = dict(classes=names)
    return cfg, names


def _voc(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    dataset = dict(type="VOCDataset", ann_file="", test_mode=True, pipeline=[_LOAD, _PACK])
    cfg = with_data(_config(adapter, dataset, dict(type="VOCMetric", metric="mAP", eval_mode="11points")), root)
    names = _names(cfg)
    if classes is None:
        return cfg, names
    absent = [name for name in classes if name not in names]
    if absent:
        raise BadValue(f"classes: {absent[0]!r} is none of the data's ({', '.join(names)})")
    names = [name for name in names if name in classes]
    cfg.test_dataloader.dataset.metainfo = dict(classes=names)
    return cfg, names


def _ade(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    steps = [_LOAD, dict(type="LoadAnnotations", reduce_zero_label=True), _PACK]
    dataset = dict(type="ADE20KDataset", test_mode=True, pipeline=steps)
    cfg = with_data(_config(adapter, dataset, dict(type="IoUMetric", iou_metrics=["mIoU"])), root)
    return cfg, _names(cfg)


def _classes(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    class_folders(root)
    steps = [
        _LOAD,
        *([dict(type="ResizeEdge", scale=adapter.resize, edge="short")] if adapter.resize else []),
        *([dict(type="CenterCrop", crop_size=adapter.crop)] if adapter.crop else []),
        _PACK,
    ]
    dataset = dict(
        type=ClassFolders.__name__, data_root=str(root), metainfo=dict(classes=adapter.classes), pipeline=steps
    )
    topk = (1, 5) if len(adapter.classes) >= 5 else (1,)
    return _config(adapter, dataset, dict(type="Accuracy", topk=topk, thrs=None)), adapter.classes


def _names(cfg: Config) -> Sequence[str]:
    """The classes that the test set has once it is built."""
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, "lazy_init": True, "pipeline": []})
    return list(dataset.metainfo["classes"])
